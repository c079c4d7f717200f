"""What commands that go through a file have in common: rows, signals, options, journal. Imports floors 0 to 4."""
