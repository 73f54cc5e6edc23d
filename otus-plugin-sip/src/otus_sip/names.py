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
