"""Holds what a node says of its own accord to its schemas."""

from __future__ import annotations

from collections.abc import Sequence

import jsonschema

from otus_core.model.described import describe
from otus_kafka.documents import Answer, Event, Heartbeat

from .client import Record

DOCUMENTS = {"answer": Answer, "heartbeat": Heartbeat, "event": Event}


def hold(records: Sequence[Record], kind: str) -> None:
    """See to it that there are records, and that each names its schema and is as it says; one more member is not."""
    validator = jsonschema.Draft202012Validator(describe(DOCUMENTS[kind]))
    assert records
    for record in records:
        assert record.headers["schema"] == f"urn:otus:schema:{kind}:1"
        validator.validate(record.json)
        assert not validator.is_valid({**record.json, "planted": 1})
