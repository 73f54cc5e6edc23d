"""The names of labels: what the parser declares, without importing compiled code."""

from __future__ import annotations

REPORTED = (
    "sip.method",
    "sip.status_code",
    "sip.cseq_method",
    "sip.call_id",
    "sip.from_uri",
    "sip.to_uri",
    "sip.via",
    "sip.malformed",
    "sip.trailing_bytes",
)
"""Labels that every report carries where they apply, in this order."""

FIELDS = {
    "sip.contact": "contact",
    "sip.content_type": "content-type",
    "sip.diversion": "diversion",
    "sip.pai": "p-asserted-identity",
    "sip.reason": "reason",
    "sip.server": "server",
    "sip.user_agent": "user-agent",
}
"""Labels that are made when a filter asks for them, and the header field whose values each has."""

ASKED = (
    *FIELDS,
    "sip.cseq",
    "sip.from_tag",
    "sip.from_user",
    "sip.reason_phrase",
    "sip.request_uri",
    "sip.to_tag",
    "sip.to_user",
    "sip.transport",
)
"""All labels that are made when they are asked for."""

LABELS = (*REPORTED, *ASKED)

HIDDEN = {
    "tls": ("packets that begin with TLS or DTLS, on SIP ports", "not supported yet"),
    "truncated_messages": ("messages of SIP cut short by the capture", "a larger snap length (tcpdump -s 0)"),
}
"""What the parser meets and does not look into, and what would."""

METHODS = (
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "PRACK",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "INFO",
    "REFER",
    "MESSAGE",
    "UPDATE",
)
"""The methods that are known by name, in the order of ``scan.METHODS``, where another one comes before them all."""
SEEN = ("seen_other", *(f"seen_{method.lower()}" for method in METHODS), *(f"seen_{n}xx" for n in range(1, 7)))
"""Counters of messages: requests by method, then responses by the first digit of their status."""

ICMP_LABELS = (
    "icmp.type",
    "icmp.code",
    "icmp.error",
    "icmp.quoted_src",
    "icmp.quoted_dst",
    "icmp.quoted_method",
    "icmp.quoted_status_code",
    "icmp.call_id",
)
"""Labels of an ICMP error that quotes SIP; the last three where the quotation reaches that far."""
