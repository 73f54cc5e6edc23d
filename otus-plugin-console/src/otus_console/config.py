"""The reporter's configuration."""

from __future__ import annotations

from typing import Literal

from otus_core import configuration, option


@configuration
class ConsoleConfig:
    """How messages are printed."""

    format: Literal["text", "json"] = option(default="text", help="text: a line for people; json: an object a line")
    color: Literal["auto", "always", "never"] = option(
        default="auto", help="Colour in text; auto: on a terminal, unless NO_COLOR is set"
    )
    time: Literal["local", "utc"] = option(default="local", help="Time zone of the time in text; JSON is always UTC")
