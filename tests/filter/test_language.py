"""What each expression says of a message."""

from __future__ import annotations

from typing import Any

import pytest

from otus_filter import compile_expression
from otus_filter.grammar import labels_in, parse
from tests.filter.outputs import output

RESPONSE = {"sip.status_code": "486", "sip.cseq_method": "INVITE", "sip.from_uri": "sip:al'ice@example.com"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip.method == 'INVITE'", True),
        ('sip.method == "INVITE"', True),
        ("sip.method == 'invite'", False),
        ("sip.method != 'BYE'", True),
        ("sip.method != 'INVITE'", False),
        ("sip.method < 'J'", True),
        ("sip.method >= 'INVITE'", True),
        ("sip.method in ('INVITE','BYE')", True),
        ("sip.method in ('BYE',)", False),
        ("sip.method not in ('BYE', 'ACK')", True),
        ("sip.method not in ('INVITE')", False),
        ("sip.method contains 'VIT'", True),
        ("sip.method startswith 'IN'", True),
        ("sip.method endswith 'TE'", True),
        ("sip.method endswith 'IN'", False),
        ("not sip.method == 'BYE'", True),
        ("not not sip.method == 'BYE'", False),
        ("label('sip.method') == 'INVITE'", True),
        ("sip.method\n==\t'INVITE'", True),
        ("sip.method=='INVITE'and src_port==5060", True),
        ("sip.method == '\\x49NV\\u0049TE'", True),
    ],
)
def test_a_label_that_is_there(text: str, expected: bool) -> None:
    assert compile_expression(text)(output()) is expected


@pytest.mark.parametrize(
    "comparison",
    [
        "sip.gone == 'x'",
        "sip.gone != 'x'",
        "sip.gone < 'x'",
        "sip.gone >= 'x'",
        "sip.gone == 5",
        "sip.gone != 5",
        "sip.gone <= 5",
        "sip.gone in ('x', 5)",
        "sip.gone not in ('x')",
        "sip.gone not in (5)",
        "sip.gone contains ''",
        "sip.gone startswith ''",
        "sip.gone endswith ''",
        "sip.gone cidr '0.0.0.0/0'",
        "sip.gone == sip.method",
        "sip.method != sip.gone",
        "sip.method contains sip.gone",
        "sip.gone != sip.gone",
        "src_port != sip.gone",
        "src_ip != sip.gone",
        "label('gone') != 'x'",
    ],
)
def test_any_comparison_with_something_missing_is_false_and_not_of_it_is_true(comparison: str) -> None:
    assert compile_expression(comparison)(output()) is False
    assert compile_expression(f"not {comparison}")(output()) is True
    assert compile_expression(f"not ({comparison} and src_port == 5060)")(output()) is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("src_ip == '10.1.2.3'", True),
        ("src_ip != '10.1.2.3'", False),
        ("src_ip in ('10.1.2.3', '2001:db8::1')", True),
        ("src_ip not in ('10.1.2.4')", True),
        ("src_ip cidr '10.0.0.0/8'", True),
        ("src_ip cidr '10.9.9.9/8'", True),
        ("src_ip cidr '10.1.2.3'", True),
        ("src_ip cidr '::/0'", False),
        ("dst_ip cidr ('10.0.0.0/8', '192.0.2.0/24')", True),
        ("dst_ip cidr ('10.0.0.0/8', '2001:db8::/32')", False),
        ("src_ip startswith '10.1.'", True),
        ("src_ip == dst_ip", False),
        ("src_port == 5060", True),
        ("src_port < dst_port", True),
        ("src_port in (5060, 5061)", True),
        ("dst_port > 5080.5", False),
        ("protocol == 17", True),
        ("protocol == 'udp'", True),
        ("protocol != 'tcp'", True),
        ("protocol in ('tcp', 132)", False),
        ("payload_type == 'sip'", True),
        ("task_id startswith 'task-'", True),
    ],
)
def test_fields(text: str, expected: bool) -> None:
    assert compile_expression(text)(output()) is expected


def test_ipv6_addresses_are_compared_as_addresses_not_as_text() -> None:
    message = output(src_ip="2001:db8::1", dst_ip="2001:db8::2")
    assert compile_expression("src_ip == '2001:0DB8:0::0001'")(message)
    assert compile_expression("src_ip cidr '2001:db8::/64'")(message)
    assert not compile_expression("src_ip cidr '0.0.0.0/0'")(message)


@pytest.mark.parametrize(
    ("value", "comparison", "expected"),
    [
        ("486", "== 486", True),
        ("0486", "== 486", True),
        ("486", "!= 487", True),
        ("486", ">= 400", True),
        ("1000", "> 999", True),
        ("1000", "> '999'", False),
        ("-5", "== -5", True),
        ("5.50", "== 5.5", True),
        ("5.0", "== 5", True),
        ("486", "in (404, 486)", True),
        ("486", "in ('404', 486)", True),
        ("486", "in (404, '486')", True),
        ("486", "not in (404)", True),
        ("486", "not in (404, 486)", False),
        ("486", "not in (404, 'busy')", True),
        ("486", "not in (486, 'busy')", False),
        ("0486", "not in (486, 'busy')", False),
        ("busy", "not in (486, 'busy')", False),
        ("idle", "not in (486, 'busy')", True),
        ("486", "not in ('404', '486')", False),
        ("486", "in (487, 'busy')", False),
        ("486", "<= 486", True),
        ("486", "< 486", False),
        ("486", ">= 486", True),
        ("486", "> 486", False),
        ("1.2.3", "== 1.2", False),
        ("1.2.3", ">= 0", False),
        ("+5", "== 5", False),
        (" 5", "== 5", False),
        ("5_0", "== 50", False),
        ("٥", "== 5", False),
        ("5e0", "== 5", False),
        ("0x5", "== 5", False),
        ("5.", "== 5", False),
        (".5", "== 0.5", False),
        ("--5", "== 5", False),
        ("", "== 0", False),
        ("nan", "!= 5", False),
        ("inf", "> 5", False),
        ("5a", "!= 5", False),
        ("5a", "not in (5)", False),
        ("9" * 18, "> 5", True),
        ("9" * 19, "> 5", False),
        ("1" + "0" * 18, "> 5", False),
        ("1." + "0" * 19, "< 5", False),
        ("9" * 100_000, "> 5", False),
    ],
)
def test_compared_with_a_number_a_label_is_converted_or_else_the_comparison_is_false(
    value: str, comparison: str, expected: bool
) -> None:
    assert compile_expression(f"x.y {comparison}")(output({"x.y": value})) is expected


class Word(str):
    """Text of a class of its own, as an enumeration's members are."""


@pytest.mark.parametrize(
    "text", ["x.y == '486'", "x.y != '487'", "x.y in ('486')", "x.y startswith '48'", "x.y contains '8'", "x.y > 400"]
)
def test_a_label_may_be_text_of_a_class_of_its_own(text: str) -> None:
    assert compile_expression(text)(output({"x.y": Word("486")}))


@pytest.mark.parametrize("text", ["x.y > 400", "x.y cidr '10.0.0.0/8'", "x.y contains 'x'", "x.y endswith 'x'"])
def test_a_label_that_is_no_text_is_an_error_of_who_made_it(text: str) -> None:
    labels: dict[str, Any] = {"x.y": 486}
    with pytest.raises(TypeError):
        compile_expression(text)(output(labels))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("10.9.9.9", True), ("11.0.0.1", False), ("alice", False), ("::ffff:10.0.0.1", False), ("10.0.0.1%x", False)],
)
def test_a_label_that_holds_an_address(value: str, expected: bool) -> None:
    assert compile_expression("x.ip cidr '10.0.0.0/8'")(output({"x.ip": value})) is expected


def test_an_address_in_a_label_is_compared_as_an_address() -> None:
    assert compile_expression("src_ip == x.ip")(output({"x.ip": "2001:0db8::1"}, src_ip="2001:db8::1"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("src_port == 1 and src_port == 1 or src_port == 5060", True),
        ("src_port == 1 and (src_port == 1 or src_port == 5060)", False),
        ("not src_port == 1 and src_port == 1", False),
        ("not (src_port == 1 and src_port == 1)", True),
        ("src_port == 5060 or src_port == 5060 and src_port == 1", True),
    ],
)
def test_not_binds_tighter_than_and_which_binds_tighter_than_or(text: str, expected: bool) -> None:
    assert compile_expression(text)(output()) is expected


def test_a_response_is_chosen_by_the_method_that_it_answers() -> None:
    response = output(RESPONSE)
    assert compile_expression("sip.cseq_method == 'INVITE' and sip.status_code >= 400")(response)
    assert compile_expression(r"sip.from_uri contains 'al\'ice'")(response)
    assert not compile_expression("sip.method != 'OPTIONS'")(response)
    assert compile_expression("not sip.method == 'OPTIONS'")(response)


def test_words_of_the_language_may_be_parts_of_a_label() -> None:
    assert compile_expression("in.not == 'a' and x.and-or == 'b'")(output({"in.not": "a", "x.and-or": "b"}))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("src_port == 5060", []),
        ("a.b == 'x'", ["a.b"]),
        ("not a.b == 'x'", ["a.b"]),
        ("not (a.b == 'x' or not c.d in (5, 6)) and src_ip cidr '10.0.0.0/8'", ["a.b", "c.d"]),
        ("a.b == c.d", ["a.b", "c.d"]),
        ("a.b != src_ip", ["a.b"]),
        ("label('x y') contains 'z'", ["x y"]),
    ],
)
def test_every_label_that_an_expression_looks_at_is_told(text: str, labels: list[str]) -> None:
    """A task whose parsers make none of that name is refused by it."""
    assert list(labels_in(parse(text))) == labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("src_ip == '10.1.2.3'", False),
        ("src_ip != '10.1.2.3'", False),
        ("src_ip startswith '10.'", False),
        ("src_ip in ('10.1.2.3', '192.0.2.7')", False),
        ("payload_type == 'sum'", True),
    ],
)
def test_a_record_without_addresses_is_like_a_message_without_that_label(text: str, expected: bool) -> None:
    record = output(src_ip=None, dst_ip=None, is_record=True, payload_type="sum")
    assert compile_expression(text)(record) is expected
    missing = text.replace("src_ip", "x.missing")
    assert compile_expression(missing)(record) is expected
