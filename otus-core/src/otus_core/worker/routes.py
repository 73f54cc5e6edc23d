"""What components hand to the worker that owns a key.

In: ``context.route(key, message)`` of a component. Out: a plain call where this worker owns the key; else a packed
message in the box of the worker that does, which is emptied every few milliseconds.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any

from otus_core.model.accounts import Accounts
from otus_core.model.counter_names import name_of

MESSAGE_MAX = 65536
"""Bytes of one message: it is to be a summary."""
BOX_MAX = 16384
"""Messages for one worker between two sendings, 10 ms apart."""


class Routes:
    """One worker's side: who owns a key, and what is on its way to the others.

    ``secret`` is the task's, so that no packet can choose its worker.
    """

    def __init__(self, shard: int, shards: int, secret: bytes, accounts: Accounts) -> None:
        self._shard = shard
        self._shards = shards
        self._secret = secret
        self._accounts = accounts
        self._boxes: dict[int, list[bytes]] = {}
        self._counts: dict[int, dict[str, int]] = {}

    def owner(self, key: str) -> int:
        """Give the worker that owns a key."""
        if self._shards == 1:
            return 0
        # Bytes of a packet that are no UTF-8 are lone surrogates in its texts (PEP 383).
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest, "little") % self._shards

    def opened(self, name: str, component: Any) -> Callable[[str, Any], None]:
        """Give ``context.route`` of a component; ``name`` is its kind and id, ``processor:calls``."""

        def route(key: str, message: Any) -> None:
            if type(key) is not str:
                raise TypeError(f"the key of a routed message is {type(key).__name__}, not text")
            owner = self.owner(key)
            if owner == self._shard:
                component.on_route(key, message)
            else:
                self._send(owner, name, key, message)

        return route

    def _send(self, owner: int, name: str, key: str, message: Any) -> None:
        # marshal, not pickle: reading it runs nothing, and makes nothing but plain values.
        packed = marshal.dumps((name, key, message))  # ValueError for what is no plain value
        if len(packed) > MESSAGE_MAX:
            raise ValueError(f"a routed message of {len(packed)} bytes; at most {MESSAGE_MAX} may be sent")
        box = self._boxes.setdefault(owner, [])
        if len(box) >= BOX_MAX:
            self._accounts.add(name_of("routed_lost", name))
            return
        box.append(packed)
        counts = self._counts.setdefault(owner, {})
        counts[name] = counts.get(name, 0) + 1
        self._accounts.add(name_of("routed", name))

    def send_all(self, send: Callable[[int, dict[str, int], bytes], bool]) -> None:
        """Empty the boxes: ``send`` is given, for each worker, how many messages of which component there are, and the
        messages packed. What it does not take, and says so with false, is lost.
        """
        boxes, counts = self._boxes, self._counts
        self._boxes, self._counts = {}, {}
        for owner, box in boxes.items():
            if not send(owner, counts[owner], marshal.dumps(box)):
                self.lose(counts[owner])

    def lose(self, counts: Mapping[str, int]) -> None:
        """Count messages that did not arrive."""
        for name, n in counts.items():
            self._accounts.add(name_of("routed_lost", name), n)


def unpack(packed: bytes) -> Iterable[tuple[str, str, Any]]:
    """Give component, key and message of each message in a packed box."""
    for one in marshal.loads(packed):
        yield marshal.loads(one)
