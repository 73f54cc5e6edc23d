"""What capturers share: the compiler of libpcap filter expressions."""
