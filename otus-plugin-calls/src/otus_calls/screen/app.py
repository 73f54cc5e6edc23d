"""The screen itself: a list of calls that is kept up to date, and the ladder of one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import attrs
from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.message import Message
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Static

from otus_calls.commands import words
from otus_calls.commands.finding import Numbered
from otus_calls.commands.lifelines import Ladder, arrows
from otus_calls.commands.rows import COLUMNS, LIVE_WIDTHS, cells
from otus_calls.commands.source import Source
from otus_calls.screen.feed import Feed
from otus_calls.screen.pace import Pace
from otus_calls.screen.store import SORTS, Key, Store, View
from otus_calls.screen.terminal import Terminal
from otus_core import OtusError, TableLayout, fit, printable

REFRESH_S = 0.1
"""Keys are answered at once; calls come into sight a tenth of a second later at the most."""
PAINTS = {"32": Style(color="green"), "31": Style(color="red"), "33": Style(color="yellow")}
HELP = "↑↓ choose  enter ladder  / filter  s sort  r reverse  p problems  f follow  space pause  q quit"


class CallList(ScrollView, can_focus=True):
    """Draws the calls in sight alone, however many there are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)"),
        Binding("down,j", "step(1)"),
        Binding("pageup", "page(-1)"),
        Binding("pagedown", "page(1)"),
        Binding("home,g", "step(-10000000)"),
        Binding("end,G", "step(10000000)"),
        Binding("enter", "open"),
    ]

    class Opened(Message):
        """A call is to be shown."""

        def __init__(self, key: Key) -> None:
            super().__init__()
            self.key = key

    def __init__(self) -> None:
        super().__init__()
        self._rows: Sequence[Numbered] = ()
        self._at = 0
        self.follows = False

    def show_rows(self, rows: Sequence[Numbered]) -> None:
        """Show these calls; the chosen one stays chosen, wherever it is now."""
        key = self.chosen()
        self._rows = rows
        if self.follows:
            self._at = max(0, len(rows) - 1)
        elif key is not None:
            self._at = next((n for n, one in enumerate(rows) if _key(one) == key), min(self._at, max(0, len(rows) - 1)))
        self.virtual_size = Size(self.size.width, len(rows))
        self._keep_in_sight()
        self.refresh()

    def chosen(self) -> Key | None:
        """Give the call that the cursor is on."""
        return _key(self._rows[self._at]) if self._at < len(self._rows) else None

    def action_step(self, by: int) -> None:
        """Move the cursor."""
        self.follows = False
        self._at = max(0, min(len(self._rows) - 1, self._at + by))
        self._keep_in_sight()
        self.refresh()

    def action_page(self, way: int) -> None:
        """Move it by as much as is in sight."""
        self.action_step(way * max(1, self.size.height - 1))

    def action_open(self) -> None:
        """Have the ladder shown."""
        key = self.chosen()
        if key is not None:
            self.post_message(self.Opened(key))

    def _keep_in_sight(self) -> None:
        top, high = self.scroll_offset.y, max(1, self.size.height)
        if self._at < top:
            self.scroll_to(y=self._at, animate=False, force=True)
        elif self._at >= top + high:
            self.scroll_to(y=self._at - high + 1, animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """Draw one line of what is in sight."""
        n = y + self.scroll_offset.y
        width = self.size.width
        if n >= len(self._rows):
            return Strip.blank(width)
        one = self._rows[n]
        line = layout(width).line(cells(one))
        colour = words.COLOURS.get(one.facts["state"], "")
        style = Style(reverse=True) if n == self._at else PAINTS.get(colour, Style())
        return Strip([Segment(line, style)]).adjust_cell_length(width, style)


def _key(one: Numbered) -> Key:
    return one.facts["call_id"], one.facts["from_tag"]


def layout(width: int) -> TableLayout:
    """Lay the table out for a terminal that is so wide."""
    return TableLayout(COLUMNS, LIVE_WIDTHS, width)


class LadderScreen(Screen[None]):
    """The ladder of one call, which goes on as long as the call does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace,left", "app.pop_screen"),
        Binding("q", "app.quit"),
    ]

    def __init__(self, read: Callable[[], Numbered | None]) -> None:
        super().__init__()
        self._read = read
        self._shown: Numbered | None = None
        self._body = Static(markup=False)

    def compose(self) -> ComposeResult:
        """Give the parts of the screen."""
        with VerticalScroll():
            yield self._body
        yield Static("esc back  ↑↓ scroll  q quit", markup=False, classes="line")

    def on_mount(self) -> None:
        """Begin to draw."""
        self.query_one(VerticalScroll).focus()
        self.set_interval(REFRESH_S * 5, self._draw)
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """Draw for another width."""
        self._shown = None
        self._draw()

    def _draw(self) -> None:
        one = self._read()
        if one is None or one is self._shown:
            return
        scroll = self.query_one(VerticalScroll)
        if (
            self._shown is not None and scroll.scroll_offset.y >= scroll.max_scroll_y
        ):  # whoever is at the end stays there
            self.call_after_refresh(scroll.scroll_end, animate=False)
        self._shown = one
        width = max(20, self.size.width - 2)
        facts = one.facts
        head = f"#{one.number}  {words.parties(facts)}  {words.state(facts)}  {printable(facts['call_id'], 128)}"
        told = [fit(head, width), *Ladder(arrows([facts]), width).lines()]
        told += [fit(printable(words.flag(flag), 400), width) for flag in facts["flags"]]
        self._body.update("\n".join(told))


class WatchApp(App[None]):
    """Shows the calls of a feed."""

    CSS = """
    Screen { layers: base; }
    .line { height: 1; }
    #head { text-style: bold; }
    #filter { height: 1; border: none; padding: 0; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", priority=False),
        Binding("slash", "filter"),
        Binding("s", "sort"),
        Binding("r", "turn"),
        Binding("p", "problems"),
        Binding("f", "follow"),
        Binding("space", "hold"),
        Binding("escape", "clear"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, feed: Feed, store: Store) -> None:
        super().__init__(driver_class=Terminal)
        self._feed = feed
        self._store = store
        self._view = View()
        self._held = False
        self._pace = Pace()
        self._told = ""
        self._about = Static(markup=False, classes="line")
        self._head = Static(id="head", markup=False, classes="line")
        self._list = CallList()
        self._filter = Input(id="filter", placeholder="user, state, code, host, agent, Call-ID", compact=True)

    def compose(self) -> ComposeResult:
        """Give the parts of the screen."""
        yield self._about
        yield self._head
        yield self._list
        yield self._filter
        yield Static(HELP, markup=False, classes="line")

    def on_mount(self) -> None:
        """Begin to read."""
        self._feed.start()
        self.set_interval(REFRESH_S, self._update)
        self._list.focus()

    def on_resize(self) -> None:
        """Draw for another width."""
        self._pace.ask()

    def _update(self) -> None:
        """Take what has come, and draw it."""
        taken = self._feed.take()
        for facts in taken:
            self._store.put(facts)
        if taken and not self._held:
            self._pace.note()
        if isinstance(self._driver, Terminal):
            self._pace.note_sent(self._driver.sent)
        if self._pace.due:
            with self._pace.drawing():
                self._list.show_rows(self._store.chosen(self._view))
                self._head.update(layout(self.size.width).header())
        self._tell()
        if self._feed.ended and self._feed.failed is not None and not len(self._store):
            self.exit()

    def _tell(self) -> None:
        view, store = self._view, self._store
        told = [f"{len(store):,} calls, {store.under_way:,} under way", f"by {view.sort} {'▼' if view.down else '▲'}"]
        told += [f"filter: {printable(view.words, 40)}"] if view.words else []
        told += ["problems only"] if view.problems else []
        told += ["following"] if self._list.follows else []
        told += ["paused"] if self._held else []
        told += [f"{store.forgotten:,} forgotten"] if store.forgotten else []
        told += ["the capture has ended"] if self._feed.ended else []
        told += [printable(self._feed.faults[-1].strip(), 120)] if self._feed.faults else []
        about = fit("  ".join(told), max(1, self.size.width))
        if about != self._told:
            self._told = about
            self._about.update(about)

    def _change(self, **changes: Any) -> None:
        self._view = attrs.evolve(self._view, **changes)
        self._pace.ask()

    def action_sort(self) -> None:
        """Sort by the next column."""
        names = list(SORTS)
        self._change(sort=names[(names.index(self._view.sort) + 1) % len(names)])

    def action_turn(self) -> None:
        """Turn the order round."""
        self._change(down=not self._view.down)

    def action_problems(self) -> None:
        """Show calls with problems alone, or all."""
        self._change(problems=not self._view.problems)

    def action_follow(self) -> None:
        """Keep the last call of the list in sight."""
        self._list.follows = not self._list.follows
        self._pace.ask()

    def action_hold(self) -> None:
        """Leave the list as it is, or go on; what comes meanwhile is kept."""
        self._held = not self._held
        self._pace.ask()

    def action_filter(self) -> None:
        """Ask for words."""
        self._filter.display = True
        self.screen.set_focus(self._filter)  # at once: the next keys are meant for it

    def action_clear(self) -> None:
        """Leave the filter out."""
        self._filter.value = ""
        self._close_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is written."""
        self._change(words=event.value)

    def on_input_submitted(self) -> None:
        """Go back to the list."""
        self._close_filter()

    def _close_filter(self) -> None:
        self._filter.display = False
        self._list.focus()

    def on_call_list_opened(self, event: CallList.Opened) -> None:
        """Show the ladder of a call."""
        self.push_screen(LadderScreen(lambda: self._store.get(event.key)))


def watch_calls(source: Source, where: str | None) -> None:
    """Show the screen until it is left. Raises OtusError where there is no terminal, and RunFailed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise OtusError("--watch: the screen needs a terminal; without --watch, calls are printed when they end")
    feed = Feed(source, where)
    try:
        WatchApp(feed, Store()).run()
    finally:
        feed.stop()
    sys.stderr.writelines(feed.faults)
    if feed.failed is not None:
        raise feed.failed
