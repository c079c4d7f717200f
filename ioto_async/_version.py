"""The version, read by the build as well; imports nothing."""

__version__ = "0.1.0"
