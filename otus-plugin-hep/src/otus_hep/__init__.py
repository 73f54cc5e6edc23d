"""HEP: the reporter ``hep`` sends to Homer, the capturer ``hep`` receives what Homer's agents send."""

__version__ = "0.1.0"
