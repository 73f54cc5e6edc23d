# Bounds on what a file may claim, each with its reason.
cdef enum:
    FRAME_MAX = 262144              # libpcap's MAXIMUM_SNAPLEN, Wireshark's WTAP_MAX_PACKET_SIZE_STANDARD
    BLOCK_MAX = 16777216            # a pcapng block with a frame and generous options; the buffer grows to this at most
    INTERFACES_MAX = 65536          # of one section: obsolete packet blocks name them with 16 bits
    RECORDS_MAX = 4096              # index records of one batch: 128 KiB, more than a chunk of usual frames needs

cdef enum:
    SECOND_NS = 1000000000
