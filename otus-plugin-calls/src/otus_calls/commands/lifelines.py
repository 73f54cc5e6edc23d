"""The ladder of a call as text: a lifeline for each host, an arrow for each message and each media stream.

In: the record of a call, or of several whose messages are to be seen together, and a width. Out: lines, none longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from otus_calls.commands import words
from otus_calls.commands.terminal import BAD, BOLD, DIM, GOOD, ODD, paint
from otus_calls.times import nanoseconds
from otus_core import columns_of, fit, printable

NANO = 1_000_000_000
LEFT = 22
"""Columns for the time and how long after the line before."""
MARGIN = 2
"""Columns beside the outermost lifelines at least; half of their names, where they are not letters."""
APART_LEAST, APART_MOST = 24, 60
"""Columns from one lifeline to the next: an arrow with ``200 OK (INVITE)`` in it, and where longer ones help nobody."""
UNBOUND = 140
"""Columns of a ladder that goes into a pipe, or to a wider terminal."""
MEDIA_HOSTS_MAX = 2
"""Hosts that send media and no message and get lifelines of their own."""
REQUEST = "36"


@attrs.frozen
class Arrow:
    """Something that went from one host to another. ``below`` are lines under it, ``media`` whether it is a stream."""

    at: int
    src: tuple[str, int]
    dst: tuple[str, int]
    label: str
    colour: str = ""
    below: tuple[str, ...] = ()
    media: bool = False
    dim: bool = False
    message: Mapping[str, Any] | None = None


Raw = Callable[[Mapping[str, Any]], Iterable[str]]


def arrows(calls: Sequence[words.Facts]) -> list[Arrow]:
    """Give the messages and streams of calls in the order of their time."""
    found = [_message(one) for facts in calls for one in facts["messages"]]
    streams = {_identity(one): one for facts in calls for one in facts["media"] if one["first"]}
    found += [_stream(one) for one in streams.values()]
    return sorted(found, key=lambda arrow: (arrow.at, arrow.media))


def _identity(stream: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give what a stream is told apart by: two legs may share it."""
    return tuple(stream[name] for name in ("src", "sport", "dst", "dport", "ssrc", "first"))


def label_of(message: Mapping[str, Any]) -> str:
    """Give a message in a few words: ``INVITE``, ``200 OK (BYE)``."""
    if message["status"] is None:
        return printable(message["method"], 32)
    of = "" if message["method"] == "INVITE" else f" ({message['method']})"
    return printable(f"{message['status']} {message['reason'] or ''}".rstrip() + of, 48)


def lines_of_sdp(lines: Sequence[Mapping[str, Any]] | None) -> tuple[str, ...]:
    """Give a session description in a few words for each of its media lines."""
    told = []
    for one in lines or ():
        where = f"{one['address'] or '?'}:{one['port']}" if one["port"] else "refused"
        way = "" if one["direction"] == "sendrecv" else f" {one['direction']}"
        told.append(printable(f"{one['media']} {where} {','.join(one['codecs'])}{way}", 160))
    return tuple(told)


def _message(one: Mapping[str, Any]) -> Arrow:
    again = " ↻ again" if one["retransmission"] else " ≡ copy" if one["duplicate"] else ""
    below = list(lines_of_sdp(one["sdp"]))
    below += [printable(f"Refer-To: {one['refer_to']}", 160)] if one["refer_to"] else []
    below += [printable(f"Reason: {one['reason_header']}", 160)] if one["reason_header"] else []
    return Arrow(
        one["time_ns"],
        (one["src"], one["sport"]),
        (one["dst"], one["dport"]),
        label_of(one) + again,
        _colour(one["status"]),
        tuple(below),
        dim=bool(again),
        message=one,
    )


def _colour(status: int | None) -> str:
    if status is None:
        return REQUEST
    return "" if status < 200 else GOOD if status < 300 else ODD if status < 400 or status in (401, 407) else BAD


def _stream(one: Mapping[str, Any]) -> Arrow:
    told = [f"RTP {one['codec'] or '?'} {one['packets']:,}"]
    told += [f"{one['loss_pct']:.1f} % lost"] if one["lost"] else []
    told += [f"MOS {one['mos']:.2f}"] if one["mos"] is not None else []
    first = nanoseconds(one["first"])
    below = (
        f"{one['duration']:.1f} s, port {one['sport']} → {one['dport']}, {'SRTP, ' * one['encrypted']}{one['ssrc']}",
    )
    ends = ((one["src"], one["sport"]), (one["dst"], one["dport"]))
    return Arrow(first, *ends, printable(", ".join(told), 60), below=below, media=True)


class Ladder:
    """Lays out lifelines for ``width`` columns, 0 for as many as are good to read, and draws."""

    def __init__(self, found: Sequence[Arrow], width: int, colours: bool = False) -> None:
        self._arrows = found
        self._width = min(width, UNBOUND) if width else UNBOUND
        self._colours = colours
        self._by_port = any(arrow.src[0] == arrow.dst[0] for arrow in found)
        self._hosts = self._choose_hosts()
        whole = {key: self._whole_name(key) for key in self._hosts}
        longest = max((columns_of(name) for name in whole.values()), default=0)
        self._margin = max(MARGIN, longest // 2)
        self._names, self._legend = whole, []
        if longest + 2 > self._apart or not self._fits(len(self._hosts)):
            self._margin = MARGIN
            self._names = {key: _letter(n) for n, key in enumerate(self._hosts)}
            self._legend = [f"{self._names[key]} = {name}" for key, name in whole.items()]
        self.drawn = self._fits(len(self._hosts))
        """Whether there is room for lifelines; without it, each line names its hosts."""

    def _key(self, end: tuple[str, int]) -> tuple[str, int]:
        return end if self._by_port else (end[0], 0)

    def _choose_hosts(self) -> list[tuple[str, int]]:
        """Give the hosts in the order in which they speak, those with media alone behind."""
        signalling = dict.fromkeys(
            self._key(end) for one in self._arrows if not one.media for end in (one.src, one.dst)
        )
        others = dict.fromkeys(self._key(end) for one in self._arrows if one.media for end in (one.src, one.dst))
        alone = [key for key in others if key not in signalling]
        if not signalling or (len(alone) <= MEDIA_HOSTS_MAX and self._fits(len(signalling) + len(alone), MARGIN)):
            return [*signalling, *alone]
        return list(signalling)

    @property
    def _apart(self) -> int:
        """Columns from one lifeline to the next."""
        return self._apart_of(len(self._hosts), self._margin)

    def _apart_of(self, count: int, margin: int) -> int:
        return min(APART_MOST, (self._width - LEFT - 2 * margin - 1) // max(1, count - 1))

    def _fits(self, count: int, margin: int | None = None) -> bool:
        return count > 1 and self._apart_of(count, self._margin if margin is None else margin) >= APART_LEAST

    def _whole_name(self, key: tuple[str, int]) -> str:
        ports = {end[1] for one in self._arrows if not one.media for end in (one.src, one.dst) if self._key(end) == key}
        return words.host(key[0], next(iter(ports))) if len(ports) == 1 else key[0]

    def lines(self, raw: Raw | None = None) -> Iterator[str]:
        """Give the lines; ``raw`` gives those of a message itself, which stand below its arrow as they are."""
        yield from (fit(line, self._width) for line in self._legend)
        if self.drawn:
            yield paint(fit(" " * LEFT + self._heads(), self._width).rstrip(), BOLD, self._colours)
        before: int | None = None
        for arrow in self._arrows:
            yield self._times(arrow.at, before) + self._draw(arrow)
            before = arrow.at
            yield from (self._note(arrow, text) for text in arrow.below)
            if raw is not None and arrow.message is not None:
                yield from raw(arrow.message)

    def _times(self, at: int, before: int | None) -> str:
        seconds, rest = divmod(at, NANO)
        clock = f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}.{rest // 1_000_000:03}"
        text = clock if before is None else f"{clock} {_delta(at - before)}"
        return text.ljust(LEFT)

    def _place(self, key: tuple[str, int]) -> int:
        return self._margin + self._hosts.index(key) * self._apart

    def _heads(self) -> str:
        line = ""
        for key in self._hosts:
            name = self._names[key]
            line = line.ljust(self._place(key) - columns_of(name) // 2) + name
        return line

    def _bare(self) -> list[str]:
        """Give the lifelines without anything between them."""
        cells = [" "] * (self._margin + (len(self._hosts) - 1) * self._apart + 1)
        for key in self._hosts:
            cells[self._place(key)] = "│"
        return cells

    def _draw(self, arrow: Arrow) -> str:
        src, dst = self._key(arrow.src), self._key(arrow.dst)
        colour = DIM if arrow.dim else arrow.colour
        if not self.drawn or src not in self._hosts or dst not in self._hosts or src == dst:
            sign = "⇒" if arrow.media else "→"
            text = f"{self._name(arrow, arrow.src)} {sign} {self._name(arrow, arrow.dst)}  {arrow.label}"
            text = fit(text, self._width - LEFT)
            return paint(text, colour, self._colours)
        cells = self._bare()
        left, right = sorted((self._place(src), self._place(dst)))
        line = "═" if arrow.media else "╌" if arrow.dim else "─"
        body = f"{line} {fit(arrow.label, right - left - 6)} "
        body += line * (right - left - 2 - columns_of(body))
        drawn = f"{body}▶" if self._place(src) < self._place(dst) else f"◀{body}"
        inside = paint(drawn, colour, self._colours)
        return "".join(cells[: left + 1]) + inside + "".join(cells[right:]).rstrip()

    def _name(self, arrow: Arrow, end: tuple[str, int]) -> str:
        """Give a host's name where there is no lifeline for it: a stream's ports are those of the stream."""
        name = self._names.get(self._key(end))
        return name if name and (self._legend or not arrow.media) else words.host(*end)

    def _note(self, arrow: Arrow, text: str) -> str:
        """Give a line under an arrow, from its left end on."""
        src, dst = self._key(arrow.src), self._key(arrow.dst)
        if not self.drawn or src not in self._hosts or dst not in self._hosts:
            return fit(" " * (LEFT + 4) + text, self._width)
        left, right = sorted((self._place(src), self._place(dst)))
        cells = self._bare()
        # What does not fit between two lifelines goes on to the right, over the others.
        room = max(right - left - 3, self._width - LEFT - left - 4)
        shown = fit(text, room)
        behind = left + 3 + columns_of(shown)
        tail = "".join(cells[behind:]).rstrip()
        return " " * LEFT + "".join(cells[: left + 1]) + "  " + paint(shown, DIM, self._colours) + tail


def _delta(passed: int) -> str:
    seconds = passed / NANO
    return f"+{seconds:.3f}" if seconds < 1000 else f"+{seconds:.0f}"


def _letter(n: int) -> str:
    return chr(ord("A") + n) if n < 26 else f"A{n}"
