"""Metrics of many devices: joined reads, the walk through their names, and the writer with its sinks."""
