"""The REST side of the embedded cloud."""
