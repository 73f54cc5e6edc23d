"""What the payload ``dns`` holds."""

from __future__ import annotations

from typing import Annotated, TypedDict


class Answer(TypedDict):
    """A record of the answer section."""

    name: str
    type: str
    ttl: Annotated[int, "seconds"]


class Message(TypedDict):
    """A query, or the answer to one."""

    id: int
    name: str
    qtype: int
    answers: list[Answer]
