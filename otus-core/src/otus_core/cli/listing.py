"""What ``otus plugins list`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from otus_core.process.terminal import is_coloured

if TYPE_CHECKING:
    from otus_core.cli.session import Session
    from otus_core.plugins.records import PluginRecord

TITLES = {
    "capturer": "Capturers",
    "parser": "Parsers",
    "processor": "Processors",
    "reporter": "Reporters",
    "command_channel": "Command channels",
}
# SGR parameters (ECMA-48 §8.3.117).
BOLD, RED, DIM, PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m"


def listing(session: Session, kind: str | None = None, *, as_json: bool = False, no_import: bool = False) -> str:
    """Give the list as a table, or as one JSON array with an object a component."""
    rows = [row for record in _records(session, no_import) for row in record.rows()]
    rows = [row for row in rows if kind is None or row["kind"] in (kind, None)]
    if not as_json:
        return _table(rows, is_coloured())
    import json

    return json.dumps(rows, indent=2) + "\n"


def _records(session: Session, no_import: bool) -> Sequence[PluginRecord]:
    if no_import:
        from otus_core.plugins.discovery import find

        return find(session.selection)
    from otus_core.plugins.survey import survey

    return survey(session.selection, again=True).records


def _table(rows: Iterable[dict[str, Any]], coloured: bool) -> str:
    rows = list(rows)
    bold, red, dim, plain = (BOLD, RED, DIM, PLAIN) if coloured else ("", "", "", "")
    good = [row for row in rows if row["state"] in ("ready", "found")]
    widths = [max((len(_cell(row, i)) for row in rows), default=0) for i in range(3)]
    lines: list[str] = []
    for kind, title in (*TITLES.items(), (None, "Installed")):
        chosen = [row for row in good if row["kind"] == kind]
        if chosen:
            lines.append(f"{bold}{title}{plain}")
            lines += [f"  {_cells(row, widths)}  {dim}{_about(row)}{plain}".rstrip() for row in chosen]
            lines.append("")
    for state, title in (("failed", "Broken"), ("disabled", "Disabled")):
        chosen = [row for row in rows if row["state"] == state]
        if chosen:
            lines.append(f"{bold}{red if state == 'failed' else ''}{title}{plain}")
            for row in chosen:
                what = f"{row['stage']}: {row['reason']}" if state == "failed" else row["reason"]
                lines += [f"  {_cells(row, widths)}  {what}", f"  {dim}→ {row['remedy']}{plain}"]
            lines.append("")
    return "\n".join(lines)


def _cell(row: dict[str, Any], i: int) -> str:
    text: str = (row["name"], row["distribution"], row["version"])[i]
    return text


def _cells(row: dict[str, Any], widths: Sequence[int]) -> str:
    return "  ".join(f"{_cell(row, i):<{widths[i]}}" for i in range(3))


def _about(row: dict[str, Any]) -> str:
    mark = row["deprecation"] or (row["stability"] if row["stability"] == "experimental" else "")
    return f"{row['summary']} ({mark})" if mark else str(row["summary"])
