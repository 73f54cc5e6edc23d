"""Calls, registrations and their figures, from SIP messages and media streams."""

__version__ = "0.1.0"
