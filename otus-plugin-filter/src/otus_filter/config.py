"""The processors' configurations. Expressions are compiled once here, so that a wrong one is refused with the task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from otus_core import ConfigInvalid, ConfigProblem, configuration, option

# A message that no rule matches is compared with all of them; the values of one rule are looked up in a set.
RULES_MAX = 64
VALUES_MAX = 1000
LABELS_MAX = 64
LABEL_NAME = r"[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)*"
# As in the language (``grammar.LABEL_MAX``).
NAME_MAX = 128
VALUE_MAX = 1024
"""Characters of a label's value: it becomes a Kafka header."""


@configuration
class Rule:
    """What to do with messages whose label has one of a few values."""

    label: str = option(help="Name of the label", min_length=1, max_length=NAME_MAX)
    values: tuple[str | int, ...] = option(
        help="Values that match: text as it is, an integer as a number", min_length=1, max_length=VALUES_MAX
    )
    action: Literal["keep", "drop"] = option(help="The fate of a message that matches")


@configuration
class FilterConfig:
    """Rules, then ``drop_if``, then ``keep_if``; what none of them decides is kept, unless there is a ``keep_if``."""

    rules: tuple[Rule, ...] = option(default=(), help="Rules; the first that matches decides", max_length=RULES_MAX)
    drop_if: str | None = option(
        default=None, help="Drop what matches this expression, such as sip.method == 'OPTIONS'"
    )
    keep_if: str | None = option(default=None, help="Keep what matches this expression, and drop all else")

    def __attrs_post_init__(self) -> None:
        """Refuse expressions that cannot be read. Raises ConfigInvalid."""
        problems = [*_unreadable("drop_if", self.drop_if), *_unreadable("keep_if", self.keep_if)]
        if problems:
            raise ConfigInvalid(problems)

    def labels_read(self) -> Iterator[tuple[str, str]]:
        """Give the labels that are asked for, each with the key that names it."""
        yield from ((f"rules[{i}].label", rule.label) for i, rule in enumerate(self.rules))
        yield from _labels_of("drop_if", self.drop_if)
        yield from _labels_of("keep_if", self.keep_if)


@configuration
class LabelConfig:
    """Labels that messages get. A label that is there already is replaced; what the node lacks is left out."""

    when: str | None = option(default=None, help="Add them only to messages that match this expression")
    labels: dict[str, str] = option(factory=dict, help="Labels with their values", max_length=LABELS_MAX)
    hostname: str | None = option(
        default=None, help="Label for the node's host name", pattern=LABEL_NAME, max_length=NAME_MAX
    )
    node_ip: str | None = option(
        default=None, help="Label for the node's address", pattern=LABEL_NAME, max_length=NAME_MAX
    )
    tags: dict[str, str] = option(
        factory=dict, help="The node's tags that become labels: tag to label", max_length=LABELS_MAX
    )

    def __attrs_post_init__(self) -> None:
        """Refuse labels that cannot be: names, values, and one name given twice. Raises ConfigInvalid."""
        import re

        problems = [*_unreadable("when", self.when)]
        names = [("labels", name) for name in self.labels] + [(f"tags.{tag}", name) for tag, name in self.tags.items()]
        for path, name in names:
            if len(name) > NAME_MAX or not re.fullmatch(LABEL_NAME, name):
                problems.append(ConfigProblem(path, f"{name[:40]!r} is no label name: write it like node.site"))
        for name, value in self.labels.items():
            if not 0 < len(value) <= VALUE_MAX or not value.isprintable():
                problems.append(
                    ConfigProblem(f"labels.{name[:40]}", f"must be 1 to {VALUE_MAX} characters that can be printed")
                )
        given = [*names, ("hostname", self.hostname), ("node_ip", self.node_ip)]
        seen: set[str | None] = {None}
        for path, target in given:
            if target is not None and target in seen:
                problems.append(ConfigProblem(path, f"label {target[:40]!r} is given twice"))
            seen.add(target)
        if problems:
            raise ConfigInvalid(problems)

    def labels_added(self) -> tuple[str, ...]:
        """Give the labels that messages may get."""
        given = (*self.labels, *self.tags.values(), self.hostname, self.node_ip)
        return tuple(label for label in given if label)

    def labels_read(self) -> Iterator[tuple[str, str]]:
        """Give the labels that are asked for, each with the key that names it."""
        yield from _labels_of("when", self.when)


def _unreadable(key: str, text: str | None) -> Iterator[ConfigProblem]:
    """Say what is wrong with an expression, if anything is."""
    from otus_filter.grammar import parse
    from otus_filter.tokens import FilterSyntaxError

    try:
        if text is not None:
            parse(text)
    except FilterSyntaxError as error:
        yield ConfigProblem(key, str(error))


def _labels_of(key: str, text: str | None) -> Iterator[tuple[str, str]]:
    """Give the labels that an expression looks at, each with the key."""
    from otus_filter.grammar import labels_in, parse

    if text is not None:
        yield from ((key, label) for label in dict.fromkeys(labels_in(parse(text))))
