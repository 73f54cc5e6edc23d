"""Calls as they are in the field: proxies with media relays, forks, glare, shared flows, and descriptions that nobody
should send but many do.

Captures are those of ``shared/field/CASES.md``, by their numbers; what they do not hold is said here message by
message.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs
import dpkt
import pytest

import otus_sip
from otus_core import FLOW_KEY_FORMAT, FlowRegistry
from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import DecoderConfig
from otus_core.model.accounts import Accounts
from otus_sip.parser import SipParser
from otus_sip.sdp import Sdp
from tests.sip.messages import parser

KEY = struct.calcsize(FLOW_KEY_FORMAT)


class Listed:
    """The flow registry, with a list of what is in it."""

    def __init__(self) -> None:
        self.registry = FlowRegistry()
        self.watched = True
        self.contexts: dict[bytes, dict[str, Any]] = {}

    def register_many(self, keys: bytes, context: dict[str, Any], ttl: float, local: bool) -> None:
        self.registry.register_many(keys, context, ttl, local)
        self.contexts.update(dict.fromkeys(split(keys), context))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.registry, name)

    def remove_many(self, keys: bytes, local: bool) -> None:
        self.registry.remove_many(keys, local)
        for key in split(keys):
            del self.contexts[key]


def split(keys: bytes) -> list[bytes]:
    return [keys[at : at + KEY] for at in range(0, len(keys), KEY)]


@attrs.define
class Wire:
    """What the parser is wired to."""

    flows: Listed
    peers: None = None

    @staticmethod
    def counter(name: str) -> Callable[..., None]:
        return lambda n=1: None


class Played:
    """A parser that is fed frames; ``rtp`` and ``flows`` say which flows there are after them."""

    def __init__(self) -> None:
        self.listed = Listed()
        self.parser: SipParser = parser()
        self.parser.wire(Wire(self.listed))  # type: ignore[arg-type]
        self.decoder = Decoder(Accounts(("frames_read", *COUNTERS)), DecoderConfig())

    def feed(self, frames: Iterable[bytes]) -> Played:
        for number, frame in enumerate(frames):
            packet = self.decoder.decode_one(frame, timestamp=10**18 + number * 10**6)
            if packet is not None and self.parser.can_handle(packet):
                self.parser.handle(packet)
        assert len(self.listed.registry) == len(self.listed.contexts)
        return self

    @property
    def flows(self) -> set[str]:
        """Every flow, with its protocol where it is TCP; it is there in both directions."""
        found = [told(key) for key in self.listed.contexts]
        assert {(one, other) for one, other, _ in found} == {(other, one) for one, other, _ in found}
        return {f"{one}-{other}{' tcp' if protocol == 6 else ''}" for one, other, protocol in found if one <= other}

    @property
    def rtp(self) -> set[str]:
        """The flows between even ports."""
        return {
            flow for flow in self.flows if all(int(end.split()[0].rpartition(":")[2]) % 2 == 0 for end in ends(flow))
        }


def ends(flow: str) -> list[str]:
    return flow.split("-")


def told(key: bytes) -> tuple[str, str, int]:
    src, dst, src_port, dst_port, version, protocol = struct.unpack(FLOW_KEY_FORMAT, key)[:6]
    size = 4 if version == 4 else 16
    return f"{ip_address(src[:size])}:{src_port}", f"{ip_address(dst[:size])}:{dst_port}", protocol


def frames(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [frame for _, frame in dpkt.pcap.Reader(file)]


def in_pairs(path: Path) -> Iterator[Played]:
    """Play each call of a capture that has an INVITE and its 200 for each."""
    all_frames = frames(path)
    for at in range(0, len(all_frames), 2):
        yield Played().feed(all_frames[at : at + 2])


# --- captures ---


def test_31_addresses_as_rfc_8866_has_them_and_as_phones_send_them(field: Path) -> None:
    offered = [
        " ".join(sorted(ends(flow)[0] for flow in call.rtp)) for call in in_pairs(field / "31-sdp-connection.pcap")
    ]
    v4 = "192.0.2.{}:{}"
    expected = {
        1: v4.format(11, 4000),
        2: v4.format(12, 4000),
        8: v4.format(15, 4012),  # two blanks between the words
        9: v4.format(16, 4014),  # in ip4
        10: v4.format(17, 4016),  # a tab
        11: "2001:db8::10:4018",
        13: "198.51.100.20:5000",  # to a multicast group
        14: v4.format(19, 4024),
        18: v4.format(23, 4032),  # a blank before the first word
    }
    assert {number: ports for number, ports in enumerate(offered, 1) if ports} == expected


def test_32_media_lines_as_offered_and_answered(field: Path) -> None:
    calls = [call.flows for call in in_pairs(field / "32-sdp-media-lines.pcap")]
    bob, alice = "198.51.100.20", "192.0.2.10"

    def both(one: int, other: int) -> set[str]:
        return {f"{alice}:{one}-{bob}:{other}", f"{alice}:{one + 1}-{bob}:{other + 1}"}

    expected: list[set[str]] = [
        both(4000, 5000),
        set(),
        both(7016, 5000),
        both(4000, 5000),
        both(57984, 5000),
        both(7078, 5000),
        {f"{alice}:7078-{bob}:5000", f"192.0.2.66:7099-{bob}:5099"},
        {f"{alice}:7078-{bob}:5000"},  # RTCP over IPv6 at one side only
        set(),
        set(),
        both(4000, 5000),
        both(4000, 5000),
        {f"{alice}:65535-{bob}:5000", f"{alice}:65535-{bob}:5001"},
        {f"{alice}:4000-{bob}:5002", f"{alice}:4001-{bob}:5003"},  # its first line cannot be read
        set(),
        both(4000, 5000),  # two blanks
        {f"{alice}:4000-{bob}:5000"},
        {f"{flow} tcp" for flow in both(4000, 5000)},
    ]
    assert dict(enumerate(calls, 1)) == dict(enumerate(expected, 1))


def test_32_a_codec_is_named_without_blanks(field: Path) -> None:
    packets = frames(field / "32-sdp-media-lines.pcap")
    call = Played().feed(packets[20:22])
    assert {context["codec"] for context in call.listed.contexts.values()} == {"PCMU/8000"}
    assert description(packets[21]).media[0].codecs == ["PCMU", "101"]


def description(frame: bytes) -> Sdp:
    found = otus_sip.parse(bytes(dpkt.ethernet.Ethernet(frame).data.data.data)).sdp
    assert found is not None
    return found


def test_33_hold_and_resume(field: Path) -> None:
    packets = frames(field / "33-hold-and-resume.pcap")
    held = Played().feed(packets[:2])
    assert held.rtp == {"192.0.2.10:4000-198.51.100.20:5000"}
    assert held.feed(packets[2:5]).rtp == set()
    assert held.feed(packets[5:9]).rtp == {"192.0.2.10:4000-198.51.100.20:5000"}
    assert (held.feed(packets[9:]).rtp, held.parser.calls) == (set(), 0)


def test_34_what_was_agreed_stays_until_the_next_answer(field: Path) -> None:
    packets = frames(field / "34-incomplete-offer-answer.pcap")
    call = Played().feed(packets[:8])
    assert call.rtp == {"192.0.2.10:4000-198.51.100.20:5000"}
    assert call.feed(packets[8:11]).rtp == {"192.0.2.10:4400-198.51.100.20:5400"}
    assert (call.feed(packets[11:]).rtp, call.parser.calls) == (set(), 0)


def test_35_an_update_before_the_200_stays(field: Path) -> None:
    packets = frames(field / "35-180-and-update.pcap")
    call = Played().feed(packets[:8])
    assert call.rtp == {"192.0.2.10:4200-198.51.100.20:5200"}
    assert (call.feed(packets[8:]).rtp, call.parser.calls) == (set(), 0)


def test_36_both_sides_number_from_one_and_one_offer_is_refused(field: Path) -> None:
    packets = frames(field / "36-both-sides-number-from-1.pcap")
    call = Played().feed(packets[:4])
    assert call.rtp == {"192.0.2.10:4600-198.51.100.20:5600"}
    assert call.feed(packets[4:8]).rtp == {"192.0.2.10:4700-198.51.100.20:5710"}
    assert (call.feed(packets[8:]).rtp, call.parser.calls) == (set(), 0)


def test_55_both_legs_of_a_media_relay(field: Path) -> None:
    packets = frames(field / "55-proxy-with-media-relay.pcap")
    call = Played().feed(packets[:8])
    assert call.rtp == {"192.0.2.10:4000-203.0.113.1:30002", "198.51.100.20:5000-203.0.113.1:30000"}
    assert (call.feed(packets[8:]).rtp, call.parser.calls) == (set(), 0)


def test_57_a_call_id_on_a_continuation_line_is_the_same(field: Path) -> None:
    call = Played().feed(frames(field / "57-folded-call-id.pcap"))
    assert call.rtp == {"192.0.2.10:4000-198.51.100.20:5000"}
    assert {context["call_id"] for context in call.listed.contexts.values()} == {"c1@192.0.2.10"}


def test_59_a_line_that_cannot_be_read_keeps_its_place(field: Path) -> None:
    path = field / "59-unreadable-m-line.pcap"
    bob, alice = "198.51.100.20", "192.0.2.10"
    assert [call.rtp for call in in_pairs(path)] == [
        {f"{alice}:4000-{bob}:5002"},
        {f"{alice}:4000-{bob}:5000", f"{alice}:4010-{bob}:5010"},
        {f"{alice}:4000-{bob}:5000", f"192.0.2.67:4010-{bob}:5010"},
    ]
    first = description(frames(path)[0])
    assert (first.address, first.direction) == (alice, "sendrecv")
    assert [(one.port, one.address, one.direction) for one in first.media] == [
        (None, "192.0.2.66", "sendonly"),
        (4000, alice, "sendrecv"),
    ]


def test_60_blanks_behind_attributes_do_not_count(field: Path) -> None:
    path = field / "60-trailing-blanks-on-attributes.pcap"
    first, _, third = in_pairs(path)
    assert first.flows == {"192.0.2.10:4000-198.51.100.20:5000"}
    assert third.flows == {"192.0.2.10:4000-198.51.100.20:5000", "192.0.2.10:4009-198.51.100.20:5001"}
    medium = description(frames(path)[0]).media[0]
    assert (medium.direction, medium.rtcp_mux) == ("sendonly", True)


@pytest.mark.parametrize(
    ("name", "answered"), [("61-parallel-fork-one-busy.pcap", 7), ("61b-fork-early-media-then-busy.pcap", 8)]
)
def test_61_a_busy_branch_ends_that_branch_only(field: Path, name: str, answered: int) -> None:
    call = Played().feed(frames(field / name)[:answered])
    assert call.flows == {"192.0.2.10:4000-198.51.100.22:5000", "192.0.2.10:4001-198.51.100.22:5001"}


def test_64_a_flow_that_two_calls_have_stays_until_the_last_of_them_leaves(field: Path) -> None:
    packets = frames(field / "64-b2bua-direct-media.pcap")
    both = Played().feed(packets[:4])
    assert both.rtp == {"192.0.2.10:4000-198.51.100.20:5000"}
    one = both.feed(packets[4:5])
    assert one.rtp == {"192.0.2.10:4000-198.51.100.20:5000"}
    assert {context["call_id"] for context in one.listed.contexts.values()} == {"c2@203.0.113.1"}
    assert (one.feed(packets[5:]).rtp, one.parser.calls) == (set(), 0)


# --- message by message ---

ALICE, PROXY, BOB, CAROL = "192.0.2.10", "203.0.113.1", "198.51.100.21", "198.51.100.22"


class Hop:
    """One hop of a call: the way between two hosts, with the branch of the requests on it."""

    def __init__(self, played: Played, one: str, other: str, call_id: str = "c1") -> None:
        self.played, self.one, self.other, self.call_id = played, one, other, call_id

    def request(
        self, method: str, number: int, branch: str, media: str = "", tags: str = "a1 ", back: bool = False
    ) -> None:
        self._send(f"{method} sip:bob@example.net SIP/2.0", f"{number} {method}", branch, media, tags, back, back)

    def response(
        self, status: str, cseq: str, branch: str, media: str = "", tags: str = "a1 b1", back: bool = False
    ) -> None:
        self._send(f"SIP/2.0 {status}", cseq, branch, media, tags, back, not back)

    def _send(self, start: str, cseq: str, branch: str, media: str, tags: str, asked_back: bool, back: bool) -> None:
        """Send a message; ``asked_back`` says that the far host made the request, ``back`` that it sends
        this message.
        """
        caller, _, callee = tags.partition(" ")
        lines = [
            start,
            f"Via: SIP/2.0/UDP {self.other if asked_back else self.one}{';branch=z9hG4bK-' + branch if branch else ''}",
            f"From: <sip:x@example.net>;tag={caller}",
            f"To: <sip:y@example.net>{';tag=' + callee if callee else ''}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq}",
        ]
        body = b""
        if media:
            address, ports = media.split(":")
            media_lines = "".join(f"m=audio {port} RTP/AVP 0\r\na=rtcp-mux\r\n" for port in ports.split(","))
            body = f"v=0\r\nc=IN IP4 {address}\r\n{media_lines}".encode()
            lines.append("Content-Type: application/sdp")
        raw = "\r\n".join([*lines, f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n" + body
        self.played.feed([frame(raw, *((self.other, self.one) if back else (self.one, self.other)))])


def frame(payload: bytes, src: str, dst: str) -> bytes:
    datagram = dpkt.udp.UDP(sport=5060, dport=5060, data=payload, ulen=8 + len(payload))
    ip = dpkt.ip.IP(src=ip_address(src).packed, dst=ip_address(dst).packed, p=17, data=datagram, len=28 + len(payload))
    return bytes(dpkt.ethernet.Ethernet(src=b"\x02" * 6, dst=b"\x04" * 6, data=ip))


def answered(branch: str = "p1") -> tuple[Played, Hop]:
    played = Played()
    hop = Hop(played, ALICE, BOB)
    hop.request("INVITE", 1, branch, f"{ALICE}:4000")
    hop.response("200 OK", "1 INVITE", branch, f"{BOB}:5000")
    return played, hop


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("number", [2, 7], ids=["same number", "other number"])
def test_36_glare(method: str, number: int) -> None:
    played, hop = answered()
    hop.request(method, 2, "x", f"{ALICE}:4700", "a1 b1")
    hop.request(method, number, "y", f"{BOB}:5700", "b1 a1", back=True)
    hop.response("491 Request Pending", f"{number} {method}", "y", tags="b1 a1", back=True)
    hop.response("200 OK", f"2 {method}", "x", f"{BOB}:5710")
    assert played.flows == {f"{ALICE}:4700-{BOB}:5710"}


def test_a_re_invite_through_a_media_relay_changes_its_own_hop() -> None:
    played = Played()
    near, far = Hop(played, ALICE, PROXY), Hop(played, PROXY, BOB)
    for number, alice, bob in ((1, 4000, 5000), (2, 4200, 5200)):
        tags = "a1 b1" if number > 1 else "a1 "
        near.request("INVITE", number, f"n{number}", f"{ALICE}:{alice}", tags)
        far.request("INVITE", number, f"f{number}", f"{PROXY}:{alice + 26000}", tags)
        far.response("200 OK", f"{number} INVITE", f"f{number}", f"{BOB}:{bob}")
        near.response("200 OK", f"{number} INVITE", f"n{number}", f"{PROXY}:{bob + 26000}")
        assert played.flows == {f"{ALICE}:{alice}-{PROXY}:{bob + 26000}", f"{BOB}:{bob}-{PROXY}:{alice + 26000}"}
    far.request("INVITE", 1, "bob", f"{BOB}:5400", "b1 a1", back=True)
    near.request("INVITE", 1, "bob2", f"{PROXY}:31400", "b1 a1", back=True)
    near.response("200 OK", "1 INVITE", "bob2", f"{ALICE}:4400", "b1 a1", back=True)
    far.response("200 OK", "1 INVITE", "bob", f"{PROXY}:30400", "b1 a1", back=True)
    assert played.flows == {f"{ALICE}:4400-{PROXY}:31400", f"{BOB}:5400-{PROXY}:30400"}
    far.request("BYE", 2, "z", tags="b1 a1", back=True)
    assert (played.flows, played.parser.calls) == (set(), 0)


def test_a_late_offer_through_a_media_relay_is_answered_at_its_own_hop() -> None:
    played = Played()
    near, far = Hop(played, ALICE, PROXY), Hop(played, PROXY, BOB)
    near.request("INVITE", 1, "n")
    far.request("INVITE", 1, "f")
    far.response("200 OK", "1 INVITE", "f", f"{BOB}:5000")
    near.response("200 OK", "1 INVITE", "n", f"{PROXY}:30002")
    near.request("ACK", 1, "n2", f"{ALICE}:4000", "a1 b1")
    far.request("ACK", 1, "f2", f"{PROXY}:30000", "a1 b1")
    assert played.flows == {f"{ALICE}:4000-{PROXY}:30002", f"{BOB}:5000-{PROXY}:30000"}


def test_signalling_that_leaves_the_proxy_takes_the_place_of_what_went_through_it() -> None:
    played = Played()
    near, far, direct = Hop(played, ALICE, PROXY), Hop(played, PROXY, BOB), Hop(played, ALICE, BOB)
    near.request("INVITE", 1, "n", f"{ALICE}:4000")
    far.request("INVITE", 1, "f", f"{ALICE}:4000")
    far.response("200 OK", "1 INVITE", "f", f"{BOB}:5000")
    near.response("200 OK", "1 INVITE", "n", f"{BOB}:5000")
    direct.request("INVITE", 2, "d", f"{ALICE}:4200", "a1 b1")
    direct.response("200 OK", "2 INVITE", "d", f"{BOB}:5200")
    near.response("200 OK", "1 INVITE", "n", f"{BOB}:5000")
    assert played.flows == {f"{ALICE}:4200-{BOB}:5200"}


def test_agents_without_branches_are_told_apart_by_the_rest() -> None:
    """RFC 2543 agents send none; then Call-ID, tags, CSeq and the Via itself have to do (RFC 3261 §17.2.3)."""
    played, hop = answered("")
    assert played.flows == {f"{ALICE}:4000-{BOB}:5000"}
    hop.request("INVITE", 2, "", f"{ALICE}:4700", "a1 b1")
    hop.request("INVITE", 2, "", f"{BOB}:5700", "b1 a1", back=True)
    hop.response("491 Request Pending", "2 INVITE", "", tags="b1 a1", back=True)
    hop.response("200 OK", "2 INVITE", "", f"{BOB}:5710")
    assert played.flows == {f"{ALICE}:4700-{BOB}:5710"}


def test_35_a_second_description_in_answers_to_one_invite_is_ignored() -> None:
    played = Played()
    hop = Hop(played, ALICE, BOB)
    hop.request("INVITE", 1, "p", f"{ALICE}:4000")
    hop.response("183 Session Progress", "1 INVITE", "p", f"{BOB}:5000")
    hop.response("200 OK", "1 INVITE", "p", f"{BOB}:5002")
    assert played.flows == {f"{ALICE}:4000-{BOB}:5000"}


def test_a_refused_offer_of_a_prack_or_update_ends_that_offer() -> None:
    played, hop = answered()
    hop.request("UPDATE", 2, "u", f"{ALICE}:4200", "a1 b1")
    hop.response("488 Not Acceptable Here", "2 UPDATE", "u")
    hop.response("200 OK", "2 UPDATE", "u", f"{BOB}:5200")
    assert played.flows == {f"{ALICE}:4000-{BOB}:5000"}


def forked(branches: int, early: bool = True) -> tuple[Played, Hop, list[Hop]]:
    """Ring several phones through a proxy that is seen on both of its sides."""
    played = Played()
    near = Hop(played, ALICE, PROXY)
    far = [Hop(played, PROXY, f"198.51.100.{50 + n}") for n in range(branches)]
    near.request("INVITE", 1, "n", f"{ALICE}:4000")
    for n, hop in enumerate(far):
        hop.request("INVITE", 1, f"f{n}", f"{ALICE}:4000")
    for n, hop in enumerate(far):
        if early:
            hop.response("183 Session Progress", "1 INVITE", f"f{n}", f"{hop.other}:5000", f"a1 b{n}")
            near.response("183 Session Progress", "1 INVITE", "n", f"{hop.other}:5000", f"a1 b{n}")
    assert len(played.flows) == (branches if early else 0)
    return played, near, far


@pytest.mark.parametrize("branches", [2, 10])
def test_61c_61d_forks_that_lost_are_gone_after_the_bye_of_the_one_that_won(branches: int) -> None:
    played, near, far = forked(branches)
    winner = far[-1]
    tags = f"a1 b{branches - 1}"
    winner.response("200 OK", "1 INVITE", f"f{branches - 1}", f"{winner.other}:5000", tags)
    near.response("200 OK", "1 INVITE", "n", f"{winner.other}:5000", tags)
    assert f"{ALICE}:4000-{winner.other}:5000" in played.flows
    near.request("BYE", 2, "bye", tags=tags)
    assert (played.flows, played.parser.calls, played.parser.weight) == (set(), 0, 0)


@pytest.mark.parametrize("early", [True, False])
def test_61e_a_cancelled_fork_leaves_the_other_alone(early: bool) -> None:
    played, near, far = forked(2, early)
    far[0].request("CANCEL", 1, "f0")
    far[0].response("487 Request Terminated", "1 INVITE", "f0", tags="a1 b0")
    far[1].response("200 OK", "1 INVITE", "f1", f"{far[1].other}:5000", "a1 b1")
    near.response("200 OK", "1 INVITE", "n", f"{far[1].other}:5000", "a1 b1")
    assert played.flows == {f"{ALICE}:4000-{far[1].other}:5000"}
    near.request("BYE", 2, "bye", tags="a1 b1")
    assert (played.flows, played.parser.calls, played.parser.weight) == (set(), 0, 0)


def test_61_a_cancel_that_crosses_the_200_changes_nothing() -> None:
    played, hop = answered()
    hop.request("CANCEL", 1, "p1")
    assert played.flows == {f"{ALICE}:4000-{BOB}:5000"}
    assert played.parser.calls == 1
    hop.response("200 OK", "1 CANCEL", "p1")
    hop.request("ACK", 1, "a1", tags="a1 b1")
    hop.request("INVITE", 2, "p2", f"{ALICE}:4700", "a1 b1")  # the call goes on: its media move, and BYE ends it
    hop.response("200 OK", "2 INVITE", "p2", f"{BOB}:5700")
    assert played.flows == {f"{ALICE}:4700-{BOB}:5700"}
    hop.request("BYE", 3, "bye", tags="a1 b1")
    assert (played.flows, played.parser.calls, played.parser.weight) == (set(), 0, 0)


@pytest.mark.parametrize("late", ["CANCEL", "487 Request Terminated", "486 Busy Here"])
def test_what_ends_an_invite_that_was_answered_without_media_does_not_forget_the_call(late: str) -> None:
    """Nothing but its answered offer is known of such a call; the offer in the 200 still gets its answer in the ACK."""
    played = Played()
    hop = Hop(played, ALICE, BOB)
    hop.request("INVITE", 1, "p1")
    hop.response("200 OK", "1 INVITE", "p1", f"{BOB}:5000")
    if late == "CANCEL":
        hop.request("CANCEL", 1, "p1")
    else:
        hop.response(late, "1 INVITE", "p1")
    assert played.parser.calls == 1
    hop.request("ACK", 1, "a1", f"{ALICE}:4000", "a1 b1")
    assert played.flows == {f"{ALICE}:4000-{BOB}:5000"}


def test_61_a_call_that_every_branch_refuses_is_forgotten() -> None:
    played, near, far = forked(3)
    for n, hop in enumerate(far):
        assert played.parser.calls == 1
        hop.response("486 Busy Here", "1 INVITE", f"f{n}", tags=f"a1 b{n}")
    assert played.flows == set()
    near.response("486 Busy Here", "1 INVITE", "n", tags="a1 b0")
    assert (played.parser.calls, played.parser.weight) == (0, 0)


def test_61_branches_without_an_offer() -> None:
    played = Played()
    near, far, other = Hop(played, ALICE, PROXY), Hop(played, PROXY, BOB), Hop(played, PROXY, CAROL)
    near.request("INVITE", 1, "n")
    far.request("INVITE", 1, "f")
    other.request("INVITE", 1, "o")
    far.response("486 Busy Here", "1 INVITE", "f", tags="a1 b1")
    other.response("200 OK", "1 INVITE", "o", f"{CAROL}:5000", "a1 b2")
    other.request("ACK", 1, "o2", f"{ALICE}:4000", "a1 b2")
    assert played.flows == {f"{ALICE}:4000-{CAROL}:5000"}


def test_64_one_leg_moves_and_the_other_keeps_its_flows() -> None:
    played = Played()
    legs = [Hop(played, ALICE, PROXY, "c1"), Hop(played, PROXY, BOB, "c2")]
    for n, leg in enumerate(legs):
        leg.request("INVITE", 1, f"i{n}", f"{ALICE}:4000")
        leg.response("200 OK", "1 INVITE", f"i{n}", f"{BOB}:5000")
    legs[1].request("INVITE", 2, "r", f"{ALICE}:4200", "a1 b1")
    legs[1].response("200 OK", "2 INVITE", "r", f"{BOB}:5200")
    assert played.flows == {f"{ALICE}:4000-{BOB}:5000", f"{ALICE}:4200-{BOB}:5200"}
    assert {context["call_id"] for context in played.listed.contexts.values()} == {"c1", "c2"}
    legs[0].request("BYE", 2, "b0", tags="a1 b1")
    assert played.flows == {f"{ALICE}:4200-{BOB}:5200"}
    legs[1].request("BYE", 3, "b1", tags="a1 b1")
    assert (played.flows, played.parser.calls) == (set(), 0)


def test_an_active_side_of_a_tcp_stream_has_no_port_of_its_own() -> None:
    """It opens the connection from any port and says 9 (RFC 4145 §4.1), so the flow cannot be told beforehand."""
    played = Played()
    for host, port, start in ((ALICE, 9, "INVITE sip:b@c SIP/2.0"), (BOB, 5000, "SIP/2.0 200 OK")):
        body = f"v=0\r\nc=IN IP4 {host}\r\nm=audio {port} TCP/RTP/AVP 0\r\n".encode()
        head = f"{start}\r\nFrom: <sip:a@b>;tag=a\r\nTo: <sip:b@c>;tag=b\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
        played.feed([frame(head.encode() + b"Content-Type: application/sdp\r\n\r\n" + body, ALICE, BOB)])
    assert (played.parser.calls, played.flows) == (1, set())


# --- bounds ---


def test_call_ids_of_60_kb_take_no_more_than_their_beginning() -> None:
    played = Played()
    hop = Hop(played, ALICE, BOB)
    for n in range(200):
        hop.call_id = "x" * 60_000 + str(n)
        hop.request("INVITE", 1, "p", f"{ALICE}:4000")
    assert played.parser.calls == 200
    assert played.parser.weight < 200 * 2048
    hop.response("200 OK", "1 INVITE", "p", f"{BOB}:5000")
    assert {context["call_id"] for context in played.listed.contexts.values()} == {"x" * 256}
    hop.request("BYE", 2, "q", tags="a1 b1")
    assert (played.parser.calls, played.flows) == (199, set())


def test_large_calls_are_bounded_in_bytes() -> None:
    played = Played()
    played.parser = parser(max_sessions=200)
    played.parser.wire(Wire(played.listed))  # type: ignore[arg-type]
    hop = Hop(played, ALICE, BOB)
    ports = ",".join(str(4000 + 2 * n) for n in range(16))
    for n in range(200):
        hop.call_id = f"c{n}"
        hop.request("INVITE", 1, "p", f"{ALICE}:{ports}")
        for fork in range(8):
            hop.response("183 Session Progress", "1 INVITE", "p", f"{BOB}:{ports}", f"a1 b{fork}")
        assert played.parser.weight <= 4 << 20
    assert 0 < played.parser.calls < 200
    for n in range(200):
        hop.call_id = f"c{n}"
        hop.response("486 Busy Here", "1 INVITE", "p", tags="a1 b0")
        for fork in range(8):
            hop.request("BYE", 2, "q", tags=f"a1 b{fork}")
    assert (played.parser.calls, played.parser.weight) == (0, 0)


def test_a_call_has_bounded_transactions_and_dialogs_and_lets_go_of_all_of_them() -> None:
    played = Played()
    hop = Hop(played, ALICE, BOB)
    for n in range(200):
        hop.request("INVITE", 1, f"p{n}", f"{ALICE}:{4000 + 2 * n}")
        hop.response("183 Session Progress", "1 INVITE", f"p{n}", f"{BOB}:{5000 + 2 * n}", f"a1 b{n}")
    assert len(played.flows) == 32
    hop.response("200 OK", "1 INVITE", "p199", f"{BOB}:5398", "a1 b199")
    hop.request("BYE", 2, "q", tags="a1 b199")
    assert (played.flows, played.parser.calls, played.parser.weight) == (set(), 0, 0)
