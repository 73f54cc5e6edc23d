"""The packet path: one chain of calls, in which nothing a component does costs more than its own packet, and every
frame is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dpkt
import pytest

from otus_core import DecodedPacket, FlowRegistry, FrameBatch, OutputPacket, Parsed, ParseError
from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.counters import LATENCY_BOUNDS_S, Roster, counter_names, unaccounted
from otus_core.pipeline.loop import Pipeline
from otus_core.pipeline.slots import ParserSlot, ProcessorSlot

ROSTER = Roster(("p",), ("f",), {"r": ("refused",)})


def frame(payload: bytes, sport: int = 5060, dport: int = 5060) -> bytes:
    """An Ethernet frame with one UDP datagram."""
    udp = dpkt.udp.UDP(sport=sport, dport=dport, data=payload, ulen=8 + len(payload))
    ip = dpkt.ip.IP(src=b"\xc0\x00\x02\x01", dst=b"\xc0\x00\x02\x02", p=17, data=udp, len=28 + len(payload))
    return bytes(dpkt.ethernet.Ethernet(src=b"\x02" * 6, dst=b"\x04" * 6, data=ip))


class Echo:
    """A parser that does what it is told: ``answer`` is returned, called or raised."""

    def __init__(self, answer: Any = None, accepts: Any = True) -> None:
        self.answer = answer
        self.accepts = accepts

    def can_handle(self, packet: DecodedPacket) -> bool:
        if isinstance(self.accepts, BaseException):
            raise self.accepts
        return bool(self.accepts)

    def handle(self, packet: DecodedPacket) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        if callable(self.answer):
            return self.answer(packet)
        return Parsed(None, {"text": packet.payload.decode("latin-1")}) if self.answer is None else self.answer


class Grip(Echo):
    """The same by one call: what it does not accept it gives back."""

    def take(self, packet: DecodedPacket) -> Any:
        return self.handle(packet) if self.can_handle(packet) else None


class Judge:
    """A processor that does what it is told."""

    def __init__(self, verdict: Any = True) -> None:
        self.verdict = verdict

    def process(self, output: OutputPacket) -> bool:
        if isinstance(self.verdict, BaseException):
            raise self.verdict
        return bool(self.verdict)


class Bench:
    """A pipeline with one parser, one processor and one buffer."""

    def __init__(self, parser: Any = None, processor: Any = None, **options: Any) -> None:
        self.passes = options.pop("passes", False)
        self.accounts = Accounts(counter_names(ROSTER, COUNTERS))
        live = options.get("live", False)
        bounds = (options.pop("capacity", 1000), options.pop("max_bytes", 1 << 30))
        self.buffer = SendBuffer(self.accounts, "r", *bounds, not live)
        self.errors: list[tuple[str, str, BaseException]] = []
        self.flows = FlowRegistry()
        accounts = self.accounts
        self.pipeline = Pipeline(
            accounts=accounts,
            decoder=Decoder(accounts, DecoderConfig()),
            flows=self.flows,
            parsers=[
                ParserSlot(accounts, "p", parser or Echo(), ("text", "other"), options.pop("transports", ("udp",)), 1)
            ],
            processors=[ProcessorSlot(accounts, "f", processor or Judge(), self.passes, 2)],
            buffers=[self.buffer],
            task_id="t",
            agent_id="a",
            pipeline_id=3,
            on_error=lambda kind, name, error: self.errors.append((kind, name, error)),
            **options,
        )

    def feed(self, payloads: Sequence[bytes]) -> list[OutputPacket]:
        batch = FrameBatch.from_frames([(n, frame(payload)) for n, payload in enumerate(payloads, 1)])
        at = 0
        while at < len(batch):
            at = self.pipeline.process(batch, at, 512, 10**9)
        return self.buffer.take(10**6)

    def counted(self) -> dict[str, int]:
        """The counters that are not zero; the identity must close, what was taken from the buffer being in flight."""
        counters = self.accounts.snapshot()
        taken = counters["r.offered"] - counters["r.queued"] - counters["r.dropped{buffer_overflow}"]
        assert unaccounted({**counters, "r.in_flight": taken}, ROSTER) == 0
        return {name: n for name, n in counters.items() if n and not name.startswith(("latency", "r."))}


def test_a_packet_becomes_an_output() -> None:
    bench = Bench()
    (output,) = bench.feed([b"hello"])
    assert (output.task_id, output.agent_id, output.pipeline_id) == ("t", "a", 3)
    assert (str(output.src_ip), output.src_port, output.protocol) == ("192.0.2.1", 5060, 17)
    assert (output.labels, output.payload_type, output.raw_payload) == ({"text": "hello"}, "text", b"hello")
    assert bench.counted() == {"frames_read": 1, "units": 1, "matched": 1, "kept": 1}


@pytest.mark.parametrize("kind", [Echo, Grip], ids=["by two calls", "by one"])
@pytest.mark.parametrize(
    ("parser", "counter"),
    [
        (Echo(accepts=False), "dropped{unmatched}"),
        (Echo([]), "dropped{ignored:p}"),
        (Echo(ParseError("no")), "dropped{parse_error:p}"),
        (Echo(ValueError("x")), "dropped{parse_error:p}"),
        (Echo(SystemExit(3)), "dropped{parse_error:p}"),
        (Echo(KeyboardInterrupt()), "dropped{parse_error:p}"),
        (Echo(42), "dropped{parse_error:p}"),
        (Echo(Parsed(None, {}, payload_type="undeclared")), "dropped{parse_error:p}"),
        (Echo(Parsed(None, {}, raw="text")), "dropped{parse_error:p}"),  # type: ignore[arg-type]
        (Echo([Parsed(None, {})] * 5000), "dropped{parse_error:p}"),
    ],
    ids=[
        "nobody's",
        "nothing to report",
        "ParseError",
        "raises",
        "exits",
        "interrupts",
        "not Parsed",
        "undeclared type",
        "raw is text",
        "too many",
    ],
)
def test_a_packet_ends_in_one_counter(parser: Echo, counter: str, kind: type[Echo]) -> None:
    bench = Bench(kind(parser.answer, parser.accepts))
    assert bench.feed([b"x"] * 3) == []
    counted = bench.counted()
    assert counted.pop(counter) == 3
    faults = counted.pop("errors{parser:p}", 0)
    reasons = {name: counted.pop(name) for name in list(counted) if name.startswith("parse_errors{")}
    expected = {} if counter != "dropped{parse_error:p}" else {f"parse_errors{{p:{'fault' if faults else 'other'}}}": 3}
    assert (counted, reasons) == ({"frames_read": 3, "units": 3}, expected)


@pytest.mark.parametrize("error", [RuntimeError("x"), ParseError("no"), SystemExit(1)])
def test_a_parser_that_cannot_say_whether_a_packet_is_its_own_loses_it(error: BaseException) -> None:
    bench = Bench(Echo(accepts=error))
    assert bench.feed([b"x"] * 3) == []
    assert bench.counted() == {"frames_read": 3, "units": 3, "dropped{unmatched}": 3, "errors{parser:p}": 3}
    assert [(kind, name) for kind, name, _ in bench.errors] == [("parser", "p")] * 3


def test_a_parser_with_a_take_of_its_own_is_asked_nothing_else() -> None:
    class Sole(Echo):
        def take(self, packet: DecodedPacket) -> Any:
            return Parsed("taken", {}) if packet.payload == b"mine" else None

        def can_handle(self, packet: DecodedPacket) -> bool:
            raise AssertionError("not asked")

        handle = can_handle  # type: ignore[assignment]

    bench = Bench(Sole())
    assert [output.payload for output in bench.feed([b"mine", b"yours", b"mine"])] == ["taken", "taken"]
    assert bench.counted() == {"frames_read": 3, "units": 3, "matched": 2, "kept": 2, "dropped{unmatched}": 1}


def test_several_messages_of_one_packet_are_units_of_their_own() -> None:
    bench = Bench(Echo([Parsed(1, {}), Parsed(2, {}, raw=b"own", payload_type="other"), "junk"]))
    outputs = bench.feed([b"x"])
    assert [(o.payload, o.raw_payload, o.payload_type) for o in outputs] == [(1, b"x", "text"), (2, b"own", "other")]
    counted = bench.counted()
    assert (counted["messages_added"], counted["units"], counted["dropped{parse_error:p}"]) == (2, 3, 1)


def test_a_message_that_could_not_be_read_is_counted_and_is_no_fault_of_the_parser() -> None:
    bench = Bench(Echo([Parsed(1, {}), ParseError("begun")]))
    assert len(bench.feed([b"x"])) == 1
    counted = bench.counted()
    assert (counted["messages_added"], counted["units"], counted["dropped{parse_error:p}"]) == (1, 2, 1)
    assert not counted.get("errors{parser:p}")


@pytest.mark.parametrize(
    ("verdict", "passes", "counter"),
    [
        (False, False, "dropped{filtered:f}"),
        (ValueError("x"), False, "dropped{processor_error:f}"),
        (KeyboardInterrupt(), False, "dropped{processor_error:f}"),
        (ValueError("x"), True, "kept"),
        (SystemExit(3), True, "kept"),
    ],
    ids=["filtered", "raises", "interrupts", "raises, passes on", "exits, passes on"],
)
def test_a_processor_decides(verdict: Any, passes: bool, counter: str) -> None:
    bench = Bench(processor=Judge(verdict), passes=passes)
    outputs = bench.feed([b"x"])
    counted = bench.counted()
    assert counted.pop("errors{processor:f}", 0) == isinstance(verdict, BaseException) == len(bench.errors)
    assert counted == {"frames_read": 1, "units": 1, "matched": 1, counter: 1}
    assert len(outputs) == (counter == "kept")


def test_a_component_that_keeps_failing_is_cut_off() -> None:
    """A parser that is cut off is as if it said no; the breaker opens after a hundred failures in a row."""
    bench = Bench(Echo(ValueError("x")))
    bench.feed([b"x"] * 150)
    counted = bench.counted()
    assert counted["dropped{parse_error:p}"] >= 100
    assert counted["dropped{parse_error:p}"] + counted.get("dropped{unmatched}", 0) == 150
    assert [breaker.state for breaker in bench.pipeline.breakers] == ["open", "closed"]
    assert len(bench.errors) == counted["dropped{parse_error:p}"]


def test_a_processor_that_is_cut_off_drops_and_says_so() -> None:
    bench = Bench(processor=Judge(ValueError("x")))
    bench.feed([b"x"] * 400)
    counted = bench.counted()
    assert counted["dropped{processor_error:f}"] + counted["dropped{circuit_open:f}"] == 400


def test_errors_that_are_not_in_a_row_open_nothing() -> None:
    answers = iter([True, False] * 500)

    def sometimes(packet: DecodedPacket) -> Parsed:
        if next(answers):
            raise ValueError("x")
        return Parsed(None, {})

    bench = Bench(Echo(sometimes))
    bench.feed([b"x"] * 600)
    assert bench.pipeline.breakers[0].state == "closed"


@pytest.mark.parametrize("answer", [ParseError("malformed"), []], ids=["ParseError", "nothing to report"])
def test_a_parser_that_reads_malformed_packets_does_not_fail(answer: Any) -> None:
    """What the parser says of one packet in a hundred shows that it works: failures around it are not in a row."""
    steps = iter(range(1000))

    def parse(packet: DecodedPacket) -> Any:
        if next(steps) % 99:
            raise ValueError("x")
        if isinstance(answer, ParseError):
            raise answer
        return answer

    bench = Bench(Echo(parse))
    bench.feed([b"x"] * 900)
    assert bench.pipeline.breakers[0].state == "closed"
    assert bench.accounts["errors{parser:p}"] == 900 - 10


def test_a_processor_that_filters_now_and_then_does_not_fail() -> None:
    class Moody(Judge):
        seen = 0

        def process(self, output: OutputPacket) -> bool:
            self.seen += 1
            if self.seen % 99:
                raise ValueError("x")
            return False

    bench = Bench(processor=Moody())
    bench.feed([b"x"] * 900)
    assert bench.pipeline.breakers[1].state == "closed"
    assert bench.counted()["dropped{filtered:f}"] == 9


@pytest.mark.parametrize(("failures", "state"), [(99, "closed"), (100, "open")])
def test_the_hundredth_failure_in_a_row_opens_the_circuit(failures: int, state: str) -> None:
    bench = Bench(Echo(ValueError("x")))
    bench.feed([b"x"] * failures)
    assert bench.pipeline.breakers[0].state == state


@pytest.mark.parametrize(("count", "kept"), [(4096, 4096), (4097, 0)], ids=["as many as there may be", "one more"])
def test_the_messages_of_one_packet_are_bounded(count: int, kept: int) -> None:
    bench = Bench(Echo([Parsed(None, {}, raw=b"")] * count), capacity=10_000)
    assert len(bench.feed([b"x"])) == kept
    counted = bench.counted()
    assert counted.get("messages_added", 0) == max(kept - 1, 0)
    assert counted.get("dropped{parse_error:p}", 0) == (kept == 0)


def test_the_latency_histogram_counts_packets_each_in_the_bucket_of_its_time() -> None:
    """Whatever a slice's packets took on average, all of them are in one bucket, and the sum is their time."""
    bench = Bench()
    bench.feed([b"x"] * 300)
    counters = bench.accounts.snapshot()
    buckets = [counters[f"latency_bucket{{{n}}}"] for n in range(len(LATENCY_BOUNDS_S) + 1)]
    assert (sum(buckets), max(buckets)) == (300, 300)
    below = buckets.index(300)
    mean = counters["latency_sum_ns"] / 300 / 1e9
    assert (0.0, *LATENCY_BOUNDS_S)[below] < mean <= (*LATENCY_BOUNDS_S, float("inf"))[below]


def test_a_source_waits_for_a_buffer_that_is_full_by_its_bytes() -> None:
    bench = Bench(max_bytes=5 * (1400 + 1))
    batch = FrameBatch.from_frames([(n, frame(b"x")) for n in range(100)])
    assert bench.pipeline.process(batch, 0, 512, 10**9) == 5
    assert bench.accounts["r.dropped{buffer_overflow}"] == 0


def test_an_unmatched_packet_is_forwarded_where_that_is_wanted() -> None:
    bench = Bench(Echo(accepts=False), forward_unmatched=True)
    (output,) = bench.feed([b"x"])
    assert (output.payload_type, output.raw_payload, output.labels) == ("raw", b"x", {})


def test_a_parser_is_not_asked_about_other_transports() -> None:
    bench = Bench(transports=("tcp",))
    assert bench.feed([b"x"]) == []
    assert bench.counted()["dropped{unmatched}"] == 1


def test_a_packet_that_somebody_keeps_stays_as_it_was() -> None:
    kept: list[DecodedPacket] = []

    def keep(packet: DecodedPacket) -> Parsed:
        kept.append(packet)
        return Parsed(None, {})

    bench = Bench(Echo(keep))
    data = bytearray(b"".join(frame(b"payload-%04d" % n) for n in range(600)))
    size = len(data) // 600
    import struct

    from otus_core.model.frames import FRAME_INDEX_FORMAT

    index = b"".join(struct.pack(FRAME_INDEX_FORMAT, n, n * size, size, size, 0, 1, 0) for n in range(600))
    batch = FrameBatch(data, index)
    at = 0
    while at < 600:
        at = bench.pipeline.process(batch, at, 512, 10**9)
    data[:] = bytes(len(data))  # the capturer uses its buffer again
    del batch
    assert [p.payload for p in kept] == [b"payload-%04d" % n for n in range(600)]
    assert [p.frame[-12:] for p in kept] == [b"payload-%04d" % n for n in range(600)]
    assert len({id(p) for p in kept}) == 600
    data.extend(b"resizable: nothing holds the buffer")


def test_packets_that_nobody_keeps_are_made_once() -> None:
    seen: set[int] = set()

    def note(packet: DecodedPacket) -> Parsed:
        seen.add(id(packet))
        return Parsed(None, {})

    Bench(Echo(note)).feed([b"x"] * 100)
    assert len(seen) == 1


def test_a_source_that_can_wait_is_stopped_by_a_full_buffer() -> None:
    bench = Bench(capacity=10)
    batch = FrameBatch.from_frames([(n, frame(b"x")) for n in range(100)])
    assert bench.pipeline.process(batch, 0, 512, 10**9) == 10
    assert bench.pipeline.full
    assert len(bench.buffer.take(4)) == 4
    assert bench.pipeline.process(batch, 10, 512, 10**9) == 14
    assert bench.accounts["r.dropped{buffer_overflow}"] == 0


def test_a_live_source_drops_the_oldest() -> None:
    bench = Bench(capacity=10, live=True)
    batch = FrameBatch.from_frames([(n, frame(b"%d" % n)) for n in range(100)])
    assert bench.pipeline.process(batch, 0, 512, 10**9) == 100
    assert [o.raw_payload for o in bench.buffer.take(99)] == [b"%d" % n for n in range(90, 100)]
    assert bench.accounts["r.dropped{buffer_overflow}"] == 90


def test_a_live_clock_does_not_believe_a_jump_of_more_than_an_hour() -> None:
    hour = 3600 * 10**9
    for live, clock in ((True, hour), (False, 10 * hour)):
        bench = Bench(live=live)
        batch = FrameBatch.from_frames(
            [(1, frame(b"x")), (hour, frame(b"x")), (10 * hour, frame(b"x")), (5, frame(b"x"))]
        )
        bench.pipeline.process(batch, 0, 512, 10**9)
        assert bench.pipeline.clock == clock


def test_a_slice_ends_with_its_time() -> None:
    import time

    bench = Bench(Echo(lambda packet: time.sleep(0.002) or Parsed(None, {})))
    batch = FrameBatch.from_frames([(n, frame(b"x")) for n in range(512)])
    assert bench.pipeline.process(batch, 0, 512, 1_000_000) < 100


def test_references_to_outputs_and_packets_are_given_back() -> None:
    import gc
    import sys

    labels: dict[str, str] = {"a": "b"}
    bench = Bench(Echo(lambda packet: Parsed(labels, {})))
    before = sys.getrefcount(labels)
    for _ in range(20):
        bench.feed([b"x"] * 500)
    gc.collect()
    assert sys.getrefcount(labels) == before


def test_the_flow_clock_is_the_time_of_the_packet_being_parsed() -> None:
    """Within one slice: the first packet announces a flow for 60 s, each tells whether it is still there."""

    def parse(packet: DecodedPacket) -> Parsed:
        if packet.payload == b"0":
            bench.flows.register(packet.flow, "call", ttl=60)
        return Parsed(packet.flow in bench.flows, {})

    bench = Bench(Echo(parse))
    begun = 1_771_669_800 * 10**9
    seconds = (0, 0.05, 59.95, 60, 60.05)
    batch = FrameBatch.from_frames([(begun + int(at * 10**9), frame(str(at).encode())) for at in seconds])
    assert bench.pipeline.process(batch, 0, 512, 10**9) == len(seconds)
    assert [output.payload for output in bench.buffer.take(10)] == [True, True, True, False, False]
