"""What the payload ``sip`` holds, for whoever reads it: ``otus schema sip`` is made of this.

``json.pyx`` and ``sdp_json.pyx`` write it. Text is as the message has it, folded lines joined; bytes that are no
UTF-8 are replaced.
"""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict


class CSeq(TypedDict):
    """Number and method of a transaction."""

    number: int
    method: str


Status = Annotated[int, ("minimum", 100), ("maximum", 999)]
Pair = Annotated[list[str], ("minItems", 2), ("maxItems", 2)]


class Party(TypedDict):
    """A party, as From and To name it."""

    uri: str
    display: NotRequired[str]
    tag: NotRequired[str]


class Medium(TypedDict):
    """A media line of a session description (RFC 8866 §5.14)."""

    type: str | None
    address: str | None
    port: Annotated[int | None, "null: the line cannot be read"]
    protocol: str | None
    formats: list[str]
    rtpmap: Annotated[list[str], "format, name and clock, such as '8 PCMA/8000'"]
    direction: str | None
    rtcp_mux: bool
    rtcp_port: NotRequired[int]


class Description(TypedDict):
    """A session description."""

    origin: str | None
    address: str | None
    media: list[Medium]


_From = TypedDict("_From", {"from": NotRequired[Party]})


class SipPayload(_From):
    """A SIP message: a request has ``method`` and ``request_uri``, a response ``status_code`` and ``reason``.

    What a message does not have is missing here.
    """

    method: NotRequired[str]
    request_uri: NotRequired[str]
    status_code: NotRequired[Status]
    reason: NotRequired[str]
    headers: Annotated[list[Pair], "all header fields, in order: name and value"]
    call_id: NotRequired[str]
    cseq: NotRequired[CSeq]
    to: NotRequired[Party]
    via: NotRequired[list[str]]
    contact: NotRequired[Annotated[list[str], "URIs"]]
    content_type: NotRequired[str]
    content_length: NotRequired[int]
    sdp: NotRequired[Description]
    trailing_bytes: NotRequired[Annotated[int, "what a datagram has behind the body"]]
    malformed: NotRequired[Annotated[list[str], "what is wrong with the message"]]
