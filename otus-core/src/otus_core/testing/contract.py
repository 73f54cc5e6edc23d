"""Contract suites: what every component of a kind must do, as tests to inherit.

For a parser the whole test is::

    class TestDns(ParserContract):
        component = "dns"
        samples = Path(__file__).parent / "samples"

A sample is a file of bytes, one packet's payload; ``NAME.json`` beside ``NAME.bin`` holds the labels that it must give, one dict a message.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from otus_core.components import BaseParser, BaseProcessor, BaseReporter, Context, ReportResult
from otus_core.config.structure import structure
from otus_core.errors import ParseError
from otus_core.model.flows import FlowRegistry
from otus_core.model.output import OutputPacket, Parsed
from otus_core.model.packet import DecodedPacket
from otus_core.plugins.loader import load
from otus_core.plugins.selection import Selection
from otus_core.testing import packets

MUTATIONS = 2000
PREFIXES_MAX = 2000
LABEL_MAX = 65536
CAN_HANDLE_MAX_S = 50e-6
"""Far more than it should take: this is about being quick at all, on any machine."""


class _Contract:
    """Makes the component as a task does: found by its name, with its configuration checked."""

    kind: ClassVar[str]
    component: ClassVar[str] = ""
    config: ClassVar[dict[str, Any]] = {}

    @cached_property
    def declaration(self) -> Any:
        """The component's declaration, from the installed plugin."""
        assert self.component, f"{type(self).__name__}: name the component"
        return load(Selection()).component(self.kind, self.component).declaration

    def make(self) -> Any:
        """Construct and wire a new component."""
        declaration = self.declaration
        made = declaration.load_factory()(structure(declaration.load_config(), dict(self.config), "config"))
        flows = FlowRegistry() if getattr(declaration, "wants_flows", False) else None
        made.wire(Context(task_id="test", agent_id="test", component_id=self.component, flows=flows))
        return made


class ParserContract(_Contract):
    """What a parser must do. ``samples`` names a folder of ``*.bin`` files; ``port`` is the port they come to, the first declared one by default."""

    kind = "parser"
    samples: ClassVar[Path]
    port: ClassVar[int | None] = None

    def make_parser(self) -> BaseParser:
        """Construct, wire and start a new parser."""
        made: BaseParser = self.make()
        made.start()
        return made

    def packet(self, payload: bytes) -> DecodedPacket:
        """Put a payload into a packet to the parser's port."""
        declaration = self.declaration
        port = self.port or (declaration.ports[0] if declaration.ports else 9)
        if "udp" in declaration.transports:
            frame = packets.udp(payload, dst_port=port)
        elif "tcp" in declaration.transports:
            frame = packets.tcp(payload, dst_port=port)
        else:
            frame = packets.ip(253, payload)
        return packets.decode(frame)

    def files(self) -> list[Path]:
        """The samples, by name. There must be one."""
        found = sorted(self.samples.glob("*.bin"))
        assert found, f"no *.bin in {self.samples}"
        return found

    def parse(self, parser: BaseParser, payload: bytes) -> list[Parsed] | None:
        """Parse as the pipeline does: ``None`` when the packet is not the parser's, or ParseError was raised; all else that is raised is a breach."""
        packet = self.packet(payload)
        if not parser.can_handle(packet):
            return None
        refused: ParseError | None = None
        try:
            result = parser.handle(packet)
        except ParseError as error:
            refused = error
        if refused is None:
            return self.checked(result)
        assert str(refused), "a ParseError says what is wrong"
        return None

    def checked(self, result: Parsed | Sequence[Parsed]) -> list[Parsed]:
        """See to it that a result is sound."""
        messages = [result] if isinstance(result, Parsed) else list(result)
        for message in messages:
            assert isinstance(message, Parsed), f"handle() gave {message!r}"
            assert message.raw is None or type(message.raw) is bytes
            assert message.payload_type is None or message.payload_type in self.declaration.payload_types
            for name, value in message.labels.items():
                assert type(name) is str and type(value) is str, f"label {name!r}: {value!r} is no text"
                assert "." in name, f"label {name!r}: labels are named protocol.field"
                assert value and len(value) <= LABEL_MAX, f"label {name!r}: absent, not empty, when it does not apply"
        return messages

    def test_each_sample_gives_what_it_should(self) -> None:
        """Every sample is parsed; its labels are those of the ``.json`` beside it, where there is one."""
        parser = self.make_parser()
        for file in self.files():
            messages = self.parse(parser, file.read_bytes())
            assert messages is not None, f"{file.name}: the parser does not take it"
            expected = file.with_suffix(".json")
            if expected.exists():
                assert [dict(message.labels) for message in messages] == json.loads(expected.read_text()), file.name

    def test_every_prefix_of_a_sample_does_no_harm(self) -> None:
        """A packet may be cut off anywhere."""
        parser = self.make_parser()
        for file in self.files():
            payload = file.read_bytes()
            for length in range(0, len(payload), max(1, len(payload) // PREFIXES_MAX)):
                self.parse(parser, payload[:length])

    def test_mutations_do_no_harm(self) -> None:
        """Packets are hostile."""
        parser, chance = self.make_parser(), random.Random(1)
        payloads = [file.read_bytes() for file in self.files()]
        for _ in range(MUTATIONS):
            payload = bytearray(chance.choice(payloads))
            for _ in range(chance.randrange(1, 6)):
                if payload:
                    payload[chance.randrange(len(payload))] = chance.randrange(256)
            self.parse(parser, bytes(payload))

    def test_kept_results_stay_as_they_are(self) -> None:
        """What was given may be kept for ever."""
        parser = self.make_parser()
        payloads = [file.read_bytes() for file in self.files()]
        kept = [self.parse(parser, payload) or [] for payload in payloads]
        told = [[(repr(m.payload), dict(m.labels), m.raw) for m in messages] for messages in kept]
        for payload in payloads * 3:
            self.parse(parser, payload[::-1])
            self.parse(parser, payload)
        assert [[(repr(m.payload), dict(m.labels), m.raw) for m in messages] for messages in kept] == told

    def test_can_handle_is_pure_and_quick(self) -> None:
        """It is asked for every packet."""
        parser = self.make_parser()
        for file in self.files():
            packet = self.packet(file.read_bytes())
            answers, spent = set(), []
            for _ in range(200):
                begun = time.perf_counter()
                answers.add(bool(parser.can_handle(packet)))
                spent.append(time.perf_counter() - begun)
            assert answers == {True}, f"{file.name}: can_handle() says {answers}"
            assert sorted(spent)[len(spent) // 2] < CAN_HANDLE_MAX_S, f"{file.name}: can_handle() is slow"


def outputs(count: int = 3) -> list[OutputPacket]:
    """Give some messages, as reporters and processors get them."""
    return [
        OutputPacket(
            task_id="test",
            agent_id="test",
            timestamp=1_771_669_800_000_000_000 + n,
            src_ip="192.0.2.1",
            dst_ip="198.51.100.2",
            src_port=5060,
            dst_port=5060,
            labels={"sip.method": "INVITE", "sip.call_id": f"call-{n}"},
            payload_type="sip",
            payload={"n": n},
            raw_payload=b"INVITE sip:bob@example.org SIP/2.0\r\n\r\n",
        )
        for n in range(count)
    ]


class ProcessorContract(_Contract):
    """What a processor must do."""

    kind = "processor"

    def make_processor(self) -> BaseProcessor:
        """Construct, wire and start a new processor."""
        made: BaseProcessor = self.make()
        made.start()
        return made

    def test_it_decides_and_leaves_payloads_alone(self) -> None:
        """``process`` gives a truth value; labels stay text."""
        processor = self.make_processor()
        for output in outputs():
            payload, raw = output.payload, output.raw_payload
            assert processor.process(output) in (True, False)
            assert (output.payload, output.raw_payload) == (payload, raw)
            assert all(type(k) is str and type(v) is str for k, v in output.labels.items())
        processor.stop()

    def test_labels_may_be_missing(self) -> None:
        """Not every protocol has every label."""
        processor = self.make_processor()
        assert processor.process(OutputPacket(labels={})) in (True, False)
        processor.stop()


class ReporterContract(_Contract):
    """What a reporter must do; ``config`` leads it to a destination of the test's own."""

    kind = "reporter"

    def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        """Start a new reporter, report one batch, and stop it."""

        async def run() -> ReportResult:
            reporter: BaseReporter = self.make()
            await reporter.start()
            try:
                result = await reporter.report(batch)
                await reporter.flush()
                return result
            finally:
                await reporter.stop()

        return asyncio.run(run())

    def test_every_message_of_a_batch_has_its_fate(self) -> None:
        """Reported and failed add up to the batch."""
        batch = outputs()
        result = self.report(batch)
        assert result.reported + sum(result.failed.values()) == len(batch)
        assert set(result.failed) <= set(self.declaration.failure_reasons)

    def test_an_empty_batch_does_no_harm(self) -> None:
        """Nothing to report is nothing reported."""
        result = self.report([])
        assert (result.reported, dict(result.failed)) == (0, {})
