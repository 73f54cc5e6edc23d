"""Live capture from network interfaces for Otus: a ring shared with the kernel (AF_PACKET, TPACKET_V3)."""

__version__ = "0.1.0"
