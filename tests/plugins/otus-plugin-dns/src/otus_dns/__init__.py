"""DNS over UDP for Otus."""

__version__ = "0.1.0"
