"""What a session description says of the media of a call (RFC 8866): endpoints, codecs, direction."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp

cdef enum:
    MEDIA_MAX = 16              # m= lines of a description: calls have two or three, and each is kept with the call
    FORMATS_MAX = 32            # payload types of a line: as many as can be chosen freely (96 to 127, RFC 3551 §6)
# RFC 8866 §6.7; all have eight letters
cdef dict _DIRECTIONS = {name.encode(): name for name in ("sendrecv", "sendonly", "recvonly", "inactive")}
cdef tuple _UNSPECIFIED = ("0.0.0.0", "::")     # hold as RFC 2543 had it (RFC 3264 §8.4)
# RFC 3551 §6, for payload types without a rtpmap
cdef dict _STATIC = {
    "0": "PCMU",
    "3": "GSM",
    "4": "G723",
    "8": "PCMA",
    "9": "G722",
    "13": "CN",
    "18": "G729",
    "26": "JPEG",
    "34": "H263",
}


cpdef list read_sdp(bytes body):
    """Give a description's media lines: ``media``, ``address``, ``port``, ``protocol``, ``codecs``, ``direction``."""
    cdef dict session = {"address": None, "direction": "sendrecv"}
    cdef dict at = session
    cdef dict named = None      # what the rtpmap attributes of a media line say
    cdef list lines = []
    cdef const char *text
    cdef const char *next_line
    cdef const char *line_end
    cdef const char *end
    if body is None:
        return lines
    text = next_line = PyBytes_AS_STRING(body)
    end = text + PyBytes_GET_SIZE(body)
    while next_line < end:      # RFC 8866 §5: CRLF ends a line, and LF alone is accepted; some send CR alone
        text = line_end = next_line
        while line_end < end and line_end[0] != c"\n" and line_end[0] != c"\r":
            line_end += 1
        next_line = line_end + 1
        if line_end == text or (line_end - text > 1 and text[1] != c"="):
            continue
        if text[0] == c"m":
            if len(lines) == MEDIA_MAX:
                break
            _name_codecs(at, named)
            at, named = _media(_text(text + 2, line_end), session), {}
            lines.append(at)
        elif text[0] == c"a":
            _attribute(at, named, text + 2, line_end)
        elif text[0] == c"c":
            parts = _text(text + 2, line_end).split()
            at["address"] = (<str>parts[2]).partition("/")[0] if len(parts) >= 3 else None
    _name_codecs(at, named)
    return lines


cdef inline str _text(const char *at, const char *end):
    return at[:end - at].decode("utf-8", "replace") if end > at else ""


cdef int _name_codecs(dict media, dict named) except -1:
    """Put names in the place of a media line's payload types."""
    cdef list codecs
    cdef Py_ssize_t i
    if named is None:
        return 0
    codecs = media["codecs"]
    for i in range(len(codecs)):
        codecs[i] = named.get(codecs[i]) or _STATIC.get(codecs[i]) or codecs[i]
    return 0


cdef dict _media(str value, dict session):
    cdef list words = value.split()
    cdef str port
    if len(words) < 3:
        return {"media": "", "address": session["address"], "port": 0, "protocol": "", "codecs": [],
                "direction": session["direction"]}
    port = words[1]
    if port.find("/") >= 0:
        port = port.partition("/")[0]
    return {
        "media": words[0],
        "address": session["address"],
        "port": int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else 0,
        "protocol": words[2],
        "codecs": words[3:FORMATS_MAX],
        "direction": session["direction"],
    }


cdef int _attribute(dict media, dict named, const char *at, const char *end) except -1:
    cdef Py_ssize_t size = end - at
    cdef const char *space
    if size > 7 and memcmp(at, b"rtpmap:", 7) == 0:
        if named is not None and len(named) < FORMATS_MAX:
            at += 7
            space = <const char *>memchr(at, c" ", end - at)
            named[_text(at, end if space == NULL else space)] = "" if space == NULL else _encoding(space, end)
    elif size == 8 and (at[0] == c"s" or at[0] == c"r" or at[0] == c"i"):
        value = at[:size]
        if value in _DIRECTIONS:
            media["direction"] = _DIRECTIONS[value]
    return 0


cdef str _encoding(const char *at, const char *end):
    """Give the name in ``PCMA/8000/1``, with blanks around it."""
    cdef const char *slash
    slash = <const char *>memchr(at, c"/", end - at)
    return _text(at, end if slash == NULL else slash).strip()


cdef bint is_held(list lines) except -1:
    """Whether the sender of a description holds the other party (RFC 3264 §8.4): it takes no audio."""
    cdef dict one
    cdef bint audio = False
    for one in lines:
        if one["media"] == "audio" and one["port"]:
            audio = True
            if one["direction"] not in ("sendonly", "inactive") and one["address"] not in _UNSPECIFIED:
                return False
    return audio


cdef bint is_fax(list lines) except -1:
    """Whether a description offers or takes T.38 (ITU-T T.38 annex D)."""
    cdef dict one
    for one in lines:
        if one["media"] == "image" and one["port"] and "t38" in [codec.lower() for codec in one["codecs"]]:
            return True
    return False


cpdef set endpoints(list lines):
    """Give where a description says that its sender listens."""
    return {(one["address"], one["port"]) for one in lines if one["address"] and one["port"]}
