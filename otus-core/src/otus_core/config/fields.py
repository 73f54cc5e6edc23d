"""How a configuration field is defined: default, help, bounds, choices and secrecy in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, dataclass_transform

import attrs

from otus_core.values import frozen

OPTION = "otus"
"""Key of the field's metadata that holds its ``Option``."""


class DurationMark:
    """Marks a float field that also takes ``"500ms"``, ``"3s"``, ``"5m"``, ``"24h"``, ``"7d"``; the value is in
    seconds.
    """


Duration = Annotated[float, DurationMark]


@frozen(kw_only=True, eq=False)
class Option:
    """What is known of a field beside its name, type and default.

    Bounds of a list or tuple field hold for each of its items.
    """

    help: str = ""
    ge: float | None = None
    le: float | None = None
    gt: float | None = None
    lt: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    choices: tuple[Any, ...] = ()
    secret: bool = False
    secret_file: bool = False
    alias: str | None = None
    example: Any = None


def option(
    *,
    default: Any = attrs.NOTHING,
    factory: Any = None,
    help: str = "",
    ge: float | None = None,
    le: float | None = None,
    gt: float | None = None,
    lt: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    choices: Sequence[Any] = (),
    secret: bool = False,
    secret_file: bool = False,
    alias: str | None = None,
    example: Any = None,
) -> Any:
    """Define a configuration field; without ``default`` or ``factory`` it is required.

    ``alias`` is another spelling of the key that is accepted too; a ``secret`` is never shown. A ``secret_file`` names
    a file that holds secrets: Otus warns when others can read it. An ``example`` is the value that samples of task
    files give the field, as plain data; give one where there is no default, or where some field of several is needed.
    """
    about = Option(
        help=help,
        ge=ge,
        le=le,
        gt=gt,
        lt=lt,
        min_length=min_length,
        max_length=max_length,
        pattern=pattern,
        choices=tuple(choices),
        secret=secret,
        secret_file=secret_file,
        alias=alias,
        example=example,
    )
    if factory is not None:
        return attrs.field(factory=factory, metadata={OPTION: about}, repr=not secret)
    return attrs.field(default=default, metadata={OPTION: about}, repr=not secret)


@dataclass_transform(field_specifiers=(option,), kw_only_default=True, frozen_default=True)
def configuration(cls: type) -> type:
    """Make a class of ``option`` fields a configuration class: a frozen, keyword-only attrs class."""
    return attrs.frozen(kw_only=True)(cls)
