"""What the page holds of calls: as little as it shows, so that thousands of calls make a page of some megabytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from otus_calls.commands import words
from otus_calls.commands.finding import Numbered
from otus_calls.commands.lifelines import Arrow, arrows
from otus_calls.times import nanoseconds

BUCKETS = 60
"""Points of a chart."""
MILLI_NS, MICRO_NS = 1_000_000, 1000
GOOD, BAD = ("completed", "in call"), ("failed", "no reply", "lost")
STREAM_COLUMNS = ("sender", "from", "to", "codec", "packets", "lost", "jitter ms", "MOS", "seconds")
KINDS = {"36": "request", "32": "good", "31": "bad", "33": "odd"}
"""From the colours of a terminal to those of the page."""

RawMessages = Mapping[tuple[int, str, int, str, int], bytes]


def content_of(calls: Sequence[Numbered], title: str, raw: RawMessages) -> dict[str, Any]:
    """Give all that the page needs, as JSON can hold it. ``calls`` are in the order of their numbers."""
    starts = [nanoseconds(one.facts["start"]) for one in calls]
    return {
        "title": title,
        "about": _about(calls),
        "good": GOOD,
        "bad": BAD,
        "days": len({words.date(one.facts["start"]) for one in calls}),
        "figures": _figures([one.facts for one in calls]),
        **_charts(calls, starts),
        "streamColumns": STREAM_COLUMNS,
        "calls": [_call(one, at, raw) for one, at in zip(calls, starts, strict=True)],
    }


def _about(calls: Sequence[Numbered]) -> str:
    first, last = calls[0].facts["start"], max(one.facts["end"] or one.facts["start"] for one in calls)
    return f"{words.date(first)} {words.clock(first, 0)[:8]} to {words.date(last)} {words.clock(last, 0)[:8]} UTC"


def _figures(calls: Sequence[words.Facts]) -> list[tuple[str, str]]:
    answered = [facts for facts in calls if facts["answer"]]
    talked = [facts["talk"] for facts in answered if facts["talk"] is not None]
    delays = sorted(facts["pdd"] for facts in calls if facts["pdd"] is not None)
    scores = [facts["mos"] for facts in calls if facts["mos"] is not None]
    mean = sum(scores) / len(scores) if scores else None
    return [
        ("calls", f"{len(calls):,}"),
        ("answered", f"{len(answered):,} ({100 * len(answered) / len(calls):.0f} %)"),
        ("with problems", f"{sum(map(words.is_problem, calls)):,}"),
        ("mean talk time", words.minutes(sum(talked) / len(talked) if talked else None)),
        ("median post-dial delay", f"{delays[len(delays) // 2]:.2f} s" if delays else words.NOTHING),
        ("mean MOS", words.number(mean)),
        ("lowest MOS", words.number(min(scores, default=None))),
    ]


def _charts(calls: Sequence[Numbered], starts: Sequence[int]) -> dict[str, Any]:
    """Give figures over time, each interval's own."""
    first, last = min(starts), max(starts)
    step = max(1_000_000_000, (last - first) // BUCKETS + 1)
    count = (last - first) // step + 1
    held: list[list[words.Facts]] = [[] for _ in range(count)]
    for one, at in zip(calls, starts, strict=True):
        held[(at - first) // step].append(one.facts)
    if count == 1:
        return {"buckets": [], "charts": []}
    every = [len(one) for one in held]
    failed = [sum(map(words.is_problem, one)) for one in held]
    scores = [[facts["mos"] for facts in one if facts["mos"] is not None] for one in held]
    streams = [[stream for facts in one for stream in facts["media"]] for one in held]
    jitter = [_mean([one["jitter_ms"]["mean"] for one in each]) for each in streams]
    loss = [_mean([one["loss_pct"] for one in each]) for each in streams]
    charts: list[tuple[Any, ...]] = [
        (
            "calls",
            [("calls", every, "var(--request)", True), ("with problems", failed, "var(--bad)", True)],
            max(every),
            "",
        ),
    ]
    if any(scores):
        series = [("mean", [_mean(one) for one in scores], "var(--request)", False)]
        series.append(("lowest", [min(one, default=None) for one in scores], "var(--odd)", False))
        charts.append(("MOS", series, 5, ""))
    for title, values, unit in (("jitter in ms, mean", jitter, "ms"), ("loss in %, mean", loss, "%")):
        most = max((value for value in values if value is not None), default=None)
        if most is not None:
            charts.append((title, [(title.partition(" ")[0], values, "var(--request)", False)], max(most, 1), unit))
    moments = [datetime.fromtimestamp((first + n * step) // 1_000_000_000, UTC) for n in range(count)]
    dated = len({moment.date() for moment in moments}) > 1
    return {
        "buckets": [f"{moment:%m-%d %H:%M}" if dated else f"{moment:%H:%M:%S}" for moment in moments],
        "charts": charts,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 3) if known else None


def _call(one: Numbered, at: int, raw: RawMessages) -> dict[str, Any]:
    facts, drawn = one.facts, arrows([one.facts])
    by_port = any(arrow.src[0] == arrow.dst[0] for arrow in drawn)
    ends = dict.fromkeys(end if by_port else (end[0], 0) for arrow in drawn for end in (arrow.src, arrow.dst))
    place = {end: n for n, end in enumerate(ends)}
    names = _host_names(drawn, ends, by_port)
    return {
        "n": one.number,
        "id": facts["call_id"],
        "at": at // MILLI_NS,
        "parties": words.parties(facts),
        "state": words.state(facts),
        **{name: facts[name] for name in ("code", "pdd", "setup", "talk", "mos")},
        "media": words.media(facts["media"]),
        "flags": [(flag["flag"], flag["evidence"]) for flag in facts["flags"]],
        "problem": words.is_problem(facts),
        "agents": " ".join(filter(None, (facts["caller"]["agent"], facts["callee"]["agent"]))),
        "facts": [(name, value) for name, value in _list_facts(facts) if value not in (None, "", words.NOTHING)],
        "hosts": names,
        "arrows": [_arrow(arrow, at // MILLI_NS * MILLI_NS, place, by_port, raw) for arrow in drawn],
        "streams": [_stream(stream) for stream in facts["media"]],
    }


def _host_names(drawn: Sequence[Arrow], ends: Mapping[tuple[str, int], None], by_port: bool) -> list[str]:
    ports: dict[str, Counter[int]] = {}
    for arrow in drawn:
        for ip, port in () if arrow.media else (arrow.src, arrow.dst):
            ports.setdefault(ip, Counter())[port] += 1
    names = []
    for ip, port in ends:
        only = next(iter(ports.get(ip, ())), 0) if len(ports.get(ip, ())) == 1 else 0
        names.append(words.host(ip, port or only) if by_port or only else ip)
    return names


def _arrow(
    arrow: Arrow, began: int, place: Mapping[tuple[str, int], int], by_port: bool, raw: RawMessages
) -> list[Any]:
    ends = [place[end if by_port else (end[0], 0)] for end in (arrow.src, arrow.dst)]
    kind = "media" if arrow.media else KINDS.get(arrow.colour, "")
    told: list[Any] = [(arrow.at - began) // MICRO_NS, *ends, arrow.label, kind, arrow.below, arrow.dim]
    if arrow.message is not None and raw:
        text = raw.get((arrow.at, *arrow.src, *arrow.dst))
        told.append(None if text is None else text.decode("utf-8", "backslashreplace"))
    return told


def _list_facts(facts: words.Facts) -> list[tuple[str, Any]]:
    code = None if facts["code"] is None else f"{facts['code']} {facts['reason'] or ''}".rstrip()
    return [
        ("Call-ID", facts["call_id"]),
        ("state", words.state(facts)),
        ("response", code),
        ("start", facts["start"]),
        ("from", (facts["from"] or {}).get("uri")),
        ("to", (facts["to"] or {}).get("uri")),
        ("caller", f"{words.end(facts['caller'])} {facts['caller']['agent'] or ''}".strip()),
        ("callee", f"{words.end(facts['callee'])} {facts['callee']['agent'] or ''}".strip()),
        ("post-dial delay", words.number(facts["pdd"], 3)),
        ("setup", words.number(facts["setup"], 3)),
        ("talk", words.minutes(facts["talk"])),
        ("hung up by", facts["hangup_by"]),
        ("Reason", facts["reason_header"]),
        ("Warning", facts["warning"]),
        ("other legs", ", ".join(str(leg["call_id"]) for leg in facts["legs"])),
        ("messages left out", facts["messages_cut"] or None),
    ]


def _stream(one: Mapping[str, Any]) -> list[str]:
    return [
        str(one["by"] or words.NOTHING),
        words.host(one["src"], one["sport"]),
        words.host(one["dst"], one["dport"]),
        str(one["codec"] or "?") + (" (SRTP)" if one["encrypted"] else ""),
        f"{one['packets']:,}",
        f"{one['lost']:,} ({one['loss_pct']:.1f} %)",
        words.number(one["jitter_ms"]["mean"], 1),
        words.number(one["mos"]),
        words.number(one["duration"], 1),
    ]
