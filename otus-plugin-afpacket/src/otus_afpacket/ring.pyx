"""Walks the ring that the kernel fills: TPACKET_V3, linux/if_packet.h and Documentation/networking/packet_mmap.rst.

A block belongs to the kernel until it is full or its time is over, and to us until we give it back. One block is one
batch; nothing is copied. The VLAN tag that was taken out of a frame, and the head of a cooked frame, are written into
the room that the kernel leaves in front of each frame.

The first 24 bytes of each block are ours: its sequence number, how many frames had been given before it, and, in the
first block, how many of the ring were only counted. Whoever maps the ring after this process died goes on from there.
"""

import mmap
import struct

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from otus_core import FRAME_INDEX_FORMAT, FrameBatch

from otus_core.inline.layouts cimport FrameRecord


cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <linux/if_packet.h>
    static inline uint32_t otus_status(struct tpacket_block_desc *block) {
        return __atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE);
    }
    static inline void otus_give_back(struct tpacket_block_desc *block) {
        __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    }
    """
    struct tpacket_hdr_v1:
        uint32_t num_pkts
        uint32_t offset_to_first_pkt
        uint32_t blk_len
        uint64_t seq_num

    union tpacket_bd_header_u:
        tpacket_hdr_v1 bh1

    struct tpacket_block_desc:
        uint32_t offset_to_priv
        tpacket_bd_header_u hdr

    struct tpacket_hdr_variant1:
        uint32_t tp_vlan_tci
        uint16_t tp_vlan_tpid

    struct tpacket3_hdr:
        uint32_t tp_next_offset
        uint32_t tp_sec
        uint32_t tp_nsec
        uint32_t tp_snaplen
        uint32_t tp_len
        uint32_t tp_status
        uint16_t tp_mac
        tpacket_hdr_variant1 hv1
        uint8_t *tp_padding

    struct sockaddr_ll:
        uint16_t sll_protocol
        int32_t sll_ifindex
        uint16_t sll_hatype
        uint8_t sll_pkttype
        uint8_t sll_halen
        uint8_t *sll_addr

    enum:
        TP_STATUS_USER
        TP_STATUS_VLAN_VALID
        TP_STATUS_VLAN_TPID_VALID

    uint16_t htons(uint16_t) nogil
    uint32_t otus_status(tpacket_block_desc *block) nogil
    void otus_give_back(tpacket_block_desc *block) nogil


cdef struct Stamp:
    uint64_t sequence
    uint64_t given
    uint64_t excluded


cdef enum:
    LINK_OFFSET = 48  # TPACKET_ALIGN(sizeof(struct tpacket3_hdr)): where the sockaddr_ll is
    HEADER_SIZE = 68  # TPACKET3_HDRLEN: what comes after it is room, up to the frame
    SMALLEST_STEP = 96  # from one frame to the next: the header, and an empty frame behind it, aligned
    ADDRESSES = 12  # the two MAC addresses, which a tag comes after
    TAG = 4
    ETHERTYPE_VLAN = 0x8100
    SLL_SIZE = 16
    MARK = 1  # program.MARK: the bytes of a frame that is only counted
    READY = 1
    LINKTYPE_ETHERNET = 1
    LINKTYPE_LINUX_SLL = 113

assert sizeof(FrameRecord) == struct.calcsize(FRAME_INDEX_FORMAT)


@cython.final
cdef class Ring:
    """One socket's ring.

    ``given`` counts the frames given and ``excluded`` those of Otus's own connections, both with what earlier processes
    counted.

    ``cooked``: the frames come without a link layer, and get the 16 bytes of LINKTYPE_LINUX_SLL instead. Raises OSError
    when the descriptor has no ring of this size. The mapping lives as long as a batch that was given.
    """

    cdef readonly uint64_t given
    cdef readonly uint64_t malformed
    cdef object _map
    cdef Py_buffer _view
    cdef bint _open
    cdef uint8_t *base
    cdef uint64_t *total
    cdef size_t block_size
    cdef uint32_t count
    cdef uint32_t at
    cdef bint held
    cdef bint cooked
    cdef object _index
    cdef Py_buffer _records
    cdef Py_ssize_t most

    def __init__(self, int fd, size_t block_size, uint32_t block_count, *, bint cooked=False, uint64_t taken=0,
                 uint64_t excluded=0):
        if not block_size or not block_count:
            raise ValueError("a ring has blocks, and blocks have a size")
        self._map = mmap.mmap(fd, block_size * block_count, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.block_size = block_size
        self.count = block_count
        self.cooked = cooked
        self.most = block_size // SMALLEST_STEP
        self._index = bytearray(self.most * sizeof(FrameRecord))
        PyObject_GetBuffer(self._map, &self._view, PyBUF_WRITABLE)
        PyObject_GetBuffer(self._index, &self._records, PyBUF_WRITABLE)
        self._open = True
        self.base = <uint8_t *>self._view.buf
        self.given = taken
        self.total = <uint64_t *>(self.base + self._block(0).offset_to_priv + 2 * sizeof(uint64_t))
        self.total[0] = max(self.total[0], excluded)
        self.at = self._first()

    @property
    def excluded(self):
        """Frames that were counted and not given; the ring itself knows, so that none is lost with a process."""
        return self.total[0]

    def __dealloc__(self):
        if self._open:
            PyBuffer_Release(&self._records)
            PyBuffer_Release(&self._view)

    cdef inline tpacket_block_desc *_block(self, uint32_t i) noexcept nogil:
        return <tpacket_block_desc *>(self.base + i * self.block_size)

    cdef uint32_t _first(self) noexcept nogil:
        """Find the oldest block that is ours, or else the one that the kernel is filling, which is the one it opened
        last.
        """
        cdef uint32_t i
        cdef uint32_t found = 0
        cdef uint64_t best = 0
        cdef bint ours = False
        for i in range(self.count):
            if self._block(i).hdr.bh1.seq_num > best:
                best = self._block(i).hdr.bh1.seq_num
                found = i
        for i in range(self.count):  # looked for second: what the kernel finishes meanwhile is found here
            if otus_status(self._block(i)) & TP_STATUS_USER and (not ours or self._block(i).hdr.bh1.seq_num < best):
                best = self._block(i).hdr.bh1.seq_num
                found = i
                ours = True
        return found

    def read(self):
        """Give the block that was given before back to the kernel, and the frames of the next one: ``None`` when there
        is none yet.
        """
        cdef tpacket_block_desc *block
        cdef Py_ssize_t n
        self.give_back()
        while True:
            block = self._block(self.at)
            if not otus_status(block) & TP_STATUS_USER:
                return None
            self.held = True
            n = self._walk(block)
            if n:
                return FrameBatch(self._map, self._index, n)
            self.give_back()

    def give_back(self):
        """Give the block that was read last back to the kernel."""
        if self.held:
            self.held = False
            otus_give_back(self._block(self.at))
            self.at = (self.at + 1) % self.count

    cdef Py_ssize_t _walk(self, tpacket_block_desc *block) except -1:
        """Index a block's frames that have not been taken yet; gives their number."""
        cdef Stamp *stamp = <Stamp *>(<uint8_t *>block + block.offset_to_priv)
        cdef FrameRecord *records = <FrameRecord *>self._records.buf
        cdef uint8_t *end = <uint8_t *>block + self.block_size
        cdef uint8_t *at = <uint8_t *>block + block.hdr.bh1.offset_to_first_pkt
        cdef uint32_t left = block.hdr.bh1.num_pkts
        cdef uint64_t skip = 0
        cdef Py_ssize_t n = 0
        cdef uint64_t own = 0
        cdef bint again = stamp.sequence == block.hdr.bh1.seq_num
        cdef tpacket3_hdr *frame
        if again and self.given > stamp.given:
            skip = self.given - stamp.given  # a process that died had begun with this block
            self.given = stamp.given
        # Before a frame is given: whoever comes after us knows from it how far this block was taken.
        stamp.given = self.given
        self.given += min(skip, left)
        while left:
            if at + SMALLEST_STEP > end or n == self.most:
                self.malformed += left  # never seen: the kernel writes whole frames into blocks
                break
            frame = <tpacket3_hdr *>at
            left -= 1
            if frame.tp_snaplen == MARK and frame.tp_len > MARK:
                own += 1
            elif skip:
                skip -= 1
            elif self._place(frame, end, &records[n]):
                n += 1
                self.given += 1
            else:
                self.malformed += 1
            if not frame.tp_next_offset:
                break
            at += frame.tp_next_offset
        if not again:  # a process that died had counted them
            self.total[0] += own
            stamp.sequence = block.hdr.bh1.seq_num
        return n

    cdef inline bint _place(self, tpacket3_hdr *frame, uint8_t *end, FrameRecord *record) noexcept nogil:
        """Fill in one record, having put back in front of the frame what belongs there."""
        cdef sockaddr_ll *link = <sockaddr_ll *>(<uint8_t *>frame + LINK_OFFSET)
        if frame.tp_mac < HEADER_SIZE or <size_t>(end - <uint8_t *>frame) < <size_t>frame.tp_mac + frame.tp_snaplen:
            return False
        if frame.tp_padding[0] != READY:
            if self.cooked:
                self._cook(frame, link)
            elif frame.tp_status & TP_STATUS_VLAN_VALID:
                self._tag(frame)
            frame.tp_padding[0] = READY  # the kernel has cleared it; who comes after us must not do it twice
        record.timestamp = <int64_t>frame.tp_sec * 1_000_000_000 + frame.tp_nsec
        record.offset = <uint64_t>(<uint8_t *>frame - self.base) + frame.tp_mac
        record.capture_len = frame.tp_snaplen
        record.orig_len = frame.tp_len
        record.interface_index = link.sll_ifindex
        record.link_type = LINKTYPE_LINUX_SLL if self.cooked else LINKTYPE_ETHERNET
        record.metadata = 0
        return True

    cdef inline uint16_t _tpid(self, tpacket3_hdr *frame) noexcept nogil:
        return frame.hv1.tp_vlan_tpid if frame.tp_status & TP_STATUS_VLAN_TPID_VALID else ETHERTYPE_VLAN

    cdef void _tag(self, tpacket3_hdr *frame) noexcept nogil:
        """Put the tag back between the addresses and the EtherType (IEEE 802.1Q clause 9)."""
        cdef uint8_t *data = <uint8_t *>frame + frame.tp_mac
        cdef uint16_t tag[2]
        if frame.tp_snaplen < ADDRESSES or frame.tp_mac < HEADER_SIZE + TAG:
            return
        tag[0] = htons(self._tpid(frame))
        tag[1] = htons(<uint16_t>frame.hv1.tp_vlan_tci)
        memmove(data - TAG, data, ADDRESSES)
        memcpy(data - TAG + ADDRESSES, tag, TAG)
        self._grow(frame, TAG)

    cdef void _cook(self, tpacket3_hdr *frame, sockaddr_ll *link) noexcept nogil:
        """Write the head of LINKTYPE_LINUX_SLL (www.tcpdump.org/linktypes), and behind it the tag where
        there was one.
        """
        cdef uint16_t head[10]
        cdef uint16_t size = SLL_SIZE
        if frame.tp_mac < HEADER_SIZE + SLL_SIZE + TAG:
            return
        memset(head, 0, sizeof(head))
        head[0] = htons(link.sll_pkttype)
        head[1] = htons(link.sll_hatype)
        head[2] = htons(link.sll_halen)
        memcpy(&head[3], link.sll_addr, 8)
        head[7] = link.sll_protocol
        if frame.tp_status & TP_STATUS_VLAN_VALID:
            head[7] = htons(self._tpid(frame))
            head[8] = htons(<uint16_t>frame.hv1.tp_vlan_tci)
            head[9] = link.sll_protocol
            size += TAG
        memcpy(<uint8_t *>frame + frame.tp_mac - size, head, size)
        self._grow(frame, size)

    cdef inline void _grow(self, tpacket3_hdr *frame, uint16_t size) noexcept nogil:
        frame.tp_mac -= size
        frame.tp_snaplen += size
        frame.tp_len += size
