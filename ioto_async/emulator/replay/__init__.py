"""A cassette of a client, played to an embedded cloud to see where that would have answered otherwise."""
