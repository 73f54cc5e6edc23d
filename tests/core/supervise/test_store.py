"""Tasks on disk: whatever fails, and whenever, what was stored before is intact, and a deleted task stays deleted."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from structlog.testing import capture_logs

from otus_core.supervise.store import VERSION, Disk, StoredTask, TaskStore


def task(task_id: str = "a", **changes: object) -> StoredTask:
    return attrs.evolve(StoredTask(id=task_id, config={"id": task_id}, created_ns=1), **changes)


@pytest.fixture
def store(tmp_path: Path) -> TaskStore:
    store = TaskStore(tmp_path)
    store.prepare()
    return store


def test_a_saved_task_comes_back(store: TaskStore) -> None:
    store.save(task(reason="naïve \x1b[31m", restart_count=3))
    assert store.load() == [task(reason="naïve \x1b[31m", restart_count=3)]


def test_a_finished_task_is_history_and_its_id_is_free(store: TaskStore) -> None:
    store.save(task())
    store.finish(task(state="stopped", ended_ns=10))
    store.save(task())
    store.finish(task(state="failed", ended_ns=20, reason="x"))
    assert store.load() == []
    assert [(t.state, t.wanted) for t in store.history()] == [("failed", "stopped"), ("stopped", "stopped")]
    assert store.prune(1) == 1
    assert [t.ended_ns for t in store.history()] == [20]


@pytest.mark.parametrize("task_id", ["../x", "a/b", ".", "..", ".hidden", "", "a\0b", "x" * 300, "-a", "a\n"])
def test_an_id_that_cannot_be_a_file_name_is_refused(store: TaskStore, task_id: str) -> None:
    with pytest.raises(ValueError, match="file name"):
        store.save(task(task_id))
    assert store.load() == []


GOOD = json.loads(task().to_json())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        task().to_json()[:40],
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({**GOOD, "version": 0}).encode(),
        json.dumps({**GOOD, "extra": 1}).encode(),
        json.dumps({k: v for k, v in GOOD.items() if k != "state"}).encode(),
        json.dumps({**GOOD, "id": "b"}).encode(),
        json.dumps({**GOOD, "state": "dancing"}).encode(),
        json.dumps({**GOOD, "created_ns": "1"}).encode(),
        json.dumps({**GOOD, "config": []}).encode(),
        b" " * (3 << 20),
    ],
    ids=[
        "empty",
        "open brace",
        "torn",
        "list",
        "null",
        "not text",
        "deep",
        "foreign version",
        "unknown key",
        "missing key",
        "another id",
        "unknown state",
        "text for a number",
        "list for the task",
        "huge",
    ],
)
def test_a_damaged_file_is_set_aside_and_the_others_come_back(store: TaskStore, content: bytes) -> None:
    store.save(task("good"))
    (store.folder / "a.json").write_bytes(content)
    assert [t.id for t in store.load()] == ["good"]
    assert (store.folder / "a.json.corrupt").read_bytes() == content
    assert store.set_aside == ["a.json"]


def test_all_that_is_wrong_with_a_file_is_logged(store: TaskStore) -> None:
    wrong = {**GOOD, "state": "dancing", "created_ns": True, "config": [], "wanted": "maybe"}
    (store.folder / "a.json").write_text(json.dumps(wrong))
    with capture_logs() as events:
        assert store.load() == []
    told = events[0]["error"]
    for path in ("state: expected one of created", "created_ns: expected an integer", "config: expected a mapping"):
        assert path in told
    assert "wanted: expected one of running, stopped, got the text" in told


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, None], ids=["torn", "deep", "a symbolic link"])
def test_a_damaged_file_of_the_history_is_set_aside_and_the_others_are_told(
    store: TaskStore, content: bytes | None
) -> None:
    for ended_ns in (10, 20):
        store.save(task())
        store.finish(task(state="stopped", ended_ns=ended_ns))
    damaged = store.finished / "a.15.json"
    if content is None:
        damaged.symlink_to(store.finished / "a.10.json")
    else:
        damaged.write_bytes(content)
    assert [t.ended_ns for t in store.history()] == [20, 10]
    assert store.set_aside == ["a.15.json"]
    assert not damaged.exists() and (store.finished / "a.15.json.corrupt").is_symlink() == (content is None)


def test_a_file_of_a_newer_version_stays_and_is_told_of(store: TaskStore) -> None:
    content = json.dumps({**GOOD, "version": VERSION + 1}).encode()
    (store.folder / "a.json").write_bytes(content)
    assert (store.load(), store.set_aside) == ([], [])
    assert (store.folder / "a.json").read_bytes() == content
    assert "newer Otus" in store.newer["a"]


def test_a_symbolic_link_is_not_followed(store: TaskStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_bytes(task().to_json())
    (store.folder / "a.json").symlink_to(outside)
    assert store.load() == []
    assert outside.exists()


def test_a_fifo_does_not_hold_up_the_start(store: TaskStore) -> None:
    os.mkfifo(store.folder / "a.json")
    assert store.load() == []


def test_what_a_crash_left_half_written_is_removed(store: TaskStore) -> None:
    (store.folder / "a.json.tmp").write_bytes(b"half")
    store.prepare()
    assert not list(store.folder.glob("*.tmp"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the operating system from here on: each ``fsync``, by what it brings to the disk, and each
    ``rename``.
    """
    made: list[str] = []
    fsync, rename = os.fsync, os.rename

    def spied_fsync(descriptor: int) -> None:
        made.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def spied_rename(old: Path, new: Path) -> None:
        made.append(f"rename {old.name} {new.name}")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", spied_fsync)
    monkeypatch.setattr(os, "rename", spied_rename)
    return made


def test_what_is_saved_outlives_a_loss_of_power(store: TaskStore, calls: list[str]) -> None:
    """The content is on the disk before it has its name, and the name before the caller goes on: a folder is written by
    ``fsync`` of its own (fsync(2)).
    """
    store.save(task())
    assert calls == ["sync a.json.tmp", "rename a.json.tmp a.json", "sync tasks"]


def test_a_task_that_has_ended_does_not_come_back_after_a_loss_of_power(store: TaskStore, calls: list[str]) -> None:
    store.save(task())
    calls.clear()
    store.finish(task(state="stopped", ended_ns=10))
    saved = ["sync a.json.tmp", "rename a.json.tmp a.json", "sync tasks"]
    assert calls == [*saved, "rename a.json a.10.json", "sync finished", "sync tasks"]


class Crash(BaseException):
    """The power goes: nothing after it runs."""


class FailingDisk(Disk):
    """Fails, or crashes, at the step that it is told to."""

    def __init__(self) -> None:
        self.steps_left = -1
        self.crashes = False

    def _step(self) -> None:
        if self.steps_left == 0:
            self.steps_left = -1
            raise Crash if self.crashes else OSError(errno.ENOSPC, "No space left on device")
        self.steps_left -= self.steps_left > 0

    def write(self, path: Path, data: bytes) -> None:
        if self.steps_left == 0:
            path.write_bytes(data[: len(data) // 2])
        self._step()
        super().write(path, data)

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        super().rename(old, new)

    def sync_folder(self, folder: Path) -> None:
        self._step()
        super().sync_folder(folder)


def test_an_ended_task_that_the_disk_keeps_from_the_history_does_not_come_back_nor_hold_up_the_others(
    tmp_path: Path,
) -> None:
    """As a crash between the two steps of an end leaves it, on a disk that has become full."""
    disk = FailingDisk()
    store = TaskStore(tmp_path, disk)
    store.prepare()
    for stored in (task("a", wanted="stopped", ended_ns=5), task("b")):
        store.save(stored)
    disk.steps_left = 0
    assert [t.id for t in store.load()] == ["b"]
    assert store.history() == []
    assert [t.id for t in store.load()] == ["b"]  # the disk has room again
    assert [t.id for t in store.history()] == ["a"]


class StoreMachine(RuleBasedStateMachine):
    """The store against a dict. After a failure the task is as before or as wanted, never anything else."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.disk = FailingDisk()
        self.store = TaskStore(Path(self.folder.name), self.disk)
        self.store.prepare()
        self.model: dict[str, list[StoredTask | None]] = {}
        self.clock = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    ids = st.sampled_from(["a", "b", "c-1"])
    failures = st.tuples(st.integers(-1, 4), st.booleans())

    def _attempt(
        self, task_id: str, after: StoredTask | None, failure: tuple[int, bool], act: Callable[[], None]
    ) -> None:
        before = self.model.get(task_id, [None])
        self.disk.steps_left, self.disk.crashes = failure
        try:
            act()
            self.model[task_id] = [after]
        except (OSError, Crash) as error:
            self.model[task_id] = [*before, after]
            if isinstance(error, Crash):
                self.restart()
        finally:
            self.disk.steps_left = -1

    @rule(task_id=ids, count=st.integers(0, 9), failure=failures)
    def save(self, task_id: str, count: int, failure: tuple[int, bool]) -> None:
        stored = task(task_id, restart_count=count)
        self._attempt(task_id, stored, failure, lambda: self.store.save(stored))

    @rule(task_id=ids, failure=failures)
    def finish(self, task_id: str, failure: tuple[int, bool]) -> None:
        self.clock += 1
        stored = task(task_id, state="stopped", ended_ns=self.clock)
        self._attempt(task_id, None, failure, lambda: self.store.finish(stored))

    @rule()
    def restart(self) -> None:
        self.store = TaskStore(Path(self.folder.name), self.disk)
        self.store.prepare()

    @invariant()
    def what_is_stored_is_what_was_saved(self) -> None:
        found = {t.id: t for t in self.store.load()}
        for task_id, possible in self.model.items():
            assert found.get(task_id) in possible
            self.model[task_id] = [found.get(task_id)]
        assert not self.store.set_aside
        assert not set(found) - set(self.model)


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestStoreMachine = StoreMachine.TestCase
