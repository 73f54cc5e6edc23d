"""The screen of ``otus top``: the tasks, what the chosen one is busy with, and what it reports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from otus_core.cli.top.board import COLUMNS, SORTS, Board
from otus_core.cli.top.lookout import Poller, Tapping
from otus_core.errors import OtusError
from otus_core.model.table import table_lines
from otus_core.model.text import fit, printable

DRAW_EVERY_S = 0.25
"""Answers come once a second at the most often; keys are answered at once."""
AGAIN_S = 5.0
"""How often it is tried to look in on a task that does not run."""
HELP = "↑↓ choose  t tap  s sort  r reverse  space pause  q quit"
HEAD_LINES = 1


class TapScreen(Screen[None]):
    """What one task reports, live."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace,left,t", "app.pop_screen"),
        Binding("q,ctrl+c", "app.quit"),
    ]

    def __init__(self, path: Path, task_id: str, columns: int) -> None:
        super().__init__()
        self._task_id = task_id
        self._tapping = Tapping(path, task_id, columns=columns)
        self._body = Static(markup=False)
        self._foot = Static(markup=False)
        self._drawn = -1

    def compose(self) -> ComposeResult:
        """Give the parts of the screen."""
        with VerticalScroll():
            yield self._body
        yield self._foot

    def on_mount(self) -> None:
        """Begin to draw."""
        self.query_one(VerticalScroll).focus()
        self.set_interval(DRAW_EVERY_S, self._draw)

    def on_unmount(self) -> None:
        """Look no more."""
        self._tapping.stop()

    def _draw(self) -> None:
        tapping = self._tapping
        said = printable(tapping.ended, 200) or "live"
        self._foot.update(fit(f"{self._task_id}: {said}  esc back  ↑↓ scroll  q quit", self.size.width))
        if tapping.news == self._drawn:
            return
        self._drawn = tapping.news
        scroll = self.query_one(VerticalScroll)
        if scroll.scroll_offset.y >= scroll.max_scroll_y:  # whoever is at the end stays there
            self.call_after_refresh(scroll.scroll_end, animate=False)
        self._body.update("\n".join(fit(line, max(20, self.size.width - 2)) for line in list(tapping.lines)))


class TopApp(App[None]):
    """Shows the tasks of a daemon."""

    CSS = "#head { text-style: bold; height: 1; } #keys { dock: bottom; height: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", priority=False),
        Binding("up,k", "step(-1)"),
        Binding("down,j", "step(1)"),
        Binding("s", "sort"),
        Binding("r", "turn"),
        Binding("t,enter", "tap"),
        Binding("space", "hold"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, path: Path, first: Mapping[str, Any], interval: float) -> None:
        super().__init__()
        self._path = path
        self._board = Board()
        self._board.take(first)
        self._poller = Poller(path, interval)
        self._sampling: tuple[str, Tapping] | None = None
        self._chosen = next(iter(self._board.tasks), "")
        self._sort, self._turned, self._held = "task", False, False

    def compose(self) -> ComposeResult:
        """Give the parts of the screen."""
        yield Static(id="head", markup=False)
        yield Static(id="body", markup=False)
        yield Static(HELP, id="keys", markup=False)

    def on_mount(self) -> None:
        """Begin to draw."""
        self.set_interval(DRAW_EVERY_S, self._draw)
        self.call_after_refresh(self._draw)

    def on_unmount(self) -> None:
        """Ask no more."""
        self._poller.stop()
        if self._sampling is not None:
            self._sampling[1].stop()

    def action_step(self, by: int) -> None:
        """Choose another task."""
        ids = [row.task_id for row in self._board.rows(self._sort, turned=self._turned)]
        if ids:
            at = ids.index(self._chosen) if self._chosen in ids else 0
            self._chosen = ids[max(0, min(len(ids) - 1, at + by))]
        self._draw()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self._draw()

    def action_turn(self) -> None:
        """Turn the order round."""
        self._turned = not self._turned
        self._draw()

    def action_hold(self) -> None:
        """Let the figures stand, or go on."""
        self._held = not self._held

    def action_tap(self) -> None:
        """Show what the chosen task reports."""
        if self._chosen in self._board.tasks:
            self.push_screen(TapScreen(self._path, self._chosen, max(20, self.size.width - 2)))

    def _draw(self) -> None:
        while self._poller.answers and not self._held:
            self._board.take(self._poller.answers.popleft())
        if self._chosen not in self._board.tasks:
            self._chosen = next(iter(self._board.tasks), "")
        self._sample()
        width = max(20, self.size.width)
        said = "paused  " if self._held else ""
        said += printable(self._poller.trouble, 200) or self._board.head()
        self.query_one("#head", Static).update(fit(f"otus  {said}  sorted by {self._sort}", width))
        self.query_one("#body", Static).update(self._body(width))

    def _sample(self) -> None:
        """Look in on the chosen task, for what its counters do not say."""
        if self._sampling is not None:
            task_id, tapping = self._sampling
            is_over = tapping.ended and time.monotonic() - tapping.begun > AGAIN_S
            if task_id == self._chosen and not is_over:
                return
            tapping.stop()
        self._sampling = (self._chosen, Tapping(self._path, self._chosen, sample=True)) if self._chosen else None

    def _body(self, width: int) -> Text:
        rows = self._board.rows(self._sort, turned=self._turned)
        lines = list(table_lines(COLUMNS, [row.cells for row in rows], width))
        text = Text()
        for n, line in enumerate(lines):
            chosen = n >= HEAD_LINES and rows[n - HEAD_LINES].task_id == self._chosen
            text.append(line.ljust(width) if chosen else line, style="reverse" if chosen else "")
            text.append("\n")
        told = [*self._board.busiest(self._chosen), *(self._sampling[1].sampled.lines() if self._sampling else ())]
        for line in ("", self._chosen, *told, *self._board.workers(self._chosen)):
            text.append(fit(line, width) + "\n")
        return text


def show_top(path: Path, first: Mapping[str, Any], interval: float) -> None:
    """Show the screen until the user leaves it. Raises OtusError where it fails."""
    app = TopApp(path, first, interval)
    app.run()
    if app.return_code:
        raise OtusError("the screen ended with an error")
