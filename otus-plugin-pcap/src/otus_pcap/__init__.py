"""Capture files for Otus: pcap and pcapng, plain or gzip, several in a row, or standard input."""

__version__ = "0.1.0"
