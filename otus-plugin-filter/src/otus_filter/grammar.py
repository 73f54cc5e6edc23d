"""Filter tokens into a tree, by recursive descent of bounded depth.

    expression  = all-of  { "or" all-of }
    all-of      = negation { "and" negation }
    negation    = "not" negation | "(" expression ")" | comparison
    comparison  = field ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) ( field | STRING | NUMBER )
                | field ( "contains" | "startswith" | "endswith" ) ( field | STRING )
                | field ( "icontains" | "matches" | "tail" ) STRING
                | field [ "not" ] "in" list
                | field "cidr" ( STRING | list )
    field       = NAME | "label" "(" STRING ")" | PROTOCOL ".header" "(" STRING ")"
    list        = "(" value { "," value } [ "," ] ")"
    value       = STRING | NUMBER

In: text. Out: a ``Node`` whose operands fit their operators. Raises FilterSyntaxError.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

import attrs

from otus_core import printable
from otus_filter.texts import text_test
from otus_filter.tokens import KEYWORDS, FilterSyntaxError, Token, tokenize

TERMS_MAX = 64
"""Comparisons in one expression: bounds what one packet can cost."""
DEPTH_MAX = 32
"""Parentheses and ``not`` inside each other: bounds the recursion here and in what is asked of each message."""
LABEL_MAX = 128
"""Characters: label names are declared by plugins, which have some twenty."""
SHOWN_MAX = 40
"""Characters of a name that an error shows."""

Kind = Literal["text", "number", "address"]
FIELDS: dict[str, Kind] = {
    "src_ip": "address",
    "dst_ip": "address",
    "src_port": "number",
    "dst_port": "number",
    "protocol": "number",
    "payload_type": "text",
    "task_id": "text",
    "body": "text",
}
PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "sctp": 132}
"""Names that ``protocol`` may be compared with (IANA protocol numbers)."""
TEXTUAL = ("contains", "startswith", "endswith")
TESTED = ("icontains", "matches", "tail")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Value = str | float | Address


@attrs.frozen
class Field:
    """A label, one of ``FIELDS``, or a header field of a ``protocol``'s messages.

    A label is text, may be missing, and is converted to what it is compared with.
    """

    name: str
    is_label: bool
    kind: Kind
    protocol: str = ""

    @property
    def shown(self) -> str:
        """The name as an error shows it."""
        return printable(self.name, SHOWN_MAX)


@attrs.frozen
class Comparison:
    """A field against another field or a value, which fits it."""

    operator: str
    left: Field
    right: Field | Value


@attrs.frozen
class Membership:
    """A field against several values: ``in`` and ``not in``, or ``cidr``, whose values are networks."""

    operator: Literal["in", "not in", "cidr"]
    left: Field
    values: tuple[Value, ...] | tuple[Network, ...]


@attrs.frozen
class Not:
    """True when its operand is false."""

    operand: Node


@attrs.frozen
class Junction:
    """``and`` or ``or`` of two operands or more."""

    operator: Literal["and", "or"]
    operands: tuple[Node, ...]


Node = Comparison | Membership | Not | Junction


def parse(text: str) -> Node:
    """Read an expression. Raises FilterSyntaxError, which says where and why."""
    return _Reader(text).whole()


def labels_in(node: Node) -> Iterator[str]:
    """Give every label that an expression looks at."""
    if isinstance(node, Not):
        yield from labels_in(node.operand)
    elif isinstance(node, Junction):
        for operand in node.operands:
            yield from labels_in(operand)
    else:
        sides = (node.left, node.right) if isinstance(node, Comparison) else (node.left,)
        yield from (side.name for side in sides if isinstance(side, Field) and side.is_label)


class _Reader:
    """A cursor over the tokens."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._at = 0
        self._terms = 0
        self._depth = 0

    def whole(self) -> Node:
        if len(self._tokens) == 1:
            raise self._error("empty; write a comparison such as sip.method == 'INVITE'")
        node = self._expression()
        if self._now.kind != "end":
            raise self._error(f"expected and, or, or the end, found {_name_token(self._now)}")
        return node

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _is(self, *words: str) -> bool:
        return self._now.kind in ("keyword", "operator", "punctuation") and self._now.value in words

    def _take(self, *words: str) -> bool:
        """Step over one of these words, if it is there."""
        if not self._is(*words):
            return False
        self._at += 1
        return True

    def _next(self) -> Token:
        token = self._now
        self._at += 1
        return token

    def _error(self, reason: str, token: Token | None = None) -> FilterSyntaxError:
        return FilterSyntaxError(self._text, (token or self._now).offset, reason)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._error(f"nested deeper than {DEPTH_MAX} levels")

    def _expression(self) -> Node:
        operands = [self._all_of()]
        while self._take("or"):
            operands.append(self._all_of())
        return operands[0] if len(operands) == 1 else Junction("or", tuple(operands))

    def _all_of(self) -> Node:
        operands = [self._negation()]
        while self._take("and"):
            operands.append(self._negation())
        return operands[0] if len(operands) == 1 else Junction("and", tuple(operands))

    def _negation(self) -> Node:
        if not self._is("not", "("):
            return self._comparison()
        self._deeper()
        opening = self._next()
        if opening.value == "not":
            node: Node = Not(self._negation())
        else:
            node = self._expression()
            if not self._take(")"):
                column = f"the ( at column {opening.offset + 1}"
                raise self._error(f"expected and, or, or the ) that closes {column}, found {_name_token(self._now)}")
        self._depth -= 1
        return node

    def _comparison(self) -> Comparison | Membership:
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise self._error(f"more than {TERMS_MAX} comparisons")
        left = self._field()
        operator = self._next()
        if operator.kind == "operator":
            return self._read_ordered(left, operator)
        if operator.kind == "keyword" and operator.value in TEXTUAL:
            return self._read_textual(left, operator)
        if operator.kind == "keyword" and operator.value in TESTED:
            return self._read_test(left, operator)
        if operator.kind == "keyword" and operator.value == "cidr":
            return self._cidr(left, operator)
        if operator.kind == "keyword" and operator.value == "in":
            return self._membership("in", left)
        if operator.kind == "keyword" and operator.value == "not" and self._take("in"):
            return self._membership("not in", left)
        raise self._error(
            f"expected an operator after {left.shown}, found {_name_token(operator)}; there are "
            "== != < <= > >= in contains icontains startswith endswith matches tail cidr",
            operator,
        )

    def _field(self) -> Field:
        token = self._next()
        if token.kind in ("string", "number"):
            raise self._error("a comparison begins with a field: write it the other way round", token)
        if token.kind != "name":
            raise self._error(f"expected a field or a label, found {_name_token(token)}", token)
        name = str(token.value)
        if name == "label" and self._take("("):
            return self._read_quoted_label()
        if name.endswith(".header") and self._take("("):
            header = self._read_quoted("header field's name", f"{name}('X-Name')")
            if len(str(header.value)) > LABEL_MAX:
                raise self._error(f"a header field's name has at most {LABEL_MAX} characters", header)
            return Field(str(header.value), False, "text", protocol=name.removesuffix(".header"))
        if name in FIELDS:
            return Field(name, False, FIELDS[name])
        first, dot, _ = name.partition(".")
        if not dot:
            raise self._error(_explain_unknown(name), token)
        if first in FIELDS:
            raise self._error(f"{first} has no parts", token)
        return self._label(name, token)

    def _read_quoted_label(self) -> Field:
        token = self._read_quoted("label's name", "label('x-site')")
        return self._label(str(token.value), token)

    def _read_quoted(self, what: str, example: str) -> Token:
        """Read a name in quotes and the parenthesis behind it."""
        token = self._next()
        if token.kind != "string" or not token.value:
            raise self._error(f"expected the {what} in quotes, as in {example}", token)
        if not self._take(")"):
            raise self._error(f"expected ) after the {what}, found {_name_token(self._now)}")
        return token

    def _label(self, name: str, token: Token) -> Field:
        if len(name) > LABEL_MAX:
            raise self._error(f"a label's name has at most {LABEL_MAX} characters", token)
        return Field(name, True, "text")

    def _read_ordered(self, left: Field, operator: Token) -> Comparison:
        token = self._now
        sign = str(operator.value)
        right: Field | Value
        if token.kind == "name":
            right = self._field()
            self._check_fields(left, right, token)
        else:
            right = self._fitting(left, self._literal(), token)
        address = left.kind == "address" or (isinstance(right, Field) and right.kind == "address")
        if sign not in ("==", "!=") and (address or (left.name == "protocol" and token.kind == "string")):
            raise self._error(f"{left.shown} has no order here: use == or !=, in, or cidr", operator)
        return Comparison(sign, left, right)

    def _check_fields(self, left: Field, right: Field, token: Token) -> None:
        if left.kind != right.kind and not (left.is_label or right.is_label):
            raise self._error(f"{left.shown} is {_name_kind(left)} and {right.shown} is {_name_kind(right)}", token)

    def _read_textual(self, left: Field, operator: Token) -> Comparison:
        token = self._now
        if left.kind == "number":
            raise self._error(f"{left.shown} is a number: {operator.value} needs text", operator)
        if token.kind == "number":
            raise self._error(f"{operator.value} needs text: put the number in quotes", token)
        right: Field | Value = self._field() if token.kind == "name" else self._literal()
        if isinstance(right, Field) and right.kind == "number":
            raise self._error(f"{right.shown} is a number: {operator.value} needs text", token)
        return Comparison(str(operator.value), left, right)

    def _read_test(self, left: Field, operator: Token) -> Comparison:
        token = self._now
        if left.kind == "number":
            raise self._error(f"{left.shown} is a number: {operator.value} needs text", operator)
        if token.kind != "string":
            raise self._error(f"{operator.value} needs text in quotes, found {_name_token(token)}")
        value = str(self._next().value)
        try:
            text_test(str(operator.value), value)
        except ValueError as error:
            raise self._error(str(error), token) from None
        return Comparison(str(operator.value), left, value)

    def _membership(self, operator: Literal["in", "not in"], left: Field) -> Membership:
        if self._now.kind != "punctuation":
            hint = "; to search in text use contains" if self._now.kind in ("string", "name") else ""
            raise self._error(f"expected a list such as ('INVITE', 'BYE'), found {_name_token(self._now)}{hint}")
        return Membership(operator, left, tuple(self._fitting(left, value, token) for value, token in self._list()))

    def _cidr(self, left: Field, operator: Token) -> Membership:
        if left.kind != "address" and not left.is_label:
            raise self._error(f"{left.shown} is not an address: cidr needs src_ip, dst_ip or a label", operator)
        token = self._now
        values = self._list() if self._is("(") else [(self._literal(), token)]
        return Membership("cidr", left, tuple(self._network(value, token) for value, token in values))

    def _list(self) -> list[tuple[str | float, Token]]:
        """Read a list of values with their tokens."""
        if not self._take("("):
            raise self._error(f"expected a list in parentheses, found {_name_token(self._now)}")
        values = []
        while True:
            token = self._now
            values.append((self._literal(), token))
            comma = self._take(",")
            if self._take(")"):
                return values
            if not comma:
                raise self._error(f"expected , or ) in the list, found {_name_token(self._now)}")

    def _literal(self) -> str | float:
        token = self._next()
        if token.kind not in ("string", "number"):
            raise self._error(f"expected a number or a quoted string, found {_name_token(token)}", token)
        return token.value

    def _fitting(self, left: Field, value: str | float, token: Token) -> Value:
        """Turn a value into what the field is compared with. A label takes text and numbers alike."""
        is_text = isinstance(value, str)
        if left.kind == "address":
            return self._address(str(value), token)
        if left.name == "protocol" and is_text:
            return self._protocol(str(value), token)
        if left.kind == "number" and is_text:
            raise self._error(f"{left.shown} is a number: write it without quotes", token)
        if left.kind == "text" and not (left.is_label or left.protocol) and not is_text:
            raise self._error(f"{left.shown} is text: write it in quotes", token)
        return value

    def _address(self, text: str, token: Token) -> Address:
        try:
            # A zone (RFC 4007 §11) has a meaning on one machine alone, and never stands in a packet.
            if token.kind != "string" or "%" in text:
                raise ValueError
            return ip_address(text)
        except ValueError:
            hint = "; for a network use cidr" if "/" in text else ""
            raise self._error(f"not an IP address in quotes{hint}", token) from None

    def _network(self, value: str | float, token: Token) -> Network:
        try:
            if not isinstance(value, str) or "%" in value:
                raise ValueError
            return ip_network(value, strict=False)
        except ValueError:
            raise self._error("not a network such as '10.0.0.0/8' or '2001:db8::/32'", token) from None

    def _protocol(self, name: str, token: Token) -> int:
        if name not in PROTOCOLS:
            raise self._error(f"unknown protocol name; write its number, or one of {', '.join(PROTOCOLS)}", token)
        return PROTOCOLS[name]


def _explain_unknown(name: str) -> str:
    """Say that a name without a dot is no field, and what may have been meant."""
    close = difflib.get_close_matches(name[:LABEL_MAX].lower(), (*FIELDS, *KEYWORDS), n=1)
    hint = f"perhaps {close[0]}" if close else f"there are {', '.join(FIELDS)}"
    return f"unknown field {printable(name, SHOWN_MAX)}; {hint}; a label without a dot is written label('NAME')"


def _name_kind(field: Field) -> str:
    return {"text": "text", "number": "a number", "address": "an address"}[field.kind]


def _name_token(token: Token) -> str:
    if token.kind == "end":
        return "the end"
    if token.kind in ("string", "number"):
        return f"a {token.kind}"
    return printable(str(token.value), SHOWN_MAX)
