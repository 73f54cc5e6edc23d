"""What is asked of a text beyond comparing it: parts without regard to case, patterns, telephone numbers.

In: what stands behind the operator. Out: a function that says whether a text fits. Raises ValueError with the reason.
"""

from __future__ import annotations

from collections.abc import Callable

from otus_core import printable

PATTERN_MAX = 512
"""Characters of a pattern."""
PATTERN_BYTES = 1 << 20
"""Memory of one compiled pattern: RE2 answers in time that is linear in the text, whatever the pattern is."""
TAIL_MAX = 32
"""Digits: E.164 numbers have 15, private ones some more."""
SEPARATORS = str.maketrans("", "", "-.() \t")
"""RFC 3966 §5.1.1: visual separators of telephone numbers; and blanks, which people put between digits."""

TextTest = Callable[[str], bool]


def text_test(operator: str, value: str) -> TextTest:
    """Make the test of an operator."""
    return {"icontains": _ignore_case, "matches": _pattern, "tail": _tail}[operator](value)


def telephone_number(text: str) -> str:
    """Give the number in a telephone user or in the URI that has one, without separators and parameters."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in ("sip", "sips", "tel"):
        text = rest
    return text.partition("@")[0].partition(";")[0].partition(":")[0].translate(SEPARATORS)


def _ignore_case(value: str) -> TextTest:
    # Not lower(): ß and ss, or the two small sigmas, are the same without regard to case (Unicode, chapter 3.13).
    part = value.casefold()
    return lambda text: part in text.casefold()


def _pattern(value: str) -> TextTest:
    import re2  # only filters with a pattern need it

    if len(value) > PATTERN_MAX:
        raise ValueError(f"a pattern has at most {PATTERN_MAX} characters")
    options = re2.Options()
    options.max_mem = PATTERN_BYTES
    options.log_errors = False  # they would go to standard error, past the log
    try:
        search = re2.compile(value, options).search
    except re2.error as error:
        said = error.args[0]
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"not a pattern of RE2: {printable(reason, 120)}") from None
    return lambda text: search(text.encode("utf-8", "replace")) is not None


def _tail(value: str) -> TextTest:
    digits = value.translate(SEPARATORS)
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= TAIL_MAX):
        raise ValueError(f"tail needs 1 to {TAIL_MAX} digits in quotes, such as '5550100'")

    def ends_so(text: str) -> bool:
        number = telephone_number(text)
        return number.endswith(digits) and number.removeprefix("+").isdecimal() and number.isascii()

    return ends_so
