"""Expressions are made as trees, evaluated naively here, and written as text for the real thing."""

from __future__ import annotations

import operator as operators
import random
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core import OutputPacket
from otus_filter import FilterSyntaxError, compile_expression
from tests.filter.outputs import output

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operators.eq,
    "!=": operators.ne,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
    "contains": operators.contains,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
LABELS = ("sip.method", "sip.status_code", "x.y", "x.missing")
TEXTS = ("", "INVITE", "INV", "200", "0200", "-1.5", "+200", "it's", 'a "b"', "back\\slash", "\n", "é")
NUMBERS = (0, 1, 17, 200, -1.5, 5060, 65535)
ADDRESSES = ("10.1.2.3", "192.0.2.7", "2001:db8::1")
NETWORKS = ("10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "192.0.2.7/32")

label = st.sampled_from(LABELS)
text = st.sampled_from(TEXTS)
number = st.sampled_from(NUMBERS)
order = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
textual = st.sampled_from(["contains", "startswith", "endswith"])
inside = st.sampled_from(["in", "not in"])


def several(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, min_size=1, max_size=4).map(tuple)


term = st.one_of(
    st.tuples(order, label, text | number),
    st.tuples(textual, label, text),
    st.tuples(inside, label, several(text | number)),
    st.tuples(order, st.sampled_from(["src_port", "dst_port", "protocol"]), number),
    st.tuples(inside, st.sampled_from(["src_port", "protocol"]), several(number)),
    st.tuples(st.sampled_from(["==", "!="]), st.sampled_from(["src_ip", "dst_ip"]), st.sampled_from(ADDRESSES)),
    st.tuples(inside, st.sampled_from(["src_ip", "dst_ip"]), several(st.sampled_from(ADDRESSES))),
    st.tuples(st.just("cidr"), st.sampled_from(["src_ip", "dst_ip"]), several(st.sampled_from(NETWORKS))),
    st.tuples(order, st.sampled_from(["payload_type", "task_id"]), text),
)
tree = st.recursive(
    term,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=12,
)
message = st.builds(
    output,
    st.dictionaries(st.sampled_from(LABELS[:3]), text),
    src_ip=st.sampled_from(ADDRESSES),
    src_port=st.sampled_from([0, 200, 5060]),
    protocol=st.sampled_from([6, 17]),
)


def naive(node: Any, subject: OutputPacket) -> bool:
    operator: str = node[0]
    rest = node[1:]
    if operator == "not":
        return not naive(rest[0], subject)
    if operator in ("and", "or"):
        return (all if operator == "and" else any)([naive(part, subject) for part in rest[0]])
    name, right = rest
    value: Any = subject.labels.get(name) if "." in name else getattr(subject, name)
    if operator == "cidr":
        return any(value.version == ip_network(n).version and value in ip_network(n) for n in right)
    if operator == "in":
        return any(compare("==", value, item) for item in right)
    if operator == "not in":  # != of all of them, and something that can be compared with one of them
        comparable = any(compare("==", value, item) or compare("!=", value, item) for item in right)
        return comparable and not any(compare("==", value, item) for item in right)
    return compare(operator, value, right)


def compare(operator: str, left: Any, right: Any) -> bool:
    if isinstance(right, (int, float)) and isinstance(left, str):
        left = float(left) if re.fullmatch("-?[0-9]+([.][0-9]+)?", left, re.ASCII) else None
    if left is None:
        return False
    if not isinstance(left, (str, int, float)):
        right = ip_address(right)
    return OPERATORS[operator](left, right)


def written(node: Any, chance: random.Random, within: str = "") -> str:
    """Write a tree as text; blanks, quotes and needless parentheses by chance."""
    operator, *rest = node
    gap = chance.choice([" ", "  ", "\n"])
    if operator == "not":
        result = f"not{gap}{written(rest[0], chance, 'not')}"
    elif operator in ("and", "or"):
        result = f" {operator}{gap}".join(written(part, chance, operator) for part in rest[0])
        if within in ("not", "and") and (operator == "or" or within == "not"):
            return f"({result})"
    else:
        result = f"{rest[0]}{gap}{operator} {literal(rest[1], chance)}"
    return f"({result})" if chance.random() < 0.2 else result


def literal(value: Any, chance: random.Random) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(literal(item, chance) for item in value) + chance.choice([")", ",)"])
    if isinstance(value, (int, float)):
        return str(value)
    quote = chance.choice("'\"")
    return quote + str(value).replace("\\", "\\\\").replace(quote, "\\" + quote).replace("\n", "\\n") + quote


@given(tree, message, st.integers(0, 1 << 30))
@settings(max_examples=600, deadline=None)
def test_text_means_what_the_tree_means(node: Any, subject: OutputPacket, seed: int) -> None:
    assert compile_expression(written(node, random.Random(seed)))(subject) is naive(node, subject)


@given(st.text(st.sampled_from("ab.c()'\" =!<>andorti,5-\\\n\x00é_"), max_size=60) | st.text(max_size=40))
@settings(max_examples=600, deadline=None)
def test_any_text_is_taken_or_refused_with_a_place_in_it(text: str) -> None:
    try:
        predicate = compile_expression(text)
    except FilterSyntaxError as error:
        offset = error.offset
    else:
        offset = 0
        assert predicate(output()) in (True, False)
    assert 0 <= offset <= len(text)
