"""Runs classic BPF programs over frames of a file: the machine of McCanne and Jacobson's paper, as linux/filter.h
numbers it.

A program is checked when it is loaded: jumps lead forward and stay inside, so every run ends; loads outside the frame
end it with 0, reject.
"""

cimport cython

cdef enum:
    INSTRUCTIONS_MAX = 65536
    MEMORY_WORDS = 16       # BPF_MEMWORDS

cdef enum Code:
    LD_W_ABS = 0x20
    LD_H_ABS = 0x28
    LD_B_ABS = 0x30
    LD_W_IND = 0x40
    LD_H_IND = 0x48
    LD_B_IND = 0x50
    LD_LEN = 0x80
    LDX_LEN = 0x81
    LDX_MSH = 0xB1
    LD_IMM = 0x00
    LDX_IMM = 0x01
    LD_MEM = 0x60
    LDX_MEM = 0x61
    ST = 0x02
    STX = 0x03
    JA = 0x05
    JEQ_K = 0x15
    JGT_K = 0x25
    JGE_K = 0x35
    JSET_K = 0x45
    JEQ_X = 0x1D
    JGT_X = 0x2D
    JGE_X = 0x3D
    JSET_X = 0x4D
    ADD_K = 0x04
    SUB_K = 0x14
    MUL_K = 0x24
    DIV_K = 0x34
    OR_K = 0x44
    AND_K = 0x54
    LSH_K = 0x64
    RSH_K = 0x74
    NEG = 0x84
    MOD_K = 0x94
    XOR_K = 0xA4
    ADD_X = 0x0C
    SUB_X = 0x1C
    MUL_X = 0x2C
    DIV_X = 0x3C
    OR_X = 0x4C
    AND_X = 0x5C
    LSH_X = 0x6C
    RSH_X = 0x7C
    MOD_X = 0x9C
    XOR_X = 0xAC
    TAX = 0x07
    TXA = 0x87
    RET_K = 0x06
    RET_A = 0x16

cdef frozenset _KNOWN = frozenset((
    LD_W_ABS, LD_H_ABS, LD_B_ABS, LD_W_IND, LD_H_IND, LD_B_IND, LD_LEN, LDX_LEN, LDX_MSH, LD_IMM, LDX_IMM, LD_MEM,
    LDX_MEM, ST, STX,
    JA, JEQ_K, JGT_K, JGE_K, JSET_K, JEQ_X, JGT_X, JGE_X, JSET_X, ADD_K, SUB_K, MUL_K, DIV_K, OR_K, AND_K, LSH_K, RSH_K,
    NEG, MOD_K, XOR_K,
    ADD_X, SUB_X, MUL_X, DIV_X, OR_X, AND_X, LSH_X, RSH_X, MOD_X, XOR_X, TAX, TXA, RET_K, RET_A,
))


@cython.final
cdef class Program:
    """A checked program, from packed ``struct sock_filter``s as ``otus_core.compile_bpf`` gives them.

    Raises ValueError.
    """

    def __init__(self, bytes packed not None):
        self._count = len(packed) // <Py_ssize_t>sizeof(Instruction)
        if len(packed) != self._count * <Py_ssize_t>sizeof(Instruction) or not 0 < self._count <= INSTRUCTIONS_MAX:
            raise ValueError(f"a program has 1 to {INSTRUCTIONS_MAX} instructions of {sizeof(Instruction)} bytes")
        self._packed = packed
        self._instructions = <const Instruction *><const void *><const char *>packed
        self._check()

    cdef int _check(self) except -1:
        cdef Py_ssize_t i
        cdef Py_ssize_t after
        cdef Instruction at
        for i in range(self._count):
            at = self._instructions[i]
            after = self._count - i - 1     # instructions that follow: how far a jump may go
            if at.code not in _KNOWN:
                raise ValueError(f"instruction {i}: unknown code {at.code:#x}")
            if at.code & 7 == 5 and (at.k >= <uint32_t>after if at.code == JA else max(at.jt, at.jf) >= after):
                raise ValueError(f"instruction {i}: jumps past the end")
            if (at.code == DIV_K or at.code == MOD_K) and at.k == 0:
                raise ValueError(f"instruction {i}: divides by zero")
            if (at.code == LSH_K or at.code == RSH_K) and at.k >= 32:
                raise ValueError(f"instruction {i}: shifts too far")
            if at.code in (LD_MEM, LDX_MEM, ST, STX) and at.k >= MEMORY_WORDS:
                raise ValueError(f"instruction {i}: no memory word {at.k}")
        if self._instructions[self._count - 1].code not in (RET_K, RET_A):
            raise ValueError("a program ends with a return")
        return 0

    def __len__(self):
        return self._count

    def __call__(self, const uint8_t[::1] frame, wire_size=None):
        """Run over one frame; 0 rejects it."""
        cdef uint32_t size = <uint32_t>frame.shape[0]
        return self.run(&frame[0] if size else NULL, size, size if wire_size is None else wire_size)

    cdef uint32_t run(self, const uint8_t *frame, uint32_t size, uint32_t wire_size) noexcept nogil:
        """Run over one frame of ``size`` captured bytes; gives how much of it to keep, 0 rejects it."""
        cdef const Instruction *at = self._instructions
        cdef uint32_t memory[MEMORY_WORDS]
        cdef uint32_t a = 0
        cdef uint32_t x = 0
        cdef uint32_t k
        cdef uint32_t operand
        cdef uint16_t code
        cdef int i
        for i in range(MEMORY_WORDS):
            memory[i] = 0
        while True:
            code = at.code
            k = at.k
            # Loads from the frame.
            if code == LD_W_IND or code == LD_H_IND or code == LD_B_IND:
                if k > <uint32_t>0xFFFFFFFF - x:
                    return 0
                k += x
                code -= 0x20        # BPF_IND becomes BPF_ABS
            if code == LD_W_ABS:
                if k > size or size - k < 4:
                    return 0
                a = (<uint32_t>frame[k] << 24) | (<uint32_t>frame[k + 1] << 16)
                a |= (<uint32_t>frame[k + 2] << 8) | frame[k + 3]
            elif code == LD_H_ABS:
                if k > size or size - k < 2:
                    return 0
                a = (<uint32_t>frame[k] << 8) | frame[k + 1]
            elif code == LD_B_ABS:
                if k >= size:
                    return 0
                a = frame[k]
            elif code == LDX_MSH:
                if k >= size:
                    return 0
                x = (frame[k] & 0x0F) << 2
            # Jumps.
            elif code == JEQ_K:
                at += at.jt if a == k else at.jf
            elif code == JGT_K:
                at += at.jt if a > k else at.jf
            elif code == JGE_K:
                at += at.jt if a >= k else at.jf
            elif code == JSET_K:
                at += at.jt if a & k else at.jf
            elif code == JEQ_X:
                at += at.jt if a == x else at.jf
            elif code == JGT_X:
                at += at.jt if a > x else at.jf
            elif code == JGE_X:
                at += at.jt if a >= x else at.jf
            elif code == JSET_X:
                at += at.jt if a & x else at.jf
            elif code == JA:
                at += k
            elif code == RET_K:
                return k
            elif code == RET_A:
                return a
            # Everything that stays inside the machine.
            elif code == LD_IMM:
                a = k
            elif code == LDX_IMM:
                x = k
            elif code == LD_LEN:
                a = wire_size
            elif code == LDX_LEN:
                x = wire_size
            elif code == LD_MEM:
                a = memory[k]
            elif code == LDX_MEM:
                x = memory[k]
            elif code == ST:
                memory[k] = a
            elif code == STX:
                memory[k] = x
            elif code == TAX:
                x = a
            elif code == TXA:
                a = x
            elif code == NEG:
                a = 0 - a
            else:
                operand = x if code & 8 else k
                code &= 0xF7
                if code == ADD_K:
                    a += operand
                elif code == SUB_K:
                    a -= operand
                elif code == MUL_K:
                    a *= operand
                elif code == DIV_K:
                    if operand == 0:
                        return 0
                    a //= operand
                elif code == MOD_K:
                    if operand == 0:
                        return 0
                    a %= operand
                elif code == OR_K:
                    a |= operand
                elif code == AND_K:
                    a &= operand
                elif code == XOR_K:
                    a ^= operand
                elif code == LSH_K:
                    a = a << operand if operand < 32 else 0
                elif code == RSH_K:
                    a = a >> operand if operand < 32 else 0
            at += 1
