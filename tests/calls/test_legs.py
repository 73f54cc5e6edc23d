"""Which calls are linked as legs: the index finds whatever the comparison would link, and forgets the oldest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dpkt
import pytest

from otus_calls.legs import (
    CARDS_MAX,
    COMPARED_A_SECOND,
    COMPARED_MAX,
    ENOUGH,
    SAME_MAX,
    Known,
    Legs,
    compare,
)
from otus_calls.parties import read_party, same_user
from otus_core.testing import packets
from tests.calls.bench import BEGUN, sdp
from tests.calls.commands.running import otus

HEADERS = ("x-call-id",)
MS = 1_000_000
NAMES = (
    "<sip:alice@a.example>;tag=1",
    "sip:alice@b.example;tag=1",
    '"Alice" <sip:alice@a.example:5060;transport=udp>',
    '"A\\"<l" <sip:alice@a.example>',
    '"sip:<bob@x>" <sip:alice@a.example>',
    "<sip:alice:secret@a.example>",
    "<sip:+49 30 1234567@a.example>",
    "<sip:0049301234567@a.example;user=phone>",
    "<tel:+49-30-123-4567>",
    "<sip:1234567@a>",
    "<sip:234567@a>",
    "<sip:a@b@c.example>",
    "<sip:a.example>",
    "<sip:ünal@a.example>",
    "<sip:alice@a.example",
    "",
)


def card(name: str, *, at: int = 0, ends: tuple[str, str] = ("192.0.2.1", "192.0.2.2"), **options: Any) -> Any:
    """Give the card of a call that ended as any other."""
    fields = {"from": "<sip:alice@a.example>", "to": "<sip:bob@b.example>", **options.get("fields", {})}
    offer = options.get("offer")
    return (name.encode(), b"f", BEGUN + at, *ends, fields, offer, None, "completed", 200, BEGUN + 10**10 + at, [])


def linked(*cards: Any) -> set[frozenset[bytes]]:
    legs = Legs(HEADERS)
    return {frozenset((one.call_id, other.call_id)) for each in cards for one, other, _, _ in legs.take(each)}


@pytest.mark.parametrize("one", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_users_that_are_one_are_found(one: str, other: str) -> None:
    """The called user differs, so that all the rest of the evidence is needed."""
    pair = [
        card(name, at=n * MS, ends=ends, fields={"from": value, "to": f"<sip:{name}@x>"})
        for n, (name, ends, value) in enumerate(
            (("one", ("192.0.2.1", "192.0.2.2"), one), ("other", ("192.0.2.2", "192.0.2.3"), other))
        )
    ]
    users = [(read_party(value) or {}).get("user") for value in (one, other)]
    assert linked(*pair) == ({frozenset((b"one", b"other"))} if same_user(*users) else set())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x-call-id": "same"}, {"x-call-id": "same"}),
        ({}, {"x-call-id": "one"}),
        ({"x-call-id": "other"}, {}),
        ({"session-id": "A" * 32 + ";remote=" + "0" * 32}, {"session-id": "b" * 32 + ";remote=" + "a" * 32}),
    ],
)
def test_a_name_is_enough(one: dict[str, str], other: dict[str, str]) -> None:
    far = 3600 * 1000 * MS
    cards = card("one", fields=one), card("other", at=far, ends=("192.0.2.8", "192.0.2.9"), fields=other)
    assert linked(*cards) == {frozenset((b"one", b"other"))}


def test_a_media_endpoint_that_is_the_same_is_found_among_other_attributes() -> None:
    offers = [sdp("192.0.2.1", direction=way).encode() for way in ("sendrecv", "sendonly")]
    strangers = {"from": "<sip:carol@x>", "to": "<sip:dave@x>"}
    cards = (
        card("one", offer=offers[0]),
        card("other", at=9 * MS, ends=("192.0.2.2", "192.0.2.3"), offer=offers[1], fields=strangers),
    )
    assert linked(*cards) == {frozenset((b"one", b"other"))}


def test_what_is_likely_is_linked_when_both_have_ended_alike() -> None:
    """Called user, moment and host make 55: the outcome decides."""
    cards = [
        card("one", fields={"from": "<sip:carol@x>"}),
        card("other", at=MS, ends=("192.0.2.2", "192.0.2.3")),
    ]
    begun = [(*one[:8], "in_call", None, 0, []) for one in cards]
    assert linked(*begun) == set()
    assert linked(*begun, *cards) == {frozenset((b"one", b"other"))}


def test_the_index_finds_what_the_comparison_would_link() -> None:
    """Calls in all ways of being alike, each compared with each."""
    hosts = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    users = ("<sip:alice@x>", "<sip:bob@x>")
    cards = [
        card(f"{n}", at=n * 3 * MS, ends=(hosts[n % 3], hosts[n // 3 % 3]), fields={"from": one, "to": other})
        for n, (one, other) in enumerate([(a, b) for a in users for b in users] * 4)
    ]
    calls = [Known(*one) for one in cards]
    alike = {
        frozenset((one.call_id, other.call_id))
        for n, one in enumerate(calls)
        for other in calls[:n]
        if compare(one, other, HEADERS)[0] >= ENOUGH and (one.src == other.dst or one.dst == other.src)
    }
    assert linked(*cards) == alike
    assert alike


def test_the_oldest_is_forgotten() -> None:
    first, last = (card(name, fields={"x-call-id": "same"}) for name in ("first", "last"))
    others = [card(f"{n}", at=n * 5000 * MS, ends=("a", "b")) for n in range(CARDS_MAX)]
    assert linked(first, *others[2:], last) == {frozenset((b"first", b"last"))}
    assert linked(first, *others, last) == set()


def flood(path: Path, calls: int, call_id: str) -> Path:
    """Write INVITEs of one second that say all the same but for tag and branch, and perhaps the Call-ID."""
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n in range(calls):
            text = (
                f"INVITE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{n}\r\n"
                f"From: <sip:alice@a.example>;tag={n}\r\nTo: <sip:bob@b.example>\r\nCall-ID: {call_id.format(n)}\r\n"
                f"CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\n{sdp('192.0.2.9')}"
            )
            writer.writepkt(packets.udp(text.encode()), BEGUN / 1e9 + n / calls)
    return path


@pytest.mark.parametrize("call_id", ["flood-{}", "flood"])
def test_a_flood_of_calls_that_are_all_alike_is_not_compared_for_long(tmp_path: Path, call_id: str) -> None:
    """Each may be a leg of 32 others, which took 0.6 ms a call, and 4 ms where all had one Call-ID: 250 calls a second
    held up a worker, until it was interrupted.
    """
    calls, summary = 4_000, tmp_path / "summary"
    asked = ("--parser", "sip", "--processor", "calls", "--format", "none", "-q", "--summary-json", summary)
    done = otus("run", flood(tmp_path / "flood.pcap", calls, call_id), *asked)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(summary.read_text())
    assert told["counted"]["processor:calls:calls_trying"] == calls
    left_out = told["counted"]["processor:calls:legs_not_compared"]
    assert calls * SAME_MAX - COMPARED_MAX - COMPARED_A_SECOND * 2 < left_out < calls * SAME_MAX * 2


def test_comparisons_are_saved_up_and_spent() -> None:
    """At most so many at once, and so many a second from then on; a call that is like no other costs none."""
    legs, left_out = Legs(HEADERS), 0

    def count(n: int) -> None:
        nonlocal left_out
        left_out += n

    legs.not_compared = count
    alike = COMPARED_MAX // SAME_MAX + 200
    for n in range(alike):
        legs.take(card(f"call-{n}", offer=sdp("192.0.2.9").encode()), BEGUN)
    assert left_out > 0
    before = left_out
    legs.take(card("other", ends=("192.0.2.7", "192.0.2.8"), fields={"from": "<sip:x@x>", "to": "<sip:y@y>"}), BEGUN)
    assert left_out == before
    legs.take(card("later", offer=sdp("192.0.2.9").encode()), BEGUN + 1_000 * MS)
    assert left_out == before, "a second later there is time again"
