"""Numbers and addresses as text.

Each function writes at ``at``, where there must be room, and gives where the text ends.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy


cdef enum:
    DECIMAL_MAX = 20            # digits of the largest number of 64 bits
    ADDRESS_MAX = 39            # characters of the longest address: eight groups of four digits, seven colons


cdef inline char *print_decimal(char *at, uint64_t value) noexcept nogil:
    """Print a number."""
    cdef uint64_t rest = value
    cdef char *end
    at += 1
    while rest >= 10:
        rest //= 10
        at += 1
    end = at
    while True:
        at -= 1
        at[0] = <char>(48 + value % 10)
        value //= 10
        if value == 0:
            return end


cdef inline char *print_padded(char *at, uint64_t value, int width) noexcept nogil:
    """Print the last ``width`` digits of a number, zeros before it."""
    cdef int i = width
    while i > 0:
        i -= 1
        at[i] = <char>(48 + value % 10)
        value //= 10
    return at + width


cdef inline char *print_date(char *at, int64_t days) noexcept nogil:
    """Print the day that is ``days`` after 1970-01-01 as YYYY-MM-DD."""
    cdef int64_t day_of_era, year_of_era, day_of_year, month, year
    days += 719468              # by eras of 400 years, which begin in March and have 146,097 days
    day_of_era = days % 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    year = year_of_era + days // 146097 * 400 + (1 if month >= 10 else 0)
    at = print_padded(at, year, 4)
    at[0] = c"-"
    at = print_padded(at + 1, month + 3 if month < 10 else month - 9, 2)
    at[0] = c"-"
    return print_padded(at + 1, day_of_year - (153 * month + 2) // 5 + 1, 2)


cdef inline char *print_ipv4(char *at, const uint8_t *address) noexcept nogil:
    """Print an IPv4 address of four bytes, dotted."""
    cdef int i
    for i in range(4):
        if address[i] >= 100:
            at[0] = 48 + address[i] // 100
            at += 1
        if address[i] >= 10:
            at[0] = 48 + address[i] // 10 % 10
            at += 1
        at[0] = 48 + address[i] % 10
        at[1] = c"."
        at += 2
    return at - 1


cdef inline char *print_ipv6(char *at, const uint8_t *address) noexcept nogil:
    """Print an IPv6 address of sixteen bytes as RFC 5952 §4 has it: no leading zeros, the first of the longest runs of
    two zero groups or more as ``::``.
    """
    cdef uint8_t runs[9]        # from each group on, how many are zero in a row
    cdef int longest = 8
    cdef int i
    cdef int shift
    cdef unsigned int group
    runs[8] = 0
    for i in range(7, -1, -1):
        runs[i] = 0 if address[2 * i] or address[2 * i + 1] else runs[i + 1] + 1
        if runs[i] >= runs[longest]:
            longest = i
    i = 0
    while i < 8:
        if i == longest and runs[i] > 1:
            memcpy(at, b"::", 2)
            at += 2
            i += runs[i]
            continue
        if i and not (runs[longest] > 1 and i == longest + runs[longest]):
            at[0] = c":"
            at += 1
        group = <unsigned int>address[2 * i] << 8 | address[2 * i + 1]
        shift = 12
        while shift and not group >> shift:
            shift -= 4
        while shift >= 0:
            at[0] = b"0123456789abcdef"[group >> shift & 15]
            at += 1
            shift -= 4
        i += 1
    return at


cdef inline char *print_address(char *at, const uint8_t *address, int version) noexcept nogil:
    """Print an address of IP ``version`` 4 or 6; nothing for any other."""
    if version == 4:
        return print_ipv4(at, address)
    return print_ipv6(at, address) if version == 6 else at
