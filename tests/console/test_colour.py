"""When there is colour, and where."""

from __future__ import annotations

import re

import pytest

from otus_console.reporter import wants_colour
from tests.console.written import lines, request, response


@pytest.mark.parametrize(
    ("setting", "isatty", "environment", "expected"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_when(
    setting: str, isatty: bool, environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wants_colour(setting, isatty) is expected
    assert ("\x1b" in lines([request()], isatty=isatty, color=setting)[0]) is expected


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (request("INVITE"), "\x1b[1;36mINVITE\x1b[0m"),
        (request("OPTIONS"), "\x1b[36mOPTIONS\x1b[0m"),
        (response("100", "Trying"), "\x1b[33m100 Trying (INVITE)\x1b[0m"),
        (response("200", "OK"), "\x1b[32m200 OK (INVITE)\x1b[0m"),
        (response("302", "Moved"), "\x1b[35m302 Moved (INVITE)\x1b[0m"),
        (response("404", "Not Found"), "\x1b[31m404 Not Found (INVITE)\x1b[0m"),
        (response("503", "Busy"), "\x1b[31m503 Busy (INVITE)\x1b[0m"),
        (response("603", "Decline"), "\x1b[31m603 Decline (INVITE)\x1b[0m"),
    ],
)
def test_a_class_of_messages_has_its_colour(output: object, shown: str) -> None:
    assert shown in lines([output], color="always")[0]  # type: ignore[list-item]


def test_without_its_colours_the_line_is_the_plain_line() -> None:
    batch = [request("INVITE"), response("200", "OK"), request("BYE")]
    coloured = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines(batch, color="always")]
    assert coloured == lines(batch, color="never")
