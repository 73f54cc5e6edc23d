"""``dedup``, ``sample`` and ``limit``: what stays, what is counted, and how much is remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import dpkt
import pytest

from otus_core import BaseProcessor, ConfigInvalid, Context, OutputPacket
from otus_core.config.converter import structure
from otus_core.testing.contract import ProcessorContract
from otus_filter.dedup import Dedup
from otus_filter.limit import Limit
from otus_filter.sample import Sample
from otus_filter.thinning import DedupConfig, LimitConfig, SampleConfig
from tests.filter.outputs import output
from tests.needs import corpora

MS = 1_000_000
CALLS = (
    "goffinet__uac-uas-scenario-sipp.pcapng",
    "goffinet__sip-register-wrong_password-401-403-401-403.pcapng",
    "goffinet__sip-2phones-B2BUA-Asterisk.pcapng",
)


class TestDedup(ProcessorContract):
    component = "dedup"


class TestSample(ProcessorContract):
    component = "sample"
    config: ClassVar = {"rate": 0.5}


class TestLimit(ProcessorContract):
    component = "limit"
    config: ClassVar = {"rate": 1.5, "per": ["source", "sip.method"]}


def wired(made: BaseProcessor) -> tuple[Callable[[OutputPacket], Any], Counter[str]]:
    """Wire a processor as for SIP; gives its ``process`` and its counters."""
    counted: Counter[str] = Counter()
    labels = {"sip": "sip.call_id", "stream": "rtp.call_id"}
    context = Context(task_id="t", agent_id="a", call_labels=labels, counter=lambda name: _counting(counted, name))
    made.wire(context)
    return made.process, counted


def _counting(counted: Counter[str], name: str) -> Any:
    def count(n: int = 1) -> None:
        counted[name] += n

    return count


def sent(ms: float, raw: bytes = b"INVITE", **fields: Any) -> OutputPacket:
    return output(timestamp=round(ms * MS), raw_payload=raw, **fields)


def test_a_message_that_was_captured_twice_is_dropped_and_a_retransmission_is_not() -> None:
    process, counted = wired(Dedup(DedupConfig()))
    came = [sent(0), sent(0.3), sent(499), sent(500), sent(501), sent(1500)]
    assert [process(one) for one in came] == [True, False, False, True, False, True]
    assert counted == {"duplicates": 3}


@pytest.mark.parametrize(
    "other",
    [sent(1, b"BYE"), sent(1, src_port=5061), sent(1, dst_ip="192.0.2.8"), sent(1, src_ip="2001:db8::1", dst_ip="::1")],
    ids=["bytes", "port", "address", "version"],
)
def test_what_differs_is_no_duplicate(other: OutputPacket) -> None:
    process, _ = wired(Dedup(DedupConfig()))
    assert process(sent(0)) and process(other)


def test_dedup_remembers_no_more_than_it_may() -> None:
    made = Dedup(DedupConfig(max_entries=100))
    process, counted = wired(made)
    assert all(process(sent(n / 1000, b"%d" % n)) for n in range(1000))
    assert (len(made._seen), counted["evicted"]) == (100, 900)
    assert process(sent(5000, b"x")) and len(made._seen) == 1


def test_records_are_never_duplicates() -> None:
    process, _ = wired(Dedup(DedupConfig()))
    record = OutputPacket(payload_type="call", is_record=True, src_ip=None, dst_ip=None, key="1")
    assert process(record) and process(record)


def call(name: str, **fields: Any) -> OutputPacket:
    return output({"sip.call_id": name}, **fields)


def test_a_part_of_the_calls_stays_and_each_is_whole() -> None:
    process, counted = wired(Sample(SampleConfig(rate=0.25)))
    kept = {n for n in range(4000) if process(call(f"{n}@h"))}
    assert 850 < len(kept) < 1150 and counted == {"kept": len(kept), "dropped": 4000 - len(kept)}
    stream = [OutputPacket(payload_type="stream", labels={"rtp.call_id": f"{n}@h"}) for n in range(4000)]
    record = [OutputPacket(payload_type="call", key=f"{n}@h", is_record=True) for n in range(4000)]
    assert {n for n, one in enumerate(stream) if process(one)} == kept
    assert {n for n, one in enumerate(record) if process(one)} == kept


def test_the_choice_is_the_seeds_alone_and_a_larger_part_holds_the_smaller() -> None:
    def kept(**config: Any) -> set[int]:
        process, _ = wired(Sample(SampleConfig(**config)))
        return {n for n in range(500) if process(call(str(n)))}

    assert kept(rate=0.3) == kept(rate=0.3) < kept(rate=0.6)
    assert kept(rate=0.3) != kept(rate=0.3, seed="other")
    assert (kept(rate=0.0), len(kept(rate=1.0))) == (set(), 500)


@pytest.mark.parametrize("fate", ["keep", "drop"])
def test_what_belongs_to_no_call_has_its_own_fate(fate: Any) -> None:
    process, _ = wired(Sample(SampleConfig(rate=0.5, others=fate)))
    assert process(OutputPacket(payload_type="dns")) is (fate == "keep")


def test_a_source_that_floods_loses_its_own_messages() -> None:
    process, counted = wired(Limit(LimitConfig(rate=10)))
    flood = [process(sent(n, src_ip="192.0.2.66")) for n in range(2000)]
    quiet = [process(sent(n * 500, src_ip="192.0.2.1")) for n in range(4)]
    assert (sum(flood), all(quiet), counted["limited"]) == (29, True, 2000 - 29)


def test_each_method_of_a_source_may_have_its_own_share() -> None:
    process, _ = wired(Limit(LimitConfig(rate=1, per=("source", "sip.method"))))
    came = [output({"sip.method": method}) for method in ("REGISTER", "REGISTER", "INVITE", "INVITE")]
    assert [process(one) for one in came] == [True, False, True, False]


def test_a_burst_may_be_larger_than_the_rate() -> None:
    process, _ = wired(Limit(LimitConfig(rate=1, burst=5, per=())))
    assert [process(sent(0)) for _ in range(7)] == [True] * 5 + [False] * 2


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    process, _ = wired(Limit(LimitConfig(rate=1)))
    assert [process(sent(ms)) for ms in (5000, 0, 5000, 0)] == [True, False, False, False]


def test_limit_remembers_no_more_than_it_may() -> None:
    made = Limit(LimitConfig(rate=1, max_entries=100))
    process, counted = wired(made)
    for n in range(1000):
        process(sent(n, src_ip=f"10.0.{n >> 8}.{n & 255}"))
    assert (len(made._buckets), counted["evicted"]) == (100, 900)


def test_what_is_limited_is_a_side_or_a_label() -> None:
    with pytest.raises(ConfigInvalid, match=r"per\[1\]: 'method' is none of source, destination, payload_type"):
        structure(LimitConfig, {"rate": 1, "per": ["source", "method"]})


def test_a_mirror_port_that_gives_everything_twice(otus_run: Any, examples: Path) -> None:
    with (examples / "call.pcap").open("rb") as file:
        frames = [(round(at * 1e9), data) for at, data in dpkt.pcap.Reader(file)]
    twice = [(at + late, data) for at, data in frames for late in (0, 30_000)]
    run = otus_run(twice, task={"processors": ["dedup"]})
    assert len(run.outputs) == len(frames)
    assert run.summary["counted"]["processor:dedup:duplicates"] == len(frames)


@pytest.mark.parametrize("name", CALLS)
def test_calls_of_real_captures_stay_or_go_as_a_whole(otus_run: Any, name: str) -> None:
    def calls(rate: float) -> Counter[str]:
        task = {"processors": [{"type": "sample", "config": {"rate": rate}}]}
        return Counter(one["labels"]["sip.call_id"] for one in otus_run(corpora() / name, task=task).outputs)

    every, some = calls(1.0), calls(0.5)
    assert {call: every[call] for call in some} == dict(some)
