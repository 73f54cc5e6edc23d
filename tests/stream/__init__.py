"""Streams: TCP segments in, messages out."""
