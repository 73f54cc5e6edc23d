"""Calls and the media flows that they announce: offers, answers, forks, ends, and bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from otus_core import FlowKey, FlowRegistry
from otus_sip.parser import SipParser
from tests.sip.messages import message, packet, parser, sdp

AUDIO = "m=audio {} RTP/AVP 0"


@attrs.define
class Wire:
    """What a parser is wired to."""

    flows: FlowRegistry | None = attrs.field(factory=FlowRegistry)
    peers: Any = None

    @staticmethod
    def counter(name: str) -> Callable[..., None]:
        return lambda n=1: None


class Call:
    """A parser with its registry; ``say`` feeds it one message."""

    def __init__(self, peers: Any = None, **options: Any) -> None:
        self.flows = FlowRegistry()
        self.parser: SipParser = parser(**options)
        self.parser.wire(Wire(self.flows, peers))  # type: ignore[arg-type]
        self.clock = 10**18

    def say(self, start: str, cseq: str, body: bytes = b"", to_tag: str = "", call_id: str = "c1") -> None:
        self.clock += 10**6
        to = f"To: <sip:bob@example.com>{';tag=' + to_tag if to_tag else ''}"
        raw = message(start, cseq=cseq, body=body, to=to, call_id=f"Call-ID: {call_id}")
        self.parser.handle(packet(raw, timestamp=self.clock))

    def invite(self, body: bytes = b"", number: int = 1, **about: str) -> None:
        self.say("INVITE sip:bob@example.com SIP/2.0", f"{number} INVITE", body, **about)

    def answer(self, status: str, cseq: str, body: bytes = b"", to_tag: str = "b", **about: str) -> None:
        self.say(f"SIP/2.0 {status}", cseq, body, to_tag, **about)


def offer(port: int = 4000) -> bytes:
    return sdp("192.0.2.1", AUDIO.format(port))


def reply(port: int = 5000) -> bytes:
    return sdp("192.0.2.2", AUDIO.format(port))


def flow(one: int, other: int) -> FlowKey:
    return FlowKey("192.0.2.1", one, "192.0.2.2", other, 17)


def established() -> Call:
    call = Call()
    call.invite(offer())
    call.answer("200 OK", "1 INVITE", reply())
    return call


def test_an_invite_and_its_answer_announce_rtp_and_rtcp_both_ways() -> None:
    call = established()
    assert len(call.flows) == 4
    for key in (flow(4000, 5000), flow(4001, 5001)):
        for direction in (key, key.reversed()):
            context = call.flows.get(direction)
            assert context == {"call_id": "c1", "media": "audio", "codec": "PCMU/8000"}


def test_two_audio_and_one_video_without_mux_are_twelve_flows() -> None:
    call = Call()
    call.invite(sdp("192.0.2.1", AUDIO.format(4000), AUDIO.format(4010), "m=video 4020 RTP/AVP 31"))
    call.answer(
        "200 OK", "1 INVITE", sdp("192.0.2.2", AUDIO.format(5000), AUDIO.format(5010), "m=video 5020 RTP/AVP 31")
    )
    assert len(call.flows) == 12


@pytest.mark.parametrize(
    ("ours", "theirs", "rtcp"),
    [
        ((), (), (4001, 5001)),
        (("a=rtcp:4444",), (), (4444, 5001)),
        (("a=rtcp-mux", "a=rtcp:4444"), ("a=rtcp-mux",), None),
        (("a=rtcp-mux",), (), (4001, 5001)),
    ],
    ids=["port and one", "a=rtcp", "mux", "mux refused"],
)
def test_mux_goes_before_a_rtcp_before_port_and_one(ours: tuple[str, ...], theirs: tuple[str, ...], rtcp: Any) -> None:
    call = Call()
    call.invite(sdp("192.0.2.1", AUDIO.format(4000), *ours))
    call.answer("200 OK", "1 INVITE", sdp("192.0.2.2", AUDIO.format(5000), *theirs))
    assert flow(4000, 5000) in call.flows
    assert len(call.flows) == (2 if rtcp is None else 4)
    if rtcp is not None:
        assert flow(*rtcp) in call.flows


def test_go_defect_4_early_media_of_a_183() -> None:
    call = Call()
    call.invite(offer())
    call.answer("183 Session Progress", "1 INVITE", reply())
    assert len(call.flows) == 4


def test_go_defect_4_every_fork_has_its_flows() -> None:
    call = Call()
    call.invite(offer())
    call.answer("183 Session Progress", "1 INVITE", reply(5000), to_tag="b1")
    call.answer("183 Session Progress", "1 INVITE", reply(6000), to_tag="b2")
    assert len(call.flows) == 8


def test_two_forks_may_both_accept() -> None:
    call = established()
    call.answer("200 OK", "1 INVITE", sdp("192.0.2.2", AUDIO.format(6000)), to_tag="c")
    assert (len(call.flows), call.flows.get(flow(4000, 6000)) is not None) == (8, True)
    call.say("BYE sip:bob@example.com SIP/2.0", "2 BYE", to_tag="c")
    assert (len(call.flows), call.flows.get(flow(4000, 5000)) is not None) == (4, True)


def test_go_defect_4_an_offer_in_the_200_is_answered_in_the_ack() -> None:
    call = Call()
    call.invite()
    call.answer("200 OK", "1 INVITE", reply())
    call.say("ACK sip:bob@example.com SIP/2.0", "1 ACK", offer(), "b")
    assert flow(4000, 5000) in call.flows


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_go_defect_4_a_later_pair_takes_the_place_of_the_earlier(method: str) -> None:
    call = established()
    call.say(f"{method} sip:bob@example.com SIP/2.0", f"2 {method}", offer(7000), "b")
    assert flow(4000, 5000) in call.flows
    call.answer("200 OK", f"2 {method}", reply(8000))
    assert flow(7000, 8000) in call.flows
    assert flow(4000, 5000) not in call.flows
    assert len(call.flows) == 4


def test_a_bye_ends_its_flows() -> None:
    call = established()
    call.say("BYE sip:bob@example.com SIP/2.0", "2 BYE", to_tag="b")
    assert (len(call.flows), call.parser.calls) == (0, 0)


def test_a_cancelled_call_has_no_flows() -> None:
    call = Call()
    call.invite(offer())
    call.answer("183 Session Progress", "1 INVITE", reply())
    call.say("CANCEL sip:bob@example.com SIP/2.0", "1 CANCEL")
    assert (len(call.flows), call.parser.calls) == (0, 0)


def test_a_refused_call_has_no_flows() -> None:
    call = Call()
    call.invite(offer())
    call.answer("183 Session Progress", "1 INVITE", reply())
    call.answer("486 Busy Here", "1 INVITE")
    assert (len(call.flows), call.parser.calls) == (0, 0)


def test_a_refused_re_invite_changes_nothing() -> None:
    call = established()
    call.invite(offer(7000), 2, to_tag="b")
    call.answer("488 Not Acceptable Here", "2 INVITE")
    assert flow(4000, 5000) in call.flows


@pytest.mark.parametrize(
    "refused",
    [AUDIO.format(0), "m=image 5000 udptl t38", "m=audio 5000 RTP/AVP 0\r\nc=IN IP4 phone.example.com"],
    ids=["port 0", "T.38", "name"],
)
def test_what_is_no_rtp_flow_is_left_out(refused: str) -> None:
    call = Call()
    call.invite(offer())
    call.answer("200 OK", "1 INVITE", sdp("192.0.2.2", refused))
    assert len(call.flows) == 0


def test_calls_are_bounded() -> None:
    call = Call(max_sessions=10)
    for n in range(50):
        call.invite(offer(), call_id=f"c{n}")
    assert call.parser.calls == 10


def test_a_sibling_worker_knows_the_offer() -> None:
    sibling = Call()
    call = Call(peers=sibling.parser.on_peer_message)
    call.invite(offer())
    sibling.answer("200 OK", "1 INVITE", reply())
    assert flow(4000, 5000) in sibling.flows


def test_a_bye_with_a_body_ends_its_flows() -> None:
    call = established()
    call.say("BYE sip:bob@example.com SIP/2.0", "2 BYE", offer(), to_tag="b")
    assert (len(call.flows), call.parser.calls) == (0, 0)


def test_calls_are_told_apart_however_many_there_are() -> None:
    call = Call(max_sessions=5000)
    for n in range(3000):
        call.invite(offer(4000 + n), call_id=f"c{n}")
        call.answer("200 OK", "1 INVITE", reply(), call_id=f"c{n}")
    for n in range(0, 3000, 2):
        call.say("BYE sip:bob@example.com SIP/2.0", "2 BYE", to_tag="b", call_id=f"c{n}")
    assert call.parser.calls == 1500
    assert [flow(4000 + n, 5000) in call.flows for n in range(4)] == [False, True, False, True]


def test_transactions_and_forks_of_one_call_are_bounded() -> None:
    call = Call()
    for n in range(1, 100):
        call.invite(offer(), n)
    call.answer("200 OK", "99 INVITE", reply())
    assert flow(4000, 5000) in call.flows
    for n in range(100):
        call.invite(offer(), 100 + n)
        call.answer("183 Session Progress", f"{100 + n} INVITE", reply(6000 + 2 * n), to_tag=f"fork{n}")
    assert call.parser.calls == 1


def test_a_call_with_ever_more_transactions_takes_no_more_memory() -> None:
    """Whoever sends INVITEs of one Call-ID for ever, each another transaction, gets the place of sixteen."""
    call = Call()
    weights = []
    for n in range(1, 400):
        call.invite(offer(), n)
        weights.append(call.parser.weight)
    assert weights[15] < 2 * weights[7] + 1
    assert max(weights[15:]) == weights[15]


def test_the_least_recently_touched_call_goes_first() -> None:
    call = Call(max_sessions=2)
    call.invite(offer(4000), call_id="a")
    call.invite(offer(4002), call_id="b")
    call.invite(offer(4000), 2, call_id="a")
    call.invite(offer(4004), call_id="c")
    call.answer("200 OK", "2 INVITE", reply(), call_id="a")
    call.answer("200 OK", "1 INVITE", reply(5002), call_id="b")
    assert flow(4000, 5000) in call.flows
    assert flow(4002, 5002) not in call.flows


def test_a_late_answer_does_not_bring_an_ended_call_back() -> None:
    call = established()
    call.say("BYE sip:bob@example.com SIP/2.0", "2 BYE", to_tag="b")
    call.answer("200 OK", "1 INVITE", reply())
    assert (len(call.flows), call.parser.calls) == (0, 0)


def test_a_call_without_an_offer_that_is_refused_is_forgotten() -> None:
    call = Call()
    call.invite()
    assert call.parser.calls == 1
    call.answer("486 Busy Here", "1 INVITE")
    assert call.parser.calls == 0


@pytest.mark.parametrize("length", [1, 63, 64, 65, 300])
def test_calls_are_told_apart_by_the_whole_call_id(length: int) -> None:
    call, ids = Call(), ["c" * (length - 1) + last for last in "ab"]
    for number, call_id in enumerate(ids):
        call.invite(offer(4000 + 100 * number), call_id=call_id)
        call.answer("200 OK", "1 INVITE", reply(5000 + 100 * number), call_id=call_id)
    assert (call.parser.calls, len(call.flows)) == (2, 8)
    call.say("BYE sip:bob@example.com SIP/2.0", "2 BYE", to_tag="b", call_id=ids[0])
    assert (call.parser.calls, len(call.flows)) == (1, 4)
    assert call.flows.get(flow(4100, 5100))["call_id"] == ids[1][:256]
