"""What Otus reports is as its schemas say: all that real captures give validates, and what is planted does not."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import dpkt
import jsonschema
import pytest

from otus_core import OutputPacket, Parser, PayloadSchema, encode_json
from otus_core.plugins.contract import _describes
from otus_sip.icmp import IcmpError
from tests import needs
from tests.sip.test_icmp import INVITE, error, frame, parse, quoted

OTUS = str(Path(sys.executable).with_name("otus"))
TASK = {
    "id": "all",
    "parsers": ["sip", {"type": "rtp", "config": {"interval": "5s"}}, "icmp"],
    "processors": [{"type": "calls", "config": {"kpi": "60s"}}],
    "reporters": [{"type": "console", "config": {"format": "json"}}],
    "capture": {},
}
TUNNELS = "vxlan,gre,geneve,ipip,gtpu,hep"
CAPTURE_MAX = 3 << 20
KINDS = ("sip", "icmp", "stream", "rtcp", "call", "registration", "kpi")
Line = dict[str, Any]


def otus(*arguments: str) -> str:
    return subprocess.run([OTUS, *arguments], capture_output=True, check=True, text=True).stdout


def run(folder: Path, *captures: Path) -> list[Line]:
    """Give all that captures hold, in one run; damaged ones end it with a status that is of no interest here."""
    task = folder / "task.json"
    task.write_text(json.dumps(TASK))
    command = [OTUS, "run", "-q", "-t", str(task), "--tunnels", TUNNELS, *map(str, captures)]
    done = subprocess.run(command, capture_output=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def shape(value: Any) -> Any:
    """Give what a schema mostly looks at: the structure, with the types of its values."""
    if isinstance(value, dict):
        return tuple((name, shape(one)) for name, one in sorted(value.items()))
    if isinstance(value, list):
        return ("list", *sorted({repr(shape(one)) for one in value}))
    return type(value).__name__


@pytest.fixture(scope="module")
def validators() -> dict[str, jsonschema.Draft202012Validator]:
    """The schemas, as they are printed."""
    made = {}
    for kind in ("message", *KINDS, "rtp"):
        schema = json.loads(otus("schema", kind))
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"urn:otus:schema:{kind}:1"
        made[kind] = jsonschema.Draft202012Validator(schema)
    return made


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """All that the captures of the corpora give, and an ICMP error."""
    folder = tmp_path_factory.mktemp("schemas")
    icmp = folder / "icmp.pcap"
    with icmp.open("wb") as file:
        dpkt.pcap.Writer(file).writepkt(frame(error(quoted(INVITE))), 1_771_668_600)
    found = [
        *needs.corpora().glob("*.pcap*"),
        *needs.field().glob("*.pcap*"),
        *(needs.ROOT / "examples").glob("*.pcap*"),
    ]
    return run(folder, icmp, *sorted(one for one in found if one.stat().st_size <= CAPTURE_MAX))


def test_every_record_of_real_captures_is_valid(
    lines: list[Line], validators: dict[str, jsonschema.Draft202012Validator]
) -> None:
    seen, kinds = set(), set()
    for line in lines:
        kind = line["payload_type"]
        form = shape(line)
        if form not in seen:  # of equal ones, one is enough: validating takes milliseconds
            seen.add(form)
            kinds.add(kind)
            validators[kind].validate(line)
            if len(seen) % 10 == 0:
                validators["message"].validate(line)
    assert kinds == set(KINDS)
    assert len(lines) > 2000


def objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the way to each object in a value."""
    if isinstance(value, dict):
        yield path
    for name, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from objects(one, (*path, name))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


OPEN = ("labels", "payload_types", "remote", "chunks", "blocks")
"""Whose names nobody knows beforehand, or that are described elsewhere."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_member_and_a_missing_one_are_found(
    kind: str, lines: list[Line], validators: dict[str, jsonschema.Draft202012Validator]
) -> None:
    line = next(one for one in lines if one["payload_type"] == kind)
    validator = validators[kind]
    for path in objects(line):
        if set(path) & set(OPEN):
            continue
        planted = copy.deepcopy(line)
        at(planted, path)["planted"] = 1
        assert not validator.is_valid(planted), path
    for name in ("timestamp", "labels", "payload", "schema", "payload_type"):
        assert not validator.is_valid({key: value for key, value in line.items() if key != name}), name
    schema = validator.schema["$defs"]["Payload"]  # type: ignore[index]
    for name in schema["required"]:
        cut = {**line, "payload": {key: value for key, value in line["payload"].items() if key != name}}
        assert not validator.is_valid(cut), name


def test_a_value_names_no_schema_as_its_record_s_header_does(
    validators: dict[str, jsonschema.Draft202012Validator],
) -> None:
    parsed = parse(error(quoted(INVITE)), False)
    assert parsed is not None
    output = OutputPacket(
        timestamp=1_771_668_600_123_456_789, payload_type="icmp", payload=parsed.payload, labels=parsed.labels
    )
    value = json.loads(encode_json(output))
    validators["icmp"].validate(value)
    for wrong in ({**value, "schema": "urn:otus:schema:icmp:1"}, {**value, "timestamp": "2026-02-21T10:30:00Z"}):
        assert not validators["icmp"].is_valid(wrong)


def test_schemas_are_listed_with_version_and_distribution() -> None:
    listed = {one["name"]: one for one in json.loads(otus("--output", "json", "schema"))}
    assert {"task", "config", "message", "heartbeat", "event", "answer", *KINDS} <= set(listed)
    assert listed["call"] == {
        "name": "call",
        "version": "1",
        "distribution": "otus-plugin-calls",
        "about": "from processor calls",
    }
    assert "otus-plugin-calls" in otus("schema")


def test_a_schema_that_there_is_not_is_said_with_a_suggestion() -> None:
    done = subprocess.run([OTUS, "schema", "cal"], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no schema 'cal'; did you mean 'call'?" in done.stderr


class Fault(TypedDict):
    """What JSON has no place for."""

    when: complex


def test_a_plugin_s_faulty_description_is_found_by_the_check() -> None:
    """By the rule that ``otus plugins check`` applies; a sound one passes."""
    for described, complaint in (
        (Fault, "has no place in JSON"),
        ("tests.schemas.nowhere:Thing", "ModuleNotFoundError"),
        (IcmpError, ""),
    ):
        schemas = {"x": PayloadSchema(described)}
        declared = Parser(name="x", factory="x:X", payload_types=("x",), summary="x", schemas=schemas)
        assert complaint in " ".join(_describes(declared))
    with pytest.raises(ValueError, match="no payload type that is declared here"):
        Parser(name="x", factory="x:X", payload_types=("x",), schemas={"y": PayloadSchema(IcmpError)})
