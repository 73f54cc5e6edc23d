"""Streams: the segments of TCP in order, and the messages that parsers find in them."""
