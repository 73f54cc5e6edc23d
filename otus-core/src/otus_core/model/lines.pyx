"""Messages as lines of text for people: time, source → destination, and what the payload says.

In: ``OutputPacket``s. Out: UTF-8 lines that hold nothing but printable text, none wider than the terminal.

A payload class that offers ``to_line(columns) -> bytes`` says itself how it fits; of others ``said`` tells what there
is to tell. Whatever a payload gives is escaped here.
"""

import time

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memchr, memcmp, memcpy, memmove, memset

from otus_core.inline.json cimport copy_plain     # copy_shown uses it
from otus_core.inline.text cimport ADDRESS_MAX, print_address, print_date, print_decimal, print_padded
from otus_core.inline.writer cimport Writer, keep, raw, room, take, written
from otus_core.model.output cimport OutputPacket

from otus_core.model.said import marks, said
from otus_core.model.text import columns_of, fit, printable

cdef enum:
    HOST_MAX = ADDRESS_MAX + 8  # [address]:65535
    PIPED_HOST = 21             # where there is no terminal: the longest IPv4 address with its port
    FIRST_HOST = 13             # on a terminal columns grow with what is seen, from 10.0.0.1:5060 on
    LEAST_HOST = 9
    CLOCK = 12                  # HH:MM:SS.mmm
    DATE = 11                   # YYYY-MM-DD and a blank
    WHAT = 22                   # what a message is: 486 Busy Here (INVITE)
    LEAST_SAID = 16             # less than this for what the payload says: the whole line is cut instead
    QUARTER_S = 900             # differences to UTC change at quarters of an hour, if at all
    DAY_S = 86400

cdef bytes _DIM = b"\x1b[2m"
cdef bytes _RESET = b"\x1b[0m"
cdef bytes _INVITE = b"\x1b[1;36m"
cdef bytes _OTHER = b"\x1b[36m"
cdef tuple _STATUS = (b"\x1b[33m", b"\x1b[32m", b"\x1b[35m", b"\x1b[31m", b"\x1b[31m", b"\x1b[31m")

cdef Writer _writer


cdef extern from *:
    """
    /* Copies text of which every byte may be shown as it is; the arrow and the ellipsis may too. Gives its columns, and
       -1 where something must be escaped, or measured. A tab becomes two blanks: room for 2 n bytes. */
    static inline Py_ssize_t otus_copy_shown(char **target, const uint8_t *text, Py_ssize_t n) {
        char *at = *target;
        const uint8_t *end = text + n;
        Py_ssize_t columns = 0;
        while (text < end) {
            uint8_t c = *text;
            if (end - text >= 16 && otus_copy_plain(at, text, 16)) {
                at += 16;
                text += 16;
                columns += 16;
            } else if (__builtin_expect(c >= 32 && c < 127 && c != 92, 1)) {
                *at++ = (char)c;
                text++;
                columns++;
            } else if (c == 9) {
                *at++ = ' ';
                *at++ = ' ';
                text++;
                columns += 2;
            } else if (c == 0xE2 && end - text >= 3
                       && ((text[1] == 0x86 && text[2] == 0x92) || (text[1] == 0x80 && text[2] == 0xA6))) {
                memcpy(at, text, 3);
                at += 3;
                text += 3;
                columns++;
            } else {
                return -1;
            }
        }
        *target = at;
        return columns;
    }
    """
    Py_ssize_t copy_shown "otus_copy_shown" (char **target, const uint8_t *text, Py_ssize_t n) noexcept nogil


# An address with its port, as it is shown.
cdef struct Host:
    Py_ssize_t size
    Py_ssize_t columns
    char text[64]


cdef inline int _find_host(Host *host, const uint8_t *address, int version, int port, Py_ssize_t most) noexcept:
    """Print an address with its port in at most ``most`` columns (0: as it is): what is in its middle is left out."""
    cdef char *at = host.text
    cdef Py_ssize_t tail
    if version == 0:            # of a record that belongs to no packet
        at[0] = c"-"
        host.size = host.columns = 1
        return 0
    if version == 6:
        at[0] = c"["
        at += 1
    at = print_address(at, address, version)
    if version == 6:
        at[0] = c"]"
        at += 1
    if port:
        at[0] = c":"
        at = print_decimal(at + 1, port)
    host.size = host.columns = at - host.text
    if most and host.size > most:
        tail = (most + 4) // 2   # its end tells more: the last groups and the port
        memmove(host.text + most - tail + 2, host.text + host.size - tail, tail)
        memcpy(host.text + most - tail - 1, b"\xe2\x80\xa6", 3)
        host.size = most + 2
        host.columns = most
    return 0


cdef inline int _blanks(Writer *out, Py_ssize_t n) except -1:
    if n > 0:
        memset(room(out, n), c" ", n)
        out.at += n
    return 0


cdef inline Py_ssize_t _columns(const uint8_t *text, Py_ssize_t n) noexcept:
    """Give the columns of UTF-8 in which every character takes one."""
    cdef Py_ssize_t i
    cdef Py_ssize_t columns = 0
    for i in range(n):
        columns += text[i] & 0xC0 != 0x80
    return columns


@cython.final
cdef class TextLines:
    """Makes lines of text. ``columns`` is the width that lines fit into, and may change at any time; with 0, in a file
    or a pipe, nothing is cut and columns stay where they are.

    A line is preceded by the date where the day has changed, or, if ``dated``, has it itself: lines of several workers
    mix.
    """

    cdef public Py_ssize_t columns
    cdef bint colour
    cdef bint utc
    cdef bint dated
    cdef Py_ssize_t source      # columns that have been taken so far
    cdef Py_ssize_t destination
    cdef int64_t quarter        # for which the offset holds
    cdef int64_t offset
    cdef int64_t day            # of the last line, and the offset of its date
    cdef int64_t day_offset

    def __init__(self, *, Py_ssize_t columns=0, bint colour=False, bint utc=False, bint dated=False):
        self.columns = columns
        self.colour = colour
        self.utc = utc
        self.dated = dated
        self.source = self.destination = FIRST_HOST if columns else PIPED_HOST
        self.quarter = self.day = -1

    def encode(self, outputs, list failed not None):
        """Give outputs as lines, each line ended. A message whose payload cannot tell what it says is left out; its
        place and what was raised are added to ``failed``.
        """
        cdef Writer out
        cdef Py_ssize_t place = 0
        take(&_writer, &out)
        try:
            for output in outputs:
                try:
                    self._line(&out, <OutputPacket?>output)
                except Exception as error:
                    failed.append((place, error))
                place += 1
            return PyBytes_FromStringAndSize(out.start, out.at - out.start)
        finally:
            keep(&_writer, &out)

    cdef int _line(self, Writer *out, OutputPacket output) except -1:
        """Write one line. All that may be foreign code is called before anything is written."""
        cdef Host source
        cdef Host destination
        cdef Py_ssize_t most = 0
        cdef Py_ssize_t left = 0
        cdef Py_ssize_t head
        cdef Py_ssize_t short
        cdef Py_ssize_t for_source = 0
        cdef Py_ssize_t for_destination = 0
        cdef str tags = ""
        cdef bytes text
        cdef bint reserved = False      # for the tags
        if self.columns:
            most = max(LEAST_HOST, min((self.columns - 48) // 2, max(PIPED_HOST, (self.columns - 68) // 2), HOST_MAX))
        _find_host(&source, output.at.src, output.at.ip_version, output.at.src_port, most)
        _find_host(&destination, output.at.dst, output.at.ip_version, output.at.dst_port, most)
        if self.columns:
            self.source = min(max(self.source, source.columns), most)
            self.destination = min(max(self.destination, destination.columns), most)
        if output.at.vlan_count or output.at.tunnel:
            tags = marks(output)
        head = CLOCK + 2 + self.source + 3 + self.destination + 2 + (DATE if self.dated else 0)
        if self.columns:
            left = self.columns - head
            if left - <Py_ssize_t>len(tags) - 2 > 2 * WHAT:
                left -= len(tags) + 2 if tags else 0
                reserved = True
            if left < LEAST_SAID:
                text = _say(output, 0)
                self._time(out, output.at.timestamp)
                return self._narrow(out, &source, &destination, text)
        text = _say(output, left)
        for_source, for_destination = self.source, self.destination
        short = _what_columns(text) - left if left else 0
        if short > 0:           # what a message is matters more than whole hosts
            for_source = max(LEAST_HOST, self.source - (short + 1) // 2)
            for_destination = max(LEAST_HOST, self.destination - (short + 1) // 2)
            _find_host(&source, output.at.src, output.at.ip_version, output.at.src_port, for_source)
            _find_host(&destination, output.at.dst, output.at.ip_version, output.at.dst_port, for_destination)
            left += self.source - for_source + self.destination - for_destination
        self._time(out, output.at.timestamp)
        raw(out, source.text, source.size)
        _blanks(out, for_source - source.columns)
        raw(out, b" \xe2\x86\x92 ", 5)
        raw(out, destination.text, destination.size)
        _blanks(out, for_destination - destination.columns + 2)
        self._said(out, text, left)
        if tags and (not self.columns or reserved):
            raw(out, b"  ", 2)
            _raw_str(out, tags)
        return raw(out, b"\n", 1)

    cdef int _time(self, Writer *out, int64_t ns) except -1:
        """Write the time of day, and the date before it where it has changed."""
        cdef int64_t second = ns // 1_000_000_000
        cdef int64_t shown
        cdef char *at
        if ns < 0:
            ns = second = 0
        if second // QUARTER_S != self.quarter and not self.utc:
            self.offset = time.localtime(second).tm_gmtoff
            self.quarter = second // QUARTER_S
        shown = max(0, second + self.offset)
        if not self.dated and (shown // DAY_S != self.day or self.offset != self.day_offset):
            self.day = shown // DAY_S
            self.day_offset = self.offset
            self._date(out)
        at = room(out, CLOCK + DATE + 8)
        if self.colour:
            memcpy(at, <const char *>_DIM, 4)
            at += 4
        if self.dated:
            at = print_date(at, shown // DAY_S)
            at[0] = c" "
            at += 1
        shown %= DAY_S
        at = print_padded(at, shown // 3600, 2)
        at[0] = c":"
        at = print_padded(at + 1, shown // 60 % 60, 2)
        at[0] = c":"
        at = print_padded(at + 1, shown % 60, 2)
        at[0] = c"."
        at = print_padded(at + 1, ns // 1_000_000 % 1000, 3)
        if self.colour:
            memcpy(at, <const char *>_RESET, 4)
            at += 4
        out.at = at
        return raw(out, b"  ", 2)

    cdef int _date(self, Writer *out) except -1:
        """Write a line with the date, and what is to be added to UTC for the times below it."""
        cdef char *at = room(out, 32)
        cdef int64_t minutes = self.offset // 60 if self.offset >= 0 else -self.offset // 60
        if self.colour:
            raw(out, b"\x1b[1m", 4)
            at = out.at
        at = print_date(at, self.day)
        if self.utc:
            memcpy(at, b" UTC", 4)
            at += 4
        else:
            at[0] = c" "
            at[1] = c"-" if self.offset < 0 else c"+"
            at = print_padded(at + 2, minutes // 60, 2)
            at[0] = c":"
            at = print_padded(at + 1, minutes % 60, 2)
        out.at = at
        if self.colour:
            raw(out, b"\x1b[0m", 4)
        return raw(out, b"\n", 1)

    cdef int _said(self, Writer *out, bytes text, Py_ssize_t left) except -1:
        """Write what a payload says: what it is, coloured and up to a tab, and the rest."""
        cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(text)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
        cdef const uint8_t *tab = <const uint8_t *>memchr(start, 9, size)
        cdef Py_ssize_t what_size = size if tab == NULL else tab - start
        cdef Py_ssize_t rest_size = 0 if tab == NULL else size - what_size - 1
        cdef Py_ssize_t what
        cdef Py_ssize_t rest
        cdef Py_ssize_t begun = written(out)
        cdef char *at = room(out, 2 * size + WHAT + 32)
        cdef bytes style = _style(start, what_size) if self.colour else b""
        memcpy(at, <const char *>style, len(style))
        at += len(style)
        what = copy_shown(&at, start, what_size)
        if what >= 0 and style:
            memcpy(at, <const char *>_RESET, 4)
            at += 4
        if what >= 0 and rest_size:
            if what < WHAT and (left == 0 or WHAT + 2 + _columns(start + what_size + 1, rest_size) <= left):
                memset(at, c" ", WHAT - what)
                at += WHAT - what
                what = WHAT
            at[0] = at[1] = c" "
            at += 2
            rest = copy_shown(&at, start + what_size + 1, rest_size)
            what = -1 if rest < 0 else what + 2 + rest
        if what < 0 or (left and what > left):
            out.at = out.start + begun
            return self._careful(out, text, style, left)
        out.at = at
        return 0

    cdef int _careful(self, Writer *out, bytes text, bytes style, Py_ssize_t left) except -1:
        """Do as ``_said`` does with text that is to be escaped, measured or cut."""
        cdef str what
        cdef str rest
        what, _, rest = text.decode("utf-8", "surrogateescape").partition("\t")
        what = printable(what)
        rest = "  ".join([printable(part) for part in rest.split("\t")])
        if rest:
            pad = max(0, WHAT - columns_of(what))
            pad = pad if not left or WHAT + 2 + columns_of(rest) <= left else 0
            rest = " " * (pad + 2) + rest
        if left:
            what = fit(what, left)
            rest = fit(rest, left - columns_of(what)) if rest else ""
        raw(out, style, len(style))
        _raw_str(out, what)
        if style:
            raw(out, _RESET, 4)
        return _raw_str(out, rest.rstrip())

    cdef int _narrow(self, Writer *out, Host *source, Host *destination, bytes text) except -1:
        """Write all that follows the time where there is too little room for everything, and cut it."""
        cdef str what = " ".join([
            printable(part) for part in text.decode("utf-8", "surrogateescape").split("\t")
        ])
        cdef Py_ssize_t left = self.columns - CLOCK - 2 - (DATE if self.dated else 0)
        ends = f"{source.text[:source.size].decode()} → {destination.text[:destination.size].decode()}"
        _raw_str(out, fit(f"{what}  {ends}", max(1, left)))
        return raw(out, b"\n", 1)


cdef Py_ssize_t _what_columns(bytes text) noexcept:
    """Give the columns of a text up to its first tab."""
    cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(text)
    cdef const uint8_t *tab = <const uint8_t *>memchr(start, 9, PyBytes_GET_SIZE(text))
    return _columns(start, PyBytes_GET_SIZE(text) if tab == NULL else tab - start)


cdef bytes _say(OutputPacket output, Py_ssize_t left):
    """Give what a payload says in ``left`` columns (0: no limit); this may be foreign code."""
    cdef object to_line = getattr(output.payload, "to_line", None)
    if to_line is None:
        return said(output, left > 0).encode("utf-8", "surrogatepass")
    given = to_line(left)
    if type(given) is not bytes:
        cls = type(output.payload)
        raise TypeError(f"{cls.__module__}.{cls.__qualname__}.to_line() gave {type(given).__name__}, not bytes")
    return <bytes>given


cdef bytes _style(const uint8_t *what, Py_ssize_t size):
    """Give the colour of a status by its class, of all else that of a request."""
    if size >= 3 and c"1" <= what[0] <= c"6" and 48 <= what[1] <= 57 and 48 <= what[2] <= 57:
        return <bytes>_STATUS[what[0] - 49]
    return _INVITE if size == 6 and memcmp(what, b"INVITE", 6) == 0 else _OTHER


cdef int _raw_str(Writer *out, str text) except -1:
    cdef bytes encoded = text.encode("utf-8", "backslashreplace")
    return raw(out, encoded, PyBytes_GET_SIZE(encoded))
