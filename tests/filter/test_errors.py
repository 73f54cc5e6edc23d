"""Filter text that is refused: where, why, and how soon."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from otus_filter import FilterSyntaxError, compile_expression

ACCEPTABLE_S = 0.05


def refused(text: str) -> FilterSyntaxError:
    with pytest.raises(FilterSyntaxError) as caught:
        compile_expression(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "offset", "reason"),
    [
        ("", 0, "empty"),
        ("   ", 3, "empty"),
        ("sip.method", 10, "expected an operator after sip.method, found the end"),
        ("sip.method ==", 13, "expected a number or a quoted string, found the end"),
        ("sip.method = 'BYE'", 11, "equality is written =="),
        ("sip.method === 'BYE'", 13, "equality is written =="),
        ("a.b == 1 && a.c == 1", 9, "write and"),
        ("a.b == 1 || a.c == 1", 9, "write or"),
        ("!(a.b == 1)", 0, "write not"),
        ("a.b <> 1", 4, "write !="),
        ("a.b == 1 AND a.c == 1", 9, "expected and, or, or the end, found AND"),
        ("a.b == 1 a.c == 1", 9, "expected and, or, or the end, found a.c"),
        ("(a.b == 1", 9, "the ) that closes the ( at column 1"),
        ("a.b == 1)", 8, "found )"),
        ("()", 1, "expected a field or a label, found )"),
        ("a.b == 'x", 7, "no closing '"),
        ("a.b == 'x\\q'", 9, "unknown escape"),
        ("a.b == 'x\\", 9, "unknown escape"),
        ("a.b == 5x", 7, "not a number"),
        ("a.b == 1.2.3", 7, "not a number"),
        ("a.b == -", 7, "not a number"),
        ("a.b == " + "1" * 19, 7, "at most 18 digits"),
        ("5 == a.b", 0, "the other way round"),
        ("'x' in a.b", 0, "the other way round"),
        ("scr_ip == '10.0.0.1'", 0, "perhaps src_ip"),
        ("method == 'BYE'", 0, "label('NAME')"),
        ("src_ip.x == '1'", 0, "src_ip has no parts"),
        ("label(x) == 'y'", 6, "name in quotes"),
        ("label('x' == 'y'", 10, "expected )"),
        ("label('" + "x" * 129 + "') == 'y'", 6, "at most 128"),
        ("a.b in 'x'", 7, "to search in text use contains"),
        ("a.b in ()", 8, "expected a number or a quoted string, found )"),
        ("a.b in ('x' 'y')", 12, "expected , or )"),
        ("a.b in ('x', a.c)", 13, "expected a number or a quoted string"),
        ("a.b not 'x'", 4, "expected an operator"),
        ("a.b contains 5", 13, "put the number in quotes"),
        ("src_port contains '5'", 9, "src_port is a number"),
        ("a.b contains src_port", 13, "src_port is a number"),
        ("src_port == '5060'", 12, "without quotes"),
        ("src_port in (5060, '5061')", 19, "without quotes"),
        ("payload_type == 5", 16, "in quotes"),
        ("src_port == src_ip", 12, "src_port is a number and src_ip is an address"),
        ("src_ip == '10.0.0'", 10, "not an IP address"),
        ("src_ip == '10.0.0.0/8'", 10, "for a network use cidr"),
        ("src_ip == 10", 10, "not an IP address"),
        ("src_ip == 'fe80::1%eth0'", 10, "not an IP address"),
        ("src_ip < '10.0.0.1'", 7, "no order"),
        ("a.b < src_ip", 4, "no order"),
        ("src_ip cidr '10.0.0.0/33'", 12, "not a network"),
        ("src_ip cidr 10", 12, "not a network"),
        ("src_port cidr '10.0.0.0/8'", 9, "not an address"),
        ("protocol == 'upd'", 12, "unknown protocol name"),
        ("protocol < 'tcp'", 9, "no order"),
        ("a.b == 1 # c", 9, "unexpected #"),
        ("a.b == \x1b[31m", 7, r"unexpected \x1b"),
    ],
)
def test_says_where_and_why(text: str, offset: int, reason: str) -> None:
    error = refused(text)
    assert (error.offset, reason in error.reason) == (offset, True), error


def test_the_place_is_marked() -> None:
    assert str(refused("sip.method = 'BYE'")).splitlines() == [
        "at column 12: = is not an operator; equality is written ==",
        "    sip.method = 'BYE'",
        "               ^",
    ]


def test_in_several_lines_the_line_is_named() -> None:
    assert str(refused("a.b == 1 and\n  a.c = 3\nor a.d == 1")).splitlines() == [
        "at line 2, column 7: = is not an operator; equality is written ==",
        "      a.c = 3",
        "          ^",
    ]


def test_of_a_long_text_a_part_is_shown_and_the_caret_still_fits() -> None:
    head, line, caret = str(refused("a.b == 1 or " * 20 + "a.c = 3 or " + "a.b == 1 or " * 20)).splitlines()
    assert head.startswith("at column 245:")
    assert line[caret.index("^")] == "="
    assert len(line) < 80


def test_what_is_shown_is_escaped() -> None:
    message = str(refused("a.b == '\x1b]0;x\x07\u202e' =="))
    assert message.replace("\n", "").isprintable()
    line, caret = message.splitlines()[1:]
    assert line[caret.index("^") :] == "=="


@pytest.mark.parametrize("rest", ["", " x", " < src_ip", " cidr 5"])
def test_a_label_that_an_error_names_is_escaped(rest: str) -> None:
    assert str(refused(f"label('\x1b[31m\udcff'){rest}")).replace("\n", "").isprintable()


HOSTILE = {
    "attribute of a field": "src_ip.__class__ == 'x'",
    "attribute of the output": "output.__class__ == 'x'",
    "attribute of a label": "sip.method.__class__.__mro__ == 'x'",
    "attribute of a literal": "().__class__.__bases__[0].__subclasses__()",
    "attribute of a string": "sip.method == 'x'.join('y')",
    "method call": "sip.method.upper() == 'X'",
    "import": "__import__('os').system('id')",
    "import statement": "import os",
    "lambda": "(lambda: 1)()",
    "subscript": "sip.method[0] == 'I'",
    "comprehension": "[x for x in (1, 2)]",
    "f-string": "sip.method == f'{output}'",
    "walrus": "(x := 1)",
    "statement": "sip.method == 'x'; import os",
    "arithmetic": "src_port == 9 ** 9 ** 9",
    "dunder name": "__builtins__ == 'x'",
    "true": "True",
    "10 k terms": " or ".join(["sip.method == 'x'"] * 10_000),
    "65 terms": " or ".join(["a.b == 1"] * 65),
    "10 k parentheses": "(" * 10_000 + "a.b == 1" + ")" * 10_000,
    "1 k parentheses": "(" * 1_000 + "a.b == 1" + ")" * 1_000,
    "33 parentheses": "(" * 33 + "a.b == 1" + ")" * 33,
    "500 not": "not " * 500 + "a.b == 1",
    "mixed nesting": "not (" * 17 + "a.b == 1" + ")" * 17,
    "one long string": "a.b == '" + "x" * 3000 + "'",
    "one long name": "x" * 2000,
    "one long number": "a.b == " + "9" * 2000,
    "one long escape": "a.b == '" + "\\\\" * 1000,
    "a megabyte": "a" * (1 << 20),
    "many bytes in few characters": "a.b == '" + "\u20ac" * 700 + "'",
    "NUL": "a.b == 1\0",
    "lone surrogate": "a.b == \ud800",
}


def quickest(work: Callable[[], object]) -> float:
    """Give the least CPU seconds of a few runs: a busy machine only ever adds to them."""
    times = []
    for _ in range(5):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_refused_at_once(text: str) -> None:
    assert quickest(lambda: refused(text)) < ACCEPTABLE_S


@pytest.mark.parametrize(
    "text",
    [
        " or ".join(["a.b == 1"] * 64),
        "(" * 32 + "a.b == 1" + ")" * 32,
        "not (" * 16 + "a.b == 1" + ")" * 16,
        "a.b == '" + "x" * (2048 - 9) + "'",
        "a.b in (" + ", ".join(f"{n}" for n in range(400)) + ")",
    ],
    ids=["64 terms", "32 parentheses", "32 levels", "2 KiB", "a long list"],
)
def test_what_is_just_within_the_limits_is_taken_as_soon(text: str) -> None:
    assert quickest(lambda: compile_expression(text)) < ACCEPTABLE_S
