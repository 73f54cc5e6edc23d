"""The log file: put away when it is large, and never a reason to stop."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from otus_core.logs import rotation
from otus_core.logs.rotation import RotatingFile


def opened(path: Path, **changes: object) -> RotatingFile:
    options = {"max_size": 100, "max_age": 0.0, "max_backups": 3, "compress": False, **changes}
    return RotatingFile(path, **options)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_old_files_are_numbered_and_bounded(tmp_path: Path) -> None:
    log = opened(tmp_path / "otus.log")
    for n in range(10):
        log.write(f"line {n} " + "x" * 60)
    log.close()
    assert names(tmp_path) == ["otus.log", "otus.log.1", "otus.log.2", "otus.log.3"]
    for n, name in ((9, "otus.log"), (8, "otus.log.1"), (7, "otus.log.2"), (6, "otus.log.3")):
        assert (tmp_path / name).read_text() == f"line {n} " + "x" * 60 + "\n"
    assert log.lost == 0


def test_without_old_files_the_log_begins_anew(tmp_path: Path) -> None:
    log = opened(tmp_path / "otus.log", max_backups=0)
    for n in range(3):
        log.write(f"line {n} " + "x" * 60)
    log.close()
    assert names(tmp_path) == ["otus.log"]
    assert (tmp_path / "otus.log").read_text() == "line 2 " + "x" * 60 + "\n"


@pytest.mark.parametrize(("size", "files"), [(49, 1), (50, 2)])
def test_a_file_is_put_away_before_it_is_larger_than_it_may_be(tmp_path: Path, size: int, files: int) -> None:
    """Two lines of 50 bytes with their ends fill a file of 100; one byte more is one file more."""
    log = opened(tmp_path / "otus.log")
    log.write("x" * 49)
    log.write("y" * size)
    log.close()
    assert len(names(tmp_path)) == files


def test_a_line_that_alone_is_too_large_is_written_without_an_empty_file_before_it(tmp_path: Path) -> None:
    log = opened(tmp_path / "otus.log")
    log.write("x" * 500)
    log.write("y")
    log.close()
    assert [path.stat().st_size for path in sorted(tmp_path.iterdir())] == [2, 501]


def test_old_files_are_compressed(tmp_path: Path) -> None:
    log = opened(tmp_path / "otus.log", compress=True)
    for n in range(3):
        log.write(f"line {n} " + "x" * 80)
    log.close()
    assert names(tmp_path) == ["otus.log", "otus.log.1.gz", "otus.log.2.gz"]
    assert gzip.decompress((tmp_path / "otus.log.2.gz").read_bytes()).startswith(b"line 0")


def test_old_files_go_with_their_age(tmp_path: Path) -> None:
    log = opened(tmp_path / "otus.log", max_age=100.0)
    log.write("x" * 90)
    log.write("x" * 90)
    os.utime(tmp_path / "otus.log.1", (0, 0))
    log.write("x" * 90)
    log.close()
    assert names(tmp_path) == ["otus.log", "otus.log.1"]


def test_a_file_that_was_there_is_continued(tmp_path: Path) -> None:
    (tmp_path / "otus.log").write_text("before\n")
    log = opened(tmp_path / "otus.log")
    log.write("after")
    log.close()
    assert (tmp_path / "otus.log").read_text() == "before\nafter\n"


def test_a_disk_that_refuses_costs_lines_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder's place is taken by a file, which holds for root as well as for others."""
    monkeypatch.setattr(rotation, "REOPEN_EVERY_S", 0.05)
    (tmp_path / "logs").write_text("in the way")
    log = opened(tmp_path / "logs" / "otus.log")
    log.write("one")
    log.write("two")
    assert log.lost == 2
    (tmp_path / "logs").unlink()
    time.sleep(0.06)
    log.write("three")
    log.close()
    assert (tmp_path / "logs" / "otus.log").read_text() == "three\n"


def test_a_symbolic_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious\n")
    (tmp_path / "otus.log").symlink_to(tmp_path / "target")
    log = opened(tmp_path / "otus.log")
    log.write("one")
    assert log.lost == 1
    assert (tmp_path / "target").read_text() == "precious\n"
