"""Plain data into configuration objects: strictly, everything wrong at once, and with types that plugins register."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from enum import Enum, IntEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

import pytest

from otus_core import ConfigInvalid, Duration, configuration, option, register_type
from otus_core.config.converter import structure, unstructure
from otus_core.config.effective import read_variable
from otus_core.config.load import load_text
from otus_core.config.sample import sample
from otus_core.config.schema import schema
from otus_core.config.shape import fields_of
from tests.core.plugins.distributions import Site, good


class Level(IntEnum):
    NONE = 0
    SOME = 1


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


class Number(str):
    """A type of a plugin's own, which is text as well."""


def read_number(value: object) -> Number:
    if not isinstance(value, str) or not value.removeprefix("+").isdecimal():
        raise ValueError("it has other characters than digits")
    return Number(value.removeprefix("+"))


register_type(Number, read=read_number, write=lambda one: f"+{one}", takes="a telephone number")


@configuration
class Inner:
    """A part."""

    size: int = option(default=1, ge=1)
    kind: Literal["a", "b"] = option(default="a")


@configuration
class Outer:
    """Of everything."""

    level: Level = option(default=Level.SOME)
    side: Side = option(default=Side.LEFT)
    networks: tuple[IPv4Network | IPv6Network, ...] = option(default=())
    number: Number | None = option(default=None)
    folder: Path = option(default=Path("/var"))
    inner: tuple[Inner, ...] = option(default=())
    waits: dict[str, Duration] = option(factory=dict)
    secret: Number = option(default=Number("5"), secret=True)


GIVEN = {
    "level": 0,
    "side": "right",
    "networks": ["192.0.2.0/24", "2001:db8::/32"],
    "number": "+155",
    "folder": "/tmp",
    "inner": [{"size": 2, "kind": "b"}],
    "waits": {"one": "5s"},
    "secret": "+7",
}


def problems(data: Any, cls: type = Outer) -> list[str]:
    with pytest.raises(ConfigInvalid) as raised:
        structure(cls, data, "x")
    return [str(problem) for problem in raised.value.problems]


def test_values_of_all_types_come_back_as_they_were_given() -> None:
    made = structure(Outer, GIVEN)
    assert (made.level, made.side, type(made.level)) == (Level.NONE, Side.RIGHT, Level)
    assert made.networks == (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
    assert (made.number, type(made.number), made.folder) == ("155", Number, Path("/tmp"))
    assert unstructure(made) == GIVEN
    assert structure(Outer, unstructure(made)) == made


def test_everything_that_is_wrong_is_told_at_once_with_its_path() -> None:
    assert problems(
        {
            "levle": 1,
            "level": "0",
            "side": "up",
            "networks": ["192.0.2.0/24", "192.0.2.1/24", 7],
            "number": "x",
            "folder": 1,
            "inner": [{}, {"size": 0, "kind": "c"}, 5],
            "waits": {"one": "5 s", 2: 1},
            "secret": "hunter2",
        }
    ) == [
        "x.levle: unknown key; did you mean level?",
        'x.level: expected one of 0, 1, got the text "0"',
        'x.side: expected one of left, right, got the text "up"',
        "x.networks[1]: expected an IPv4 network such as 192.0.2.0/24 or an IPv6 network such as 2001:db8::/32, "
        'got the text "192.0.2.1/24"',
        "x.networks[2]: expected an IPv4 network such as 192.0.2.0/24 or an IPv6 network such as 2001:db8::/32, "
        "got the integer 7",
        'x.number: expected a telephone number or null, got the text "x"',
        "x.folder: expected the path of a file or folder, got the integer 1",
        "x.inner[1].size: must be at least 1, got the integer 0",
        'x.inner[1].kind: expected one of a, b, got the text "c"',
        "x.inner[2]: expected a mapping, got the integer 5",
        'x.waits.one: expected a duration such as 500ms, 3s, 5m or 24h, got the text "5 s"',
        "x.waits.2: a key must be text, got the integer 2",
        "x.secret: expected a telephone number within its bounds; what was given is secret and not shown",
    ]


def test_a_truth_value_is_no_number() -> None:
    assert problems({"level": True, "inner": [{"size": True}]}) == [
        "x.level: expected one of 0, 1, got true",
        "x.inner[0].size: expected an integer, got true",
    ]


def test_schema_sample_and_variables_know_the_types() -> None:
    about = schema(Outer)["properties"]
    assert about["side"]["enum"] == ["left", "right"]
    assert about["side"]["default"] == "left"
    assert about["number"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert structure(Outer, load_text(sample(Outer))) == Outer()
    fields = {field.key: field for field in fields_of(Outer)}
    given = {
        key: read_variable(key, text, fields[key])
        for key, text in {"side": "right", "secret": "+1", "networks": "::/8"}.items()
    }
    assert structure(Outer, given) == Outer(side=Side.RIGHT, secret=Number("1"), networks=(IPv6Network("::/8"),))


def test_a_type_is_registered_once_and_built_in_types_never() -> None:
    for taken in (Number, str, ipaddress.IPv4Address, Inner):
        with pytest.raises(ValueError, match="can be configured already"):
            register_type(taken, read=str, takes="anything")  # type: ignore[arg-type]


def test_what_a_reader_raises_by_mistake_is_told_as_a_problem() -> None:
    class Strange:
        pass

    register_type(Strange, read=lambda value: {}[value], takes="something strange")
    cls = configuration(type("Holder", (), {"__annotations__": {"one": Strange}, "one": option()}))
    assert problems({"one": "key"}, cls) == ["x.one: cannot be checked: KeyError: 'key'"]


def test_problems_without_number_are_not_told_one_by_one() -> None:
    assert len(problems({"inner": [5] * 300_000})) == 100
    assert len(problems({f"key{i}": 0 for i in range(300_000)})) == 100


PHONES = """
import otus_core
from ipaddress import IPv4Network
class Phone:
    pass
def read(value):
    raise ValueError("it is not in the book")
otus_core.register_type(Phone, read=read, takes="a telephone number")
@otus_core.configuration
class Config:
    phone: Phone | int = otus_core.option(default=0)
    phones: tuple[Phone, ...] = otus_core.option(default=())
    network: IPv4Network = otus_core.option(default=IPv4Network("192.0.2.0/24"))
"""
TASK = """
id: one
capture: {type: pcap, files: [x.pcap]}
parsers: [{type: phones, config: {phones: [x], network: 192.0.2.1/24}}]
reporters: [discard]
"""


def test_a_plugin_may_bring_types_of_its_own(tmp_path: Path) -> None:
    site = Site(folder=tmp_path)
    source = good("phones").replace("payload_types", "config='phones_config:Config', payload_types")
    site.install("otus-plugin-phones", source, modules={"phones_config": PHONES})
    file = tmp_path / "task.yaml"
    file.write_text(TASK)
    told = site.otus("validate", "-f", str(file)).stderr
    assert 'parsers[0].config.phones[0]: expected a telephone number, got the text "x": it is not in the book' in told
    assert (
        'parsers[0].config.network: expected an IPv4 network such as 192.0.2.0/24, got the text "192.0.2.1/24": '
        "192.0.2.1/24 has host bits set" in told
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--socket", "/nowhere", "task", "list"], ["plugins", "list"]])
def test_commands_that_read_no_configuration_do_not_import_cattrs(arguments: list[str]) -> None:
    code = f"import sys; from otus_core.cli import main; main({arguments!r}); print(*sys.modules, file=sys.stderr)"
    code = f"import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {code}"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, timeout=60)
    assert "otus_core" in done.stderr.split()
    assert "cattrs" not in done.stderr.split()
