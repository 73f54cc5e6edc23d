"""A filter's tree into the conditions that are asked of each message."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from otus_core import OutputPacket
from otus_filter import conditions, grammar, operands
from otus_filter.conditions import Condition
from otus_filter.grammar import Address, Field, Kind, Node, Value
from otus_filter.operands import Operand
from otus_filter.texts import text_test

Predicate = Callable[[OutputPacket], bool]


@attrs.frozen
class Verdict:
    """When ``condition`` holds, the packet's fate is ``keep``."""

    condition: Node
    keep: bool


def compile_expression(text: str) -> Predicate:
    """Make a predicate of filter text. Raises FilterSyntaxError."""
    return compile_verdicts([Verdict(grammar.parse(text), True)], default=False)


def compile_verdicts(verdicts: Iterable[Verdict], default: bool) -> Predicate:
    """Make one function of a list of verdicts: the first that holds decides, else ``default``."""
    return conditions.Verdicts(
        [conditions.Verdict(_condition(verdict.condition), verdict.keep) for verdict in verdicts], default
    ).process


def _condition(node: Node) -> Condition:
    """Make the condition of any node."""
    if isinstance(node, grammar.Not):
        return conditions.Negation(_condition(node.operand))
    if isinstance(node, grammar.Junction):
        junction = conditions.AllOf if node.operator == "and" else conditions.AnyOf
        return junction([_condition(operand) for operand in node.operands])
    if isinstance(node, grammar.Comparison):
        return _comparison(node)
    if node.operator == "cidr":
        networks = [value for value in node.values if isinstance(value, grammar.Network)]
        packed = [conditions.Network(network.netmask.packed, network.network_address.packed) for network in networks]
        return conditions.Within(_read(node.left, "address"), packed)
    return _membership(node)


def _comparison(term: grammar.Comparison) -> Condition:
    left, right = term.left, term.right
    if isinstance(right, Field):
        kinds = {left.kind, right.kind}
        # A label takes the other side's kind: it is text, which reads as a number or an address where it is compared
        # with one.
        kind: Kind = "number" if "number" in kinds else "address" if "address" in kinds else "text"
    else:
        kind = _kind(right)
    if term.operator in grammar.TEXTUAL:
        return conditions.Part(_read(left, "text"), term.operator, _operand(right, "text"))
    if term.operator in grammar.TESTED and isinstance(right, str):
        return conditions.Tested(_read(left, "text"), text_test(term.operator, right))
    if term.operator == "==" and left.is_label and isinstance(right, str):
        return conditions.LabelIs(left.name, right)
    return conditions.Comparison(_read(left, kind), term.operator, _operand(right, kind))


def _membership(term: grammar.Membership) -> Condition:
    """Test against sets; a label against numbers and texts at once is tested as both."""
    sets: dict[Kind, set[str | float | bytes]] = {}
    for value in term.values:
        assert not isinstance(value, grammar.Network)
        sets.setdefault(_kind(value), set()).add(_constant(value))
    if term.operator == "in":
        found = [conditions.Among(_read(term.left, kind), frozenset(values)) for kind, values in sets.items()]
        return found[0] if len(found) == 1 else conditions.AnyOf(found)
    # Like !=, false of what cannot be compared: a missing label, and text that is no number among numbers alone.
    if len(sets) == 1:
        ((kind, only),) = sets.items()
        return conditions.Among(_read(term.left, kind), frozenset(only), absent=True)
    number = conditions.Among(_read(term.left, "number"), frozenset(sets["number"]))
    text = conditions.Among(_read(term.left, "text"), frozenset(sets["text"]), absent=True)
    return conditions.AllOf([text, conditions.Negation(number)])


def _operand(side: Field | Value, kind: Kind) -> Operand:
    return _read(side, kind) if isinstance(side, Field) else operands.Constant(_constant(side))


def _read(field: Field, kind: Kind) -> Operand:
    """Read a field as a kind of value."""
    if field.is_label:
        return operands.Label(field.name, kind)
    if field.protocol:
        return operands.Header(field.protocol, field.name, kind)
    if field.name == "body":
        return operands.Body()
    if field.kind != "address":
        return operands.OutputField(field.name)
    return operands.AddressText(field.name) if kind == "text" else operands.PackedAddress(field.name)


def _kind(value: Value) -> Kind:
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, (int, float)) else "address"


def _constant(value: Value) -> str | float | bytes:
    """Give a value as operands give it."""
    return value.packed if isinstance(value, Address) else value
