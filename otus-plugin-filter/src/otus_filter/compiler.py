"""A filter's tree into one Python function.

The function is put together from a closed set of ``ast`` nodes: what the user wrote ends up in it as constants, nowhere
as code or as the name of an attribute. A label that is missing is ``None`` there; ``==`` and ``in`` are false of it by
themselves, the others are guarded.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import attrs

from otus_core import OutputPacket
from otus_filter.grammar import TEXTUAL, Comparison, Field, Junction, Kind, Membership, Network, Node, Not, Value, parse
from otus_filter.tokens import DIGITS_MAX

Predicate = Callable[[OutputPacket], bool]

_SIGNS: dict[str, type[ast.cmpop]] = {
    "==": ast.Eq,
    "!=": ast.NotEq,
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
}
ADDRESS_MAX = 45
"""Characters of the longest IP address as text: RFC 4291 §2.2, the form with an embedded IPv4 address."""


@attrs.frozen
class Verdict:
    """When ``condition`` holds, the packet's fate is ``keep``."""

    condition: Node
    keep: bool


def compile_expression(text: str) -> Predicate:
    """Make a predicate of filter text. Raises FilterSyntaxError."""
    return compile_verdicts([Verdict(parse(text), True)], default=False)


def compile_verdicts(verdicts: Iterable[Verdict], default: bool) -> Predicate:
    """Make one function of a list of verdicts: the first that holds decides, else ``default``."""
    writer = _Writer()
    body: list[ast.stmt] = []
    for verdict in verdicts:
        decided: list[ast.stmt] = [ast.Return(ast.Constant(verdict.keep))]
        body.append(ast.If(writer.node(verdict.condition), decided, []))
    body.append(ast.Return(ast.Constant(default)))
    return writer.function(body)


def number(text: str | None) -> float | None:
    """Give the number that a label's text is: ASCII digits, perhaps with a sign and a fraction, and nothing else."""
    if text is None or len(text) > 2 * DIGITS_MAX + 2 or not text.isascii():
        return None
    if text.isdigit():
        return int(text) if len(text) <= DIGITS_MAX else None
    whole, point, fraction = text.removeprefix("-").partition(".")
    if not whole.isdigit() or len(whole) > DIGITS_MAX:
        return None
    if not point:
        return int(text)
    return float(text) if fraction.isdigit() and len(fraction) <= DIGITS_MAX else None


def address(text: str | None) -> IPv4Address | IPv6Address | None:
    """Give the IP address that a label's text is."""
    if text is None or len(text) > ADDRESS_MAX or "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


def within(ip: IPv4Address | IPv6Address | None, networks: tuple[tuple[int, int, int], ...]) -> bool:
    """Say whether an address is in one of the networks, given as version, mask and network address."""
    if ip is None:
        return False
    version, value = ip.version, int(ip)
    return any(v == version and value & mask == base for v, mask, base in networks)


class _Writer:
    """Writes expressions of one function and keeps the constants that they name."""

    def __init__(self) -> None:
        self._names: dict[str, object] = {"number": number, "address": address, "within": within, "text": str}
        self._variables = 0

    def function(self, body: list[ast.stmt]) -> Predicate:
        """Make the function ``process(output)`` of these statements."""
        arguments = ast.arguments([], [ast.arg("output")], None, [], [], None, [])
        definition = ast.FunctionDef("process", arguments, body, [])
        module = ast.fix_missing_locations(ast.Module([definition], []))
        scope: dict[str, Any] = {"__builtins__": {}, **self._names}
        exec(compile(module, "<otus filter>", "exec"), scope)
        process: Predicate = scope["process"]
        return process

    def node(self, node: Node) -> ast.expr:
        """Write any node."""
        if isinstance(node, Not):
            return ast.UnaryOp(ast.Not(), self.node(node.operand))
        if isinstance(node, Junction):
            operator = ast.And() if node.operator == "and" else ast.Or()
            return ast.BoolOp(operator, [self.node(operand) for operand in node.operands])
        if isinstance(node, Membership):
            return self._membership(node)
        if isinstance(node.right, Field):
            return self._fields(node, node.right)
        if node.operator in TEXTUAL:
            return self._textual(node.operator, self._as(node.left, "text"), self._constant(node.right))
        left = self._as(node.left, _kind(node.right))
        return self._guarded(node.operator, left, self._constant(node.right), node.left.is_label)

    def _fields(self, term: Comparison, right: Field) -> ast.expr:
        if term.operator in TEXTUAL:
            return self._textual(term.operator, self._as(term.left, "text"), self._as(right, "text"))
        kinds = {term.left.kind, right.kind}
        kind: Kind = "number" if "number" in kinds else "address" if "address" in kinds else "text"
        return self._both(term.operator, self._as(term.left, kind), self._as(right, kind))

    def _membership(self, term: Membership) -> ast.expr:
        """Test against sets; a label against numbers and texts at once is tested as both."""
        if term.operator == "cidr":
            networks = tuple(_masked(value) for value in term.values if isinstance(value, Network))
            return _call("within", self._as(term.left, "address"), self._named(networks))
        sets: dict[Kind, set[Value]] = {}
        for value in term.values:
            assert not isinstance(value, Network)
            sets.setdefault(_kind(value), set()).add(value)
        tests: list[ast.expr] = [
            ast.Compare(self._as(term.left, kind), [ast.In()], [self._named(frozenset(values))])
            for kind, values in sets.items()
        ]
        found = tests[0] if len(tests) == 1 else ast.BoolOp(ast.Or(), tests)
        if term.operator == "in":
            return found
        absent = ast.UnaryOp(ast.Not(), found)
        if not term.left.is_label:
            return absent
        # Like !=, false of what cannot be compared: a missing label, and text that is no number among numbers alone.
        kind: Kind = "number" if set(sets) == {"number"} else "text"
        return ast.BoolOp(ast.And(), [_is_there(self._as(term.left, kind)), absent])

    def _guarded(self, operator: str, left: ast.expr, right: ast.expr, may_miss: bool) -> ast.expr:
        """Compare with a constant; false when the left side is missing."""
        if operator == "==" or not may_miss:
            return ast.Compare(left, [_SIGNS[operator]()], [right])
        kept, again = self._kept(left)
        return ast.BoolOp(ast.And(), [_is_there(kept), ast.Compare(again, [_SIGNS[operator]()], [right])])

    def _both(self, operator: str, left: ast.expr, right: ast.expr) -> ast.expr:
        """Compare two fields; false when either is missing."""
        first, left = self._kept(left)
        second, right = self._kept(right)
        compared = ast.Compare(left, [_SIGNS[operator]()], [right])
        return ast.BoolOp(ast.And(), [_is_there(first), _is_there(second), compared])

    def _textual(self, operator: str, left: ast.expr, right: ast.expr) -> ast.expr:
        kept, text = self._kept(left)
        guards = [_is_there(kept)]
        if not isinstance(right, ast.Constant):
            part, right = self._kept(right)
            guards.append(_is_there(part))
        if operator == "contains":
            return ast.BoolOp(ast.And(), [*guards, ast.Compare(right, [ast.In()], [text])])
        method = ast.Attribute(text, operator, ast.Load())
        return ast.BoolOp(ast.And(), [*guards, ast.Call(method, [right], [])])

    def _as(self, field: Field, kind: Kind) -> ast.expr:
        """Read a field as a kind of value; ``None`` when it is missing or is no such thing."""
        if field.is_label:
            read = ast.Call(_attribute("output", "label"), [ast.Constant(field.name)], [])
            return read if kind == "text" else _call(kind, read)
        value = _attribute("output", field.name)
        return _call("text", value) if field.kind == "address" and kind == "text" else value

    def _kept(self, value: ast.expr) -> tuple[ast.expr, ast.expr]:
        """Give the value as it is put into a variable of its own, and that variable."""
        self._variables += 1
        name = f"v{self._variables}"
        return ast.NamedExpr(ast.Name(name, ast.Store()), value), ast.Name(name, ast.Load())

    def _constant(self, value: Value) -> ast.expr:
        return ast.Constant(value) if isinstance(value, (str, int, float)) else self._named(value)

    def _named(self, value: object) -> ast.expr:
        """Keep a constant that a syntax tree cannot hold, and name it."""
        name = f"k{len(self._names)}"
        self._names[name] = value
        return ast.Name(name, ast.Load())


def _kind(value: Value) -> Kind:
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, (int, float)) else "address"


def _masked(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.netmask), int(network.network_address)


def _attribute(of: str, name: str) -> ast.expr:
    return ast.Attribute(ast.Name(of, ast.Load()), name, ast.Load())


def _call(function: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(function, ast.Load()), list(arguments), [])


def _is_there(value: ast.expr) -> ast.expr:
    return ast.Compare(value, [ast.IsNot()], [ast.Constant(None)])
