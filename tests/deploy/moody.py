"""A plugin whose components go wrong when a file tells them to, so that a real daemon comes into each state that an
alert is for.
"""

from __future__ import annotations

PLUGIN = """
import otus_core

@otus_core.configuration
class Moods:
    folder: str = otus_core.option(help="Where a file stands for a mood.")

@otus_core.hookimpl
def otus_components():
    yield otus_core.Capturer(name="moody", factory="moody_parts:Capturer", config=Moods, live=True,
                             summary="Frames, losses or silence")
    yield otus_core.Parser(name="moody", factory="moody_parts:Parser", config=Moods, payload_types=("tick",),
                           summary="Uses CPU or memory")
    yield otus_core.Reporter(name="moody", factory="moody_parts:Reporter", config=Moods, summary="Waits or raises")
    yield otus_core.CommandChannel(name="moody", factory="moody_parts:Channel", config=Moods, summary="Names others")
"""
PARTS = """
import asyncio, os, time
import otus_core
from otus_core.testing import packets

FRAME = packets.udp(b"tick")

class Moody:
    def __init__(self, config):
        self._folder = config.folder

    def is_(self, mood):
        return os.path.exists(os.path.join(self._folder, mood))

    def words(self, mood):
        return open(os.path.join(self._folder, mood)).read() if self.is_(mood) else ""

class Capturer(Moody, otus_core.BaseCapturer):
    given = dropped = 0
    due = 0.0

    def read(self):
        if self.is_("fatal"):
            raise otus_core.CaptureError("moody", "has had enough", fatal=True)
        if self.is_("dying"):
            os._exit(7)
        if self.is_("silent"):
            return otus_core.FrameBatch.from_frames([])
        if time.monotonic() < self.due:
            return otus_core.FrameBatch.from_frames([])
        self.due = time.monotonic() + 0.002
        self.given += 1
        self.dropped += self.is_("dropping")
        return otus_core.FrameBatch.from_frames([(time.time_ns(), FRAME)])

    def wait_hint(self):
        return 0.002

    def trouble(self):
        return self.words("troubled")

    def stats(self):
        return otus_core.CaptureStats(received=self.given + self.dropped, dropped=self.dropped)

class Parser(Moody, otus_core.BaseParser):
    def __init__(self, config):
        super().__init__(config)
        self.held = []

    def can_handle(self, packet):
        return True

    def handle(self, packet):
        if self.is_("busy"):
            until = time.monotonic() + 0.05
            while time.monotonic() < until:
                pass
        if self.is_("greedy") and len(self.held) < 195:  # a little each time: who takes all at once may count as hung
            self.held.append(b"x" * (1 << 20))
        return otus_core.Parsed({}, {"long": "x" * 2000} if self.is_("wordy") else {})

class Reporter(Moody, otus_core.BaseReporter):
    def status(self):
        why = self.words("away")
        return {"state": "connecting", "reason": why, "is_tried": True, "last": None} if why else {}

    async def report(self, batch):
        while self.is_("slow"):
            await asyncio.sleep(0.01)
        if self.is_("raising"):
            raise RuntimeError("no")
        if self.is_("nonsense"):
            return None
        if self.is_("odd"):
            return otus_core.ReportResult(failed={"of a kind that is not declared": len(batch)})
        return otus_core.ReportResult(reported=len(batch))

class Channel(Moody, otus_core.BaseCommandChannel):
    def status(self):
        return {"connected": True, "namesakes": {"c0ffee": "192.0.2.7"} if self.is_("twin") else {}}
"""
BROKEN = "import no_such_module_anywhere\n"
