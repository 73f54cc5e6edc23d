"""Reads what nodes say, as anybody who may write to their topics can have written it: one odd record costs no other
node its row.

In: records. Out: heartbeats and answers by node, who has signed them, and notes on what was odd, one a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
from aiokafka import ConsumerRecord

from otus_core import printable
from otus_kafka import envelope
from otus_kafka.envelope import EVERYBODY, SIGNATURE_HEADER

NODES_MAX = 10_000
"""Nodes, as many as a file of keys may name: whoever can write to the topic may make names up."""
INSTANCES_MAX = 4
"""Processes of one name that are kept apart; more than two are hardly ever real."""
NOTES_MAX = 20
"""Of one command: as many lines as a reader looks at."""
SAID_MAX = 16 << 20
"""Bytes of a record: the status of a node with thousands of tasks; brokers themselves bound it much lower."""
DEPTH_MAX = 32
"""Nesting of what a node says: it is looked through by functions that call themselves."""
ODD = -32603
"""What JSON-RPC calls an internal error (§5.1): the node's answer is not what the command gives."""

Signed = Literal["yes", "no", "unknown"]


@attrs.frozen(kw_only=True)
class Said:
    """One record of a node. ``signed`` is ``unknown`` where there is no key to check a signature with."""

    node: str
    instance: str
    signed: Signed
    data: dict[str, Any]


class Notes:
    """What was odd: the first oddity of each node, and of so many nodes only."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._more = 0

    def add(self, node: str, text: str) -> None:
        """Note something about a node; ``node`` may be anything."""
        node = printable(node, 64) or "somebody"
        if node in self._first or len(self._first) >= NOTES_MAX:
            self._more += node not in self._first
            return
        self._first[node] = text

    def lines(self) -> list[str]:
        """Give the notes, one a line."""
        more = [f"and {self._more} more records of other nodes that are odd"] if self._more else []
        return [f"{node}: {text}" for node, text in self._first.items()] + more


class Reader:
    """Reads records, and checks signatures with the keys that there are."""

    def __init__(self, keys: Mapping[str, bytes], notes: Notes) -> None:
        self._keys = keys
        self._notes = notes

    def read(self, record: ConsumerRecord, what: str) -> Said | None:
        """Give what a record says, ``None`` where that cannot be used; ``what`` it should be is for the note."""
        value = record.value or b""
        said = envelope.parse_object(value) if len(value) <= SAID_MAX else None
        if said is None or _is_deep(said, DEPTH_MAX):
            name = bytes(record.key or b"").decode("utf-8", "replace")
            self._notes.add(name, f"a record that is no {what}, at offset {record.offset}")
            return None
        node, instance = said["source"], said.get("instance")
        signed = self._check_signature(node, value, dict(record.headers))
        if signed is None:
            self._notes.add(node, f"a forged {what}: its signature is not valid")
            return None
        named = printable(instance, 64) if isinstance(instance, str) else ""
        return Said(node=node, instance=named, signed=signed, data=said)

    def _check_signature(self, node: str, value: bytes, headers: Mapping[str, bytes]) -> Signed | None:
        """Say whether a node has signed a value, ``None`` for a signature that is wrong."""
        key = self._keys.get(node, self._keys.get(EVERYBODY))
        if key is None:
            return "unknown"
        if SIGNATURE_HEADER not in headers:
            return "no"
        return "yes" if envelope.is_signed(key, value, headers) else None


@attrs.define
class _Beats:
    """The heartbeats of one process."""

    last: Said
    first_offset: int
    last_offset: int


class Heartbeats:
    """The last heartbeat of each node, and the nodes that share a name."""

    def __init__(self, reader: Reader, notes: Notes) -> None:
        self._reader = reader
        self._notes = notes
        self._found: dict[str, dict[str, _Beats]] = {}

    def take(self, record: ConsumerRecord) -> None:
        """Take one record of the topic of heartbeats."""
        said = self._reader.read(record, "heartbeat")
        if said is None or (said.node not in self._found and len(self._found) >= NODES_MAX):
            return
        known = self._found.setdefault(said.node, {})
        beats = known.get(said.instance)
        if beats is not None:
            beats.last, beats.last_offset = said, record.offset
            return
        if len(known) >= INSTANCES_MAX:  # the one that was silent for the longest time has been restarted
            del known[min(known, key=lambda name: known[name].last_offset)]
        known[said.instance] = _Beats(said, record.offset, record.offset)

    def last(self) -> dict[str, dict[str, Any]]:
        """Give the last heartbeat of each node."""
        return {node: _latest(known).last.data for node, known in self._found.items()}

    def signs(self, node: str) -> bool:
        """Whether a node is known to sign what it says."""
        return any(beats.last.signed == "yes" for beats in self._found.get(node, {}).values())

    def namesakes(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Give, of each name that several processes use at the same time, the last heartbeat by process.

        One that was restarted has two as well, one after the other; of two at the same time each was heard of after the
        other began.
        """
        found = {}
        for node, known in self._found.items():
            latest = _latest(known)
            at_once = {name: b for name, b in known.items() if b is latest or b.last_offset > latest.first_offset}
            if len(at_once) > 1:
                found[node] = {name: beats.last.data for name, beats in at_once.items()}
        return found


def _latest(known: Mapping[str, _Beats]) -> _Beats:
    """Give the heartbeats of the process that began last."""
    return max(known.values(), key=lambda beats: beats.first_offset)


class Answers:
    """The answers to one request."""

    def __init__(self, reader: Reader, notes: Notes, heartbeats: Heartbeats, request_id: str, target: str) -> None:
        self._reader = reader
        self._notes = notes
        self._heartbeats = heartbeats
        self._request_id = request_id
        self._target = target
        self._found: dict[str, dict[str, Said]] = {}

    @property
    def nodes(self) -> set[str]:
        """Give the names of those that have answered."""
        return set(self._found)

    @property
    def is_sure(self) -> bool:
        """Whether no answer is still to be replaced by one that is signed."""
        return all(said.signed != "no" for known in self._found.values() for said in known.values())

    def take(self, record: ConsumerRecord) -> bool:
        """Take one record of the topic of answers; says whether it answers the request."""
        # Looked for in the bytes: reading all of a shared topic as JSON would take longer than the answers.
        if self._request_id.encode() not in (record.value or b""):
            return False  # somebody else's, as most are
        said = self._reader.read(record, "answer")
        if said is None or said.data.get("request_id") != self._request_id:
            return False
        if self._target not in (EVERYBODY, said.node):
            self._notes.add(said.node, f"it answered a command for {printable(self._target, 64)}")
            return False
        if said.signed == "no" and self._heartbeats.signs(said.node):
            self._notes.add(said.node, "an unsigned answer of a node that signs was put aside")
            return False
        return self._keep(attrs.evolve(said, data=_make_sound(said.data)))

    def _keep(self, said: Said) -> bool:
        """Keep an answer beside those of other processes with its name; one that is signed outdoes those
        that are not.
        """
        known = self._found.get(said.node, {})
        signed = {name: one for name, one in known.items() if one.signed == "yes"}
        if known and (said.signed == "yes") != bool(signed):
            self._notes.add(said.node, "an unsigned answer beside a signed one was put aside")
            if signed:
                return False
            known = {}
        if said.instance in known and not said.instance:
            self._notes.add(said.node, "it answered twice: do two nodes have this name?")
        if (not known and len(self._found) >= NODES_MAX) or (
            said.instance not in known and len(known) >= INSTANCES_MAX
        ):
            return False
        self._found[said.node] = {**known, said.instance: said}
        return True

    def by_label(self) -> dict[str, Said]:
        """Give the answers by node; further ones of the same name have their process behind it."""
        found = {}
        for node, known in sorted(self._found.items()):
            for n, (instance, said) in enumerate(known.items()):
                found[label(node, instance) if n else node] = said
                if n:
                    self._notes.add(node, f"several nodes have this name: {', '.join(known)}")
        return found

    def instances(self, node: str) -> set[str]:
        """Give the processes that have answered in a node's name."""
        return set(self._found.get(node, ()))


def label(node: str, instance: str) -> str:
    """Name one of several processes that use a name."""
    return f"{node}#{instance or 'unknown'}"


def _make_sound(data: dict[str, Any]) -> dict[str, Any]:
    """Give an answer that holds either an error with a message or a result with keys, whatever it was."""
    if "error" in data:
        problem = data["error"]
        if isinstance(problem, dict) and isinstance(problem.get("message"), str):
            return data
        return {**data, "error": {"code": ODD, "message": "odd answer: an error without a message"}}
    if isinstance(data.get("result"), dict):
        return data
    return {**data, "error": {"code": ODD, "message": "odd answer: neither a result nor an error"}}


def _is_deep(value: object, left: int) -> bool:
    if isinstance(value, dict):
        return left == 0 or any(_is_deep(inner, left - 1) for inner in value.values())
    if isinstance(value, list):
        return left == 0 or any(_is_deep(inner, left - 1) for inner in value)
    return False
