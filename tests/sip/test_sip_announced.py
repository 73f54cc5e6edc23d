"""What session descriptions announce in the flow registry: every endpoint of every RTP line, who listens there, from
the offer on until half a minute after the call.
"""

from __future__ import annotations

from typing import Any

import pytest

from otus_core import FlowKey, FlowRegistry, MediaContext
from otus_core.testing import packets
from tests.sip.messages import message, packet, parser, sdp
from tests.sip.test_sip_sessions import AUDIO, Call, Wire, offer, reply

SECOND = 10**9


def endpoint(port: int, ip: str = "192.0.2.1") -> FlowKey:
    return FlowKey.endpoint(ip, port, 17)


def contexts(call: Call, port: int, ip: str = "192.0.2.1") -> list[MediaContext]:
    """Give what is known of an endpoint."""
    return [match.context for match in call.flows.candidates(FlowKey("203.0.113.9", 9, ip, port, 17))]


def offered(*lines: str, session: str = "192.0.2.1") -> Call:
    call = Call()
    call.invite(sdp(session, *lines))
    return call


def test_an_offer_announces_rtp_and_rtcp_before_there_is_an_answer() -> None:
    call = offered("m=audio 4000 RTP/AVP 0 96 101", "a=rtpmap:96 opus/48000/2", "a=rtpmap:101 telephone-event/8000",
                   "a=fmtp:101 0-15", "a=ptime:20", "a=sendonly")  # fmt: skip
    (context,) = contexts(call, 4000)
    assert context == {
        "call_id": "c1", "tag": context["tag"], "role": "offer", "signalling": context["signalling"], "line": 0,
        "media": "audio", "profile": "RTP/AVP", "codec": "PCMU/8000",
        "codecs": {0: "PCMU/8000", 96: "opus/48000/2", 101: "telephone-event/8000"}, "fmtp": {101: "0-15"},
        "ptime": 20, "direction": "sendonly", "address": "192.0.2.1", "port": 4000, "rtcp_port": 4001,
        "rtcp_mux": False,
    }  # fmt: skip
    assert contexts(call, 4001) == [context]
    assert call.flows.endpoint_count == 2


def test_an_answer_names_its_own_tag_and_its_role() -> None:
    call = offered(AUDIO.format(4000))
    call.answer("200 OK", "1 INVITE", reply())
    (ours,), (theirs,) = contexts(call, 4000), contexts(call, 5000, "192.0.2.2")
    assert (ours["role"], theirs["role"]) == ("offer", "answer")
    assert theirs["tag"] == "b"
    assert theirs["peer_tag"] == ours["tag"]
    assert "peer_tag" not in ours


def test_an_offer_in_a_response_and_its_answer_in_the_ack_have_their_roles() -> None:
    call = Call()
    call.invite()
    call.answer("200 OK", "1 INVITE", reply())
    call.say("ACK sip:bob@example.com SIP/2.0", "1 ACK", offer(), "b")
    assert contexts(call, 5000, "192.0.2.2")[0]["role"] == "offer"
    assert contexts(call, 4000)[0]["role"] == "answer"


@pytest.mark.parametrize(
    ("lines", "ports"),
    [
        (("m=audio 4000 RTP/AVP 0", "a=rtcp:4444"), {4000, 4444}),
        (("m=audio 4000 RTP/AVP 0", "a=rtcp:4444 IN IP4 192.0.2.7"), {4000}),
        (("m=audio 4000 RTP/AVP 0", "a=rtcp-mux"), {4000, 4001}),
        (("m=audio 0 RTP/AVP 0",), set()),
        (("m=image 4000 udptl t38",), set()),
        (("m=audio 4000 RTP/SAVPF 0", "m=video 4010 RTP/AVP 31"), {4000, 4001, 4010, 4011}),
        (("c=IN IP4 198.51.100.9", "m=audio 4000 RTP/AVP 0", "c=IN IP4 192.0.2.1"), {4000, 4001}),
        (("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"), set()),
        (
            (
                "m=audio 9 UDP/TLS/RTP/SAVPF 111",
                "a=candidate:1 1 UDP 2130706431 192.0.2.1 4100 typ host",
                "a=candidate:1 2 udp 2130706430 192.0.2.1 4101 typ host",
                "a=candidate:2 1 TCP 1 192.0.2.1 4200 typ host tcptype active",
                "a=candidate:3 1 UDP 1 0c7d.local 4300 typ host",
                "a=candidate:4 3 UDP 1 192.0.2.1 4400 typ host",
                "a=candidate:5 1 UDP 1 192.0.2.1 99999 typ host",
                "a=candidate:6 1 UDP",
                "c=IN IP4 0.0.0.0",
            ),
            {4100, 4101},
        ),
    ],
    ids=["rtcp", "rtcp elsewhere", "mux offered", "refused", "no RTP", "two", "own c=", "hold", "ICE"],
)
def test_endpoints_are_where_rtp_and_rtcp_are_expected(lines: tuple[str, ...], ports: set[int]) -> None:
    call = offered(*lines)
    assert {port for port in range(4000, 4500) if contexts(call, port)} == ports


def test_rtcp_is_not_expected_elsewhere_once_both_agree_on_one_port() -> None:
    call = offered(AUDIO.format(4000), "a=rtcp-mux")
    call.answer("200 OK", "1 INVITE", sdp("192.0.2.2", AUDIO.format(5000), "a=rtcp-mux"))
    assert contexts(call, 5000, "192.0.2.2")
    assert not contexts(call, 5001, "192.0.2.2")


@pytest.mark.parametrize(
    ("lines", "keying"),
    [
        (("m=audio 4000 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwg"), "sdes"),
        (("m=audio 4000 RTP/AVP 0", "a=zrtp-hash:1.10 fe30efd0"), "zrtp"),
        (("m=audio 4000 UDP/TLS/RTP/SAVPF 0", "a=fingerprint:sha-256 12:DF"), "dtls"),
        (("a=fingerprint:sha-256 12:DF", "m=audio 4000 UDP/TLS/RTP/SAVPF 0"), "dtls"),
        (("m=audio 4000 RTP/AVP 0",), None),
    ],
    ids=["sdes", "zrtp", "dtls", "dtls for all", "none"],
)  # fmt: skip
def test_how_keys_are_agreed_on_is_said_and_no_key(lines: tuple[str, ...], keying: str | None) -> None:
    (context,) = contexts(offered(*lines), 4000)
    assert context.get("keying") == keying
    assert "WVNf" not in str(context)


def test_endpoints_outlive_the_call_by_half_a_minute() -> None:
    call = offered(AUDIO.format(4000))
    call.answer("200 OK", "1 INVITE", reply())
    call.flows._move_clock(call.clock)
    call.say("BYE sip:bob@example.com SIP/2.0", "2 BYE", to_tag="b")
    call.flows._move_clock(call.clock + 29 * SECOND)
    assert contexts(call, 4000) and contexts(call, 5000, "192.0.2.2")
    call.flows._move_clock(call.clock + 31 * SECOND)
    assert call.flows.endpoint_count == 0


@pytest.mark.parametrize("end", ["486 Busy Here", "cancel"])
def test_a_call_that_fails_ends_too(end: str) -> None:
    call = offered(AUDIO.format(4000))
    call.flows._move_clock(call.clock)
    if end == "cancel":
        call.say("CANCEL sip:bob@example.com SIP/2.0", "1 CANCEL")
    else:
        call.answer(end, "1 INVITE")
    call.flows._move_clock(call.clock + 31 * SECOND)
    assert call.flows.endpoint_count == 0


def test_a_challenge_does_not_end_the_call_that_goes_on() -> None:
    call = offered(AUDIO.format(4000))
    call.flows._move_clock(call.clock)
    call.answer("401 Unauthorized", "1 INVITE")
    call.invite(offer(), 2)
    call.flows._move_clock(call.clock + 60 * SECOND)
    assert contexts(call, 4000)


def test_one_branch_that_fails_does_not_end_the_others() -> None:
    call = offered(AUDIO.format(4000))
    call.flows._move_clock(call.clock)
    call.answer("183 Session Progress", "1 INVITE", reply(), "b")
    call.answer("200 OK", "1 INVITE", sdp("192.0.2.2", AUDIO.format(6000)), "c")
    call.say("BYE sip:bob@example.com SIP/2.0", "2 BYE", to_tag="b")
    call.flows._move_clock(call.clock + 60 * SECOND)
    assert contexts(call, 6000, "192.0.2.2")


def test_the_same_description_at_the_next_hop_keeps_where_it_was_seen_first() -> None:
    call = Call()
    call.flows._take_ends()
    raw = message("INVITE sip:bob@example.com SIP/2.0", cseq="1 INVITE", body=offer(), call_id="Call-ID: c1")
    call.parser.handle(packets.decode(packets.udp(raw, src="192.0.2.1", dst="192.0.2.50")))
    (before,) = contexts(call, 4000)
    call.parser.handle(packets.decode(packets.udp(raw, src="192.0.2.50", dst="192.0.2.2")))
    assert contexts(call, 4000) == [before]
    assert before["signalling"] == ("192.0.2.1", 5060, "192.0.2.50", 5060)
    assert call.flows._take_ends() == []


def test_two_calls_may_announce_one_endpoint() -> None:
    call = Call()
    for name in ("a", "b"):
        call.invite(offer(), call_id=name)
        call.answer("200 OK", "1 INVITE", reply(), call_id=name)
    between = FlowKey("192.0.2.1", 4000, "192.0.2.2", 5000, 17)
    assert [(m.owner, m.score, m.source["role"]) for m in call.flows.find(between)] == [
        (b"b", 3, "offer"),
        (b"a", 3, "offer"),
    ]


@pytest.mark.parametrize(
    ("line", "session", "field", "other"),
    [
        ("m=video 6000 RTP/AVP 0", (), "media", "audio"),
        ("m=audio 6000 RTP/SAVP 0", (), "profile", "RTP/AVP"),
        ("m=audio 6000 RTP/AVP 8", (), "codec", "PCMU/8000"),
        ("m=audio 6000 RTP/AVP 0", ("a=recvonly",), "direction", "sendrecv"),
        ("m=audio 6000 RTP/AVP 0", ("a=fingerprint:sha-256 AB",), "keying", None),
        ("m=audio 6000 RTP/AVP 0", (), "port", 4000),
    ],
)
def test_lines_that_differ_in_one_thing_are_told_apart(
    line: str, session: tuple[str, ...], field: str, other: Any
) -> None:
    """What a line says is kept from one call to the next: a second call must get none of what the first one said."""
    call = Call()
    call.invite(sdp("192.0.2.1", "m=audio 4000 RTP/AVP 0", "a=ptime:20"), call_id="a")
    call.invite(sdp("192.0.2.1", line, "a=ptime:20", session=session), call_id="b", to_tag="t")
    (first,), (second,) = contexts(call, 4000), contexts(call, 6000)
    fresh = Call()
    fresh.invite(sdp("192.0.2.1", line, "a=ptime:20", session=session), call_id="b", to_tag="t")
    assert (first.get(field), first["call_id"], "peer_tag" in first) == (other, "a", False)
    assert second == contexts(fresh, 6000)[0]
    assert second[field] != other  # type: ignore[literal-required]


def test_a_sibling_knows_the_same() -> None:
    ours, theirs = Call(peers=lambda _message: None), FlowRegistry()
    ours.flows._on_change = theirs._apply
    ours.invite(offer())
    ours.answer("200 OK", "1 INVITE", reply())
    between = FlowKey("192.0.2.1", 4000, "192.0.2.2", 5000, 17)
    assert [m.context for m in theirs.find(between)] == [m.context for m in ours.flows.find(between)]
    assert theirs.find(between)[0].score == 3


def test_a_description_full_of_everything_stays_within_bounds() -> None:
    lines = ["m=audio 4000 RTP/AVP " + " ".join(map(str, range(96, 128)))]
    lines += [f"a=rtpmap:{n} {'é' * 100}/8000" for n in range(96, 128)]
    lines += [f"a=fmtp:{n} {'ü' * 400}" for n in range(96, 128)]
    lines += [f"a=candidate:1 1 UDP 1 198.51.100.{n} 4000 typ host" for n in range(100)]
    lines += [f"m=video {5000 + 2 * n} RTP/AVP 31" for n in range(100)]
    call = Call()
    call.invite(sdp("192.0.2.1", *lines), call_id="é" * 250)
    assert call.flows.endpoint_count == 34 + 63 * 2
    assert contexts(call, 4000)[0]["line"] == 0
    assert contexts(call, 5000)[0]["codecs"] == {31: "H261/90000"}


def test_nothing_is_announced_where_nobody_could_look_it_up() -> None:
    flows = FlowRegistry()
    flows.watched = False
    alone: Any = parser()
    alone.wire(Wire(flows))
    alone.handle(packet(message("INVITE sip:b@example.com SIP/2.0", cseq="1 INVITE", body=offer())))
    alone.handle(packet(message("SIP/2.0 200 OK", cseq="1 INVITE", body=reply())))
    assert (flows.endpoint_count, len(flows), alone.calls) == (0, 0, 0)
