"""SIP in plain Python for Otus."""

__version__ = "0.1.0"
