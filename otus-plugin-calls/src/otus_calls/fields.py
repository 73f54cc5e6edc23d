"""The header fields that say more of a call or registration than who and when, and what is kept of their values."""

from __future__ import annotations

from functools import lru_cache

VALUE_MAX = 512
"""Characters of a header field that are kept."""

REQUEST_URI = "request-uri"
"""Under this name the Request-URI is kept beside the header fields; no header field has it."""

LONG = {"f": "from", "t": "to", "r": "refer-to", "x": "session-expires"}
"""Compact forms, as IANA's registry has them."""

FIELDS = frozenset(
    {
        *LONG,
        "from",
        "to",
        "user-agent",
        "server",
        "p-asserted-identity",  # RFC 3325
        "diversion",  # RFC 5806
        "reason",  # RFC 3326
        "warning",  # RFC 3261 §20.43
        "session-id",  # RFC 7989
        "session-expires",  # RFC 4028
        "refer-to",  # RFC 3515
        "authorization",
        "proxy-authorization",
        "www-authenticate",
        "proxy-authenticate",
    }
)
"""By their names in lower case, as ``SipMessage.selected`` takes them."""

ANSWERED = frozenset(
    {"user-agent", "server", "reason", "warning", "session-id", "session-expires", "x", "www-authenticate",
     "proxy-authenticate"}
)  # fmt: skip
"""Those of a final response."""

ALIKE = frozenset({"user-agent", "server", "session-expires"})
"""Many messages have the same value: it is kept once."""

PROOFS = ("authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate")
"""Of these the scheme is kept, and in challenges whether the nonce was stale: nothing that proves a password."""


def scheme_of(value: str) -> str:
    """Give the scheme of credentials or of a challenge, such as ``Digest``, and whether its nonce was stale."""
    stale = " stale=true" if "stale=true" in value.lower().replace('"', "") else ""
    return value.split(None, 1)[0][:16] + stale if value.strip() else ""


@lru_cache(maxsize=8)
def fields_with(more: tuple[str, ...]) -> frozenset[str]:
    """Give ``FIELDS`` and further ones, such as those that name the other leg of a call: the same object for the same
    names, by which messages are asked.
    """
    return FIELDS | {name.lower() for name in more}
