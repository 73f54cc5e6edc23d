"""What the header fields of REGISTER and its responses say of a registration (RFC 3261 §10).

In: header fields as ``otus_core.inline.signalling`` has them. Out: pieces of them, and what they mean.
"""

from libc.string cimport memchr

from otus_core.inline.signalling cimport next_field

from otus_calls.registrations import TEXT_MAX, aor_of, contacts_of, expires_of, number_of

cdef enum:
    CONTACTS_MAX = 8192         # bytes of a Contact that are read

cdef Py_ssize_t _TEXT_MAX = TEXT_MAX


cdef void read_said(const char *at, Py_ssize_t size, Said *what) noexcept:
    """Find what matters in header fields; of those that are there twice the first counts."""
    cdef const char *end = at + size
    cdef FieldHead head
    what.to = what.contact = what.expires = what.agent = NULL
    what.to_len = what.contact_len = what.expires_len = what.agent_len = 0
    what.proof = what.stale = what.more = False
    what.fields, what.end = at, end
    at = next_field(at, end, &head)
    while at != NULL:
        if head.name == 13 or head.name == 19:          # authorization, proxy-authorization
            what.proof = True
        elif head.name == 16 or head.name == 18:        # www-authenticate, proxy-authenticate
            what.stale = what.stale or _says_stale((at + head.name)[:head.value])
        elif head.name == 10:
            _keep(at, &head, &what.agent, &what.agent_len)
        elif at[0] == c"t":
            _keep(at, &head, &what.to, &what.to_len)
        elif at[0] == c"e":
            _keep(at, &head, &what.expires, &what.expires_len)
        else:
            what.more = what.contact != NULL
            _keep(at, &head, &what.contact, &what.contact_len)
        at = next_field(at + head.name + head.value, end, &head)


cdef inline void _keep(const char *at, const FieldHead *head, const char **text, Py_ssize_t *size) noexcept:
    if text[0] == NULL:
        text[0], size[0] = at + head.name, head.value


cdef bint _says_stale(bytes challenge) noexcept:
    return b"stale=true" in challenge.lower().replace(b'"', b"")


cdef bytes said_aor(Said *what):
    """Give the URI in To without parameters and password (RFC 3261 §10.3 step 5)."""
    cdef const char *at
    cdef const char *end
    cdef Py_ssize_t i
    at = <const char *>memchr(what.to, c"<", what.to_len) if what.to_len else NULL
    if at == NULL or memchr(what.to, 34, at - what.to) != NULL:     # unusual, or a display name in quotes
        return aor_of((what.to)[:what.to_len].decode("utf-8", "replace")).encode("utf-8") if what.to_len else b""
    at += 1
    end = <const char *>memchr(at, c">", what.to_len - (at - what.to))
    if end == NULL:
        end = what.to + what.to_len
    for i in range(min(end - at, _TEXT_MAX)):
        if at[i] == c";" or at[i] == c"?":
            return at[:i]
    return at[:min(end - at, _TEXT_MAX)]


cdef const char *_only_contact(Said *what) noexcept:
    """Give where the only contact of a field begins, in brackets, if no parameter follows it; NULL for any other."""
    cdef const char *at
    cdef const char *end
    cdef Py_ssize_t size = min(what.contact_len, CONTACTS_MAX)
    if memchr(what.contact, c",", size) != NULL or memchr(what.contact, 34, size) != NULL:
        return NULL
    at = <const char *>memchr(what.contact, c"<", size)
    end = <const char *>memchr(what.contact, c">", size)
    if at == NULL or end == NULL or end <= at or memchr(end, c";", size - (end - what.contact)) != NULL:
        return NULL
    return at


cdef tuple first_contact(Said *what):
    """Give the URI of the first contact, and what it asks to expire after, in seconds, -1 where it does not say."""
    cdef const char *at
    cdef Py_ssize_t size = min(what.contact_len, CONTACTS_MAX)
    if not size:
        return b"", -1
    at = _only_contact(what)
    if at != NULL:
        return at[1:<const char *>memchr(at, c">", size - (at - what.contact)) - at], -1
    for uri, parameters in contacts_of((what.contact)[:size].decode("utf-8", "replace")):
        return uri.encode("utf-8"), expires_of(parameters)
    return b"", -1


cdef int64_t granted_to(bytes contact, Said *what) except -2:
    """Give after how many seconds a registrar says that a contact expires, -1 where it does not."""
    cdef int64_t granted = -1
    if not what.contact_len or (not what.more and memchr(what.contact, c";", what.contact_len) == NULL):
        return -1
    if not what.more and _only_contact(what) != NULL:
        return -1
    wanted = contact.decode("utf-8", "replace")
    for uri, parameters in contacts_of(_contacts(what)):
        if uri == wanted:
            own = expires_of(parameters)
            granted = own if own >= 0 else granted
    return granted


cdef str _contacts(Said *what):
    """Give all contacts, as one list."""
    cdef const char *at = next_field(what.fields, what.end, &what.head)
    cdef list found = []
    while at != NULL:
        if at[0] == c"m" or (at[0] == c"c" and what.head.name == 7):
            found.append((at + what.head.name)[:what.head.value])
        at = next_field(at + what.head.name + what.head.value, what.end, &what.head)
    return b", ".join(found)[:CONTACTS_MAX].decode("utf-8", "replace")


cdef int64_t said_seconds(const char *text, Py_ssize_t size) except -2:
    """Read seconds; -1 for what is no number of at most nine digits."""
    return number_of(text[:size].decode("utf-8", "replace")) if size else -1
