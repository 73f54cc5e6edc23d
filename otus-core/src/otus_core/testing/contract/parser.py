"""The contract of parsers."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from otus_core.components import BaseParser, Consumed
from otus_core.errors import ParseError
from otus_core.model.flow_key import FlowKey
from otus_core.model.json import encode_payload
from otus_core.model.json_check import check_json
from otus_core.model.lines import TextLines
from otus_core.model.output import OutputPacket, Parsed
from otus_core.model.packet import DecodedPacket
from otus_core.model.text import columns_of
from otus_core.testing import packets
from otus_core.testing.contract.messages import BEGUN_NS
from otus_core.testing.contract.speaking import Spoken, find_own
from otus_core.testing.contract.streaming import StreamContract, messages_of
from otus_core.testing.contract.timely import SECOND

MUTATIONS = 2000
PREFIXES_MAX = 2000
LABEL_MAX = 65536
CAN_HANDLE_MAX_S = 50e-6
"""Far more than it should take: this is about being quick at all, on any machine."""


class ParserContract(StreamContract):
    """What a parser must do.

    ``samples`` names a folder of ``*.bin`` files; ``port`` is the port they come to, the first declared one by default.

    The ``.json`` beside a sample says what it must give: a list with the labels of each message; in the place of a
    message that cannot be read, or of the list where ParseError is raised, stands ``{"refused": its text}``.
    """

    kind = "parser"
    samples: Path
    port: int | None = None

    def make_parser(self) -> BaseParser:
        """Construct, wire and start a new parser."""
        made: BaseParser = self.make()
        made.start()
        return made

    def feed(self, component: Any, spoken: Spoken) -> None:
        """Give it all samples twice, a second apart, and a tick after each."""
        for n, file in enumerate(self.files() * 2):
            now = BEGUN_NS + n * SECOND
            try:
                result = spoken.call(_take, component, self.packet(file.read_bytes(), now))
            except ParseError:
                result = None
            if result is not None:
                self.check_result(result)
            self.tick(component, spoken, now)

    def packet(self, payload: bytes, timestamp: int = 0) -> DecodedPacket:
        """Put a payload into a packet to the parser's port, captured at this time (ns since 1970)."""
        declaration, port = self.declaration, self.port_of()
        if declaration.streams and (whole := self._whole(payload, timestamp)) is not None:
            return whole
        if "udp" in declaration.transports:
            frame = packets.udp(payload, dst_port=port)
        elif "tcp" in declaration.transports:
            frame = packets.tcp(payload, dst_port=port)
        else:
            frame = packets.ip(253, payload)
        return packets.decode(frame, timestamp=timestamp)

    def _whole(self, payload: bytes, timestamp: int) -> DecodedPacket | None:
        """Give the packet that the core makes of a whole message of a stream, ``None`` if this is none."""
        made = messages_of(self._framing, self.declaration, self.port_of(), [payload], timestamp)
        return made[0] if [one.payload for one in made] == [payload] else None

    @cached_property
    def _framing(self) -> Any:
        """A parser that is asked only where messages end."""
        return self.make_parser()

    def port_of(self) -> int:
        """Give the port that the samples come to."""
        declared: Sequence[int] = self.declaration.ports
        return self.port or (declared[0] if declared else 9)

    def payloads(self) -> list[bytes]:
        """What the samples hold."""
        return [file.read_bytes() for file in self.files()]

    def files(self) -> list[Path]:
        """The samples, by name. There must be one."""
        found = sorted(self.samples.glob("*.bin"))
        assert found, f"no *.bin in {self.samples}"
        return found

    def parse(self, parser: BaseParser, payload: bytes) -> list[Parsed] | None:
        """Parse as the pipeline does: ``None`` when the packet is not the parser's, or ParseError was raised; all else
        that is raised is a breach.
        """
        result: Parsed | Sequence[Parsed | ParseError] | Consumed | None = None
        refused: ParseError | None = None
        try:
            result = _take(parser, self.packet(payload))
        except ParseError as error:
            refused = error
        if refused is None:
            return None if result is None else self.check_result(result)
        assert str(refused), "a ParseError says what is wrong"
        return None

    def check_result(self, result: Parsed | Sequence[Parsed | ParseError] | Consumed) -> list[Parsed]:
        """See to it that a result is sound; gives the messages that could be read."""
        if isinstance(result, Consumed):
            return []
        given = [result] if isinstance(result, Parsed) else list(result)
        messages = [one for one in given if not isinstance(one, ParseError)]
        for message in messages:
            assert isinstance(message, Parsed), f"the parser gave {message!r}"
            assert message.raw is None or type(message.raw) is bytes
            assert message.payload_type is None or message.payload_type in self.declaration.payload_types
            for name, value in message.labels.items():
                assert type(name) is str and type(value) is str, f"label {name!r}: {value!r} is no text"
                assert "." in name, f"label {name!r}: labels are named protocol.field"
                assert value and len(value) <= LABEL_MAX, f"label {name!r}: absent, not empty, when it does not apply"
                declared = self.declaration.labels
                assert not declared or name in declared, f"label {name!r} is not among the labels that are declared"
            check_json(encode_payload(OutputPacket(payload=message.payload)))
            _check_lines(message)
        return messages

    def test_each_sample_gives_what_it_should(self) -> None:
        """Every sample is parsed; its labels are those of the ``.json`` beside it, where there is one."""
        parser = self.make_parser()
        for file in self.files():
            found = self.parse_as_file_says(parser, file.read_bytes())
            assert found is not None, f"{file.name}: the parser does not take it"
            expected = file.with_suffix(".json")
            if expected.exists():
                assert found == json.loads(expected.read_text()), file.name
            else:
                assert isinstance(found, list), f"{file.name}: {found}; if that is right, say so in {expected.name}"

    def parse_as_file_says(self, parser: BaseParser, payload: bytes) -> Any:
        """Parse, and give the result as the ``.json`` beside a sample has it."""
        try:
            result = _take(parser, self.packet(payload))
        except ParseError as error:
            return {"refused": str(error)}
        if result is None:
            return None
        self.check_result(result)
        if isinstance(result, Consumed):
            return []
        given = [result] if isinstance(result, Parsed) else result
        return [{"refused": str(one)} if isinstance(one, ParseError) else dict(one.labels) for one in given]

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
        kept, told = [], []
        for payload in payloads:
            messages = self.parse(parser, payload) or []
            kept.append(messages)
            told.append([(repr(m.payload), dict(m.labels), m.raw) for m in messages])
        for payload in payloads * 3:
            self.parse(parser, payload[::-1])
            self.parse(parser, payload)
        assert [[(repr(m.payload), dict(m.labels), m.raw) for m in messages] for messages in kept] == told

    def test_can_handle_is_pure_and_quick(self) -> None:
        """It is asked for every packet.

        A parser that has a ``take`` instead need not have it; one that has both says the same by both.
        """
        parser = self.make_parser()
        if not _has_can_handle(parser):
            return
        for file in self.files():
            packet = self.packet(file.read_bytes())
            answers, spent = set(), []
            for _ in range(200):
                begun = time.perf_counter()
                answers.add(bool(parser.can_handle(packet)))
                spent.append(time.perf_counter() - begun)
            assert answers == {True}, f"{file.name}: can_handle() says {answers}"
            assert sorted(spent)[len(spent) // 2] < CAN_HANDLE_MAX_S, f"{file.name}: can_handle() is slow"

    def test_flows_may_end_that_it_does_not_know(self) -> None:
        """The registry is shared, and ends come late."""
        parser, spoken = self.begin()
        if find_own(parser, "on_flow_end") is not None:
            for key in (FlowKey("192.0.2.1", 4000, "198.51.100.2", 4002, 17), FlowKey.endpoint("2001:db8::1", 9, 6)):
                for context in (None, {}, {"call_id": "x"}, b"x"):
                    spoken.call(parser.on_flow_end, key, context)
        self.finish(parser, spoken, BEGUN_NS)

    def test_anything_may_be_announced(self) -> None:
        """By parsers that it does not know, and without endpoints."""
        parser, spoken = self.begin()
        if find_own(parser, "on_announce") is not None:
            keys = tuple(FlowKey.endpoint(address, 4000, 17) for address in ("192.0.2.1", "2001:db8::1"))
            for context in (None, {}, {"call_id": "x", "signalling": 5, "reported": []}, b"x"):
                for some in (keys, ()):
                    spoken.call(parser.on_announce, b"owner", some, context)
        self.finish(parser, spoken, BEGUN_NS)

    def test_what_is_not_the_parsers_is_left_to_others(self) -> None:
        """``take`` gives ``None`` for what ``can_handle`` refuses, and for nothing else."""
        parser = self.make_parser()
        if not _has_can_handle(parser):
            return
        for file in self.files():
            payload = file.read_bytes()
            for length in range(0, len(payload), max(1, len(payload) // PREFIXES_MAX)):
                packet = self.packet(payload[:length])
                try:
                    is_taken = _take(parser, packet) is not None
                except ParseError:
                    is_taken = True
                told = parser.can_handle(packet)
                assert is_taken is bool(told), (
                    f"{file.name}, {length} bytes: can_handle() says {told}, take() another thing"
                )


def _take(parser: BaseParser, packet: DecodedPacket) -> Parsed | Sequence[Parsed | ParseError] | Consumed | None:
    """Ask a parser as the pipeline does; it need not inherit from BaseParser."""
    return getattr(type(parser), "take", BaseParser.take)(parser, packet)


def _has_can_handle(parser: BaseParser) -> bool:
    return getattr(type(parser), "can_handle", BaseParser.can_handle) is not BaseParser.can_handle


def _check_lines(message: Parsed) -> None:
    """What the payload says of itself makes one printable line, of the terminal's width at most."""
    output = OutputPacket(payload_type=message.payload_type or "x", payload=message.payload, labels=message.labels)
    for columns in (80, 0):
        failed: list[tuple[int, Exception]] = []
        written = TextLines(columns=columns, utc=True).encode([output], failed).decode()
        assert not failed, f"its line of text: {failed[0][1]!r}"
        line = written.splitlines()[-1]  # below the date
        assert written.count("\n") == 2 and line.isprintable(), f"its line of text: {written!r}"
        assert not columns or columns_of(line) <= columns, f"its line of text is too long: {line!r}"
