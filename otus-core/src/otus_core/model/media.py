"""What is announced of a party's media: the context of endpoints, by whichever protocol they were announced."""

from __future__ import annotations

from typing import Any, TypedDict


class MediaContext(TypedDict, total=False):
    """One media line of one session description (RFC 8866), as the flow registry holds it for the line's endpoints.

    Contexts travel between workers as plain data, so this is a dict; fields that the description does not give are
    missing. The parser ``sip`` registers such contexts, with the bytes of the Call-ID as the owner; whoever announces
    media by another protocol uses the same fields.
    """

    call_id: str
    """The call, as its protocol names it: for SIP the Call-ID, of which 256 bytes are kept."""
    tag: str
    """The tag (RFC 3261 §19.3) of the party that listens at these endpoints; missing for one that has none yet."""
    peer_tag: str
    """The tag of the other party."""
    role: str
    """``offer`` or ``answer`` (RFC 3264)."""
    signalling: tuple[str, int, str, int]
    """Where the description was seen first: source address and port, destination address and port of its packet. The
    first two are the party's signalling address on this hop."""
    line: int
    """Which m= line of the description this is, from 0."""
    media: str
    """``audio``, ``video`` …"""
    profile: str
    """The transport protocol of the m= line: ``RTP/AVP``, ``UDP/TLS/RTP/SAVPF`` …"""
    codec: str
    """The name of the first format, as in ``codecs``."""
    codecs: dict[int, str]
    """By payload type, in order of preference, the encoding as rtpmap writes it (``opus/48000/2``); those of RFC 3551
    are filled in. A dynamic type without rtpmap is missing."""
    fmtp: dict[int, str]
    """By payload type, its format parameters."""
    ptime: int
    """Milliseconds of media in a packet."""
    direction: str
    """``sendrecv``, ``sendonly``, ``recvonly`` or ``inactive``, as the party itself puts it."""
    address: str
    """The address of the c= line as it is written; it may be a name, or 0.0.0.0 for a call on hold."""
    port: int
    """The port of the m= line, where RTP is expected."""
    rtcp_address: str
    """Where RTCP is expected, if a=rtcp names another address (RFC 3605)."""
    rtcp_port: int
    """Where RTCP is expected: that of a=rtcp, else the next port (RFC 3550 §11)."""
    rtcp_mux: bool
    """Whether RTP and RTCP share the port (RFC 5761)."""
    keying: str
    """How keys are agreed on: ``sdes`` (RFC 4568), ``dtls`` (RFC 5763), ``zrtp`` (RFC 6189); missing where no attribute
    says so. With a profile of ``SAVP`` media are encrypted in any case."""
    reported: dict[str, Any]
    """What the party of ``tag`` says of the media of the call, in news that concern no endpoint: ``by`` is how it says
    so, ``received`` and ``sent`` its figures, ``peer_received`` those of its peer, and ``local`` and ``remote`` the
    ends that it names (``ip``, ``port``, ``ssrc``)."""
    nat: bool
    """Whether this is where the party was found, and not what it announced: it is behind NAT."""
    ice: bool
    """Whether the line has ICE candidates (RFC 8839), which are among its endpoints."""
