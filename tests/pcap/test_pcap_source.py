"""Where the bytes come from: gzip, pipes, standard input, several files, and how far they have been read."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

import otus_core
from otus_pcap.capturer import CHUNK_SIZE, PcapCapturer
from otus_pcap.config import PcapConfig
from tests.pcap.files import pcap, pcap_header, pcap_record, pcapng, read_bytes, read_files

FRAMES = [b"one", b"two frames", b"three.."]
DATA = pcap(FRAMES)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(gzip.compress(DATA), id="one member"),
        pytest.param(gzip.compress(DATA[:30]) + gzip.compress(DATA[30:]), id="two members"),
        pytest.param(b"".join(gzip.compress(DATA[i : i + 1]) for i in range(len(DATA))), id="a member for each byte"),
        pytest.param(gzip.compress(b"") * 2000 + gzip.compress(DATA), id="thousands of empty members"),
        pytest.param(gzip.compress(DATA) + bytes(600), id="padded with zeros"),
        pytest.param(gzip.compress(DATA[:30]) + bytes(20_000) + gzip.compress(DATA[30:]), id="zeros between members"),
        pytest.param(gzip.compress(DATA, compresslevel=0), id="stored"),
    ],
)
def test_gzip(tmp_path: Path, data: bytes) -> None:
    found = read_bytes(tmp_path, data)
    assert found.data == FRAMES
    assert not found.errors


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(gzip.compress(DATA) + b"garbage", "something else follows", id="garbage after it"),
        pytest.param(gzip.compress(DATA)[:-8] + bytes(8), "the gzip data is damaged", id="wrong checksum"),
        pytest.param(b"\x1f\x8b\x09" + bytes(40), "the gzip data is damaged", id="unknown method"),
        pytest.param(b"\x1f\x8b", "ends too early", id="magic alone"),
        pytest.param(gzip.compress(gzip.compress(DATA)), "gzip data inside gzip data", id="twice"),
        pytest.param(gzip.compress(b""), "it is empty", id="empty inside"),
        pytest.param(gzip.compress(DATA[:-1]), "of the decompressed data", id="cut before it was compressed"),
    ],
)
def test_damaged_gzip_says_so(tmp_path: Path, data: bytes, reason: str) -> None:
    found = read_bytes(tmp_path, data)
    assert found.data == FRAMES[: len(found.frames)]
    (error,) = found.errors
    assert reason in error.reason


def test_a_gzip_bomb_is_only_a_long_file(tmp_path: Path) -> None:
    """100 MB of zeros become a record header of zeros again and again; memory is tested elsewhere."""
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(pcap_header()) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(100))
    (tmp_path / "bomb").write_bytes(packed + packer.flush())
    capturer = PcapCapturer(PcapConfig(files=[str(tmp_path / "bomb")]))
    capturer.open()
    frames = 0
    while (batch := capturer.read()) is not None:
        frames += len(batch)
        assert capturer._chunk.left <= CHUNK_SIZE
    assert frames == 100 * (1 << 20) // 16


def test_random_frames_survive_gzip_in_every_size(tmp_path: Path) -> None:
    chance = random.Random(3)
    frames = [chance.randbytes(chance.randrange(3000)) for _ in range(3000)]
    assert read_bytes(tmp_path, gzip.compress(pcap(frames), 1)).data == frames


def test_files_are_read_in_the_order_given(tmp_path: Path) -> None:
    (tmp_path / "z").write_bytes(pcap([b"1", b"2"]))
    (tmp_path / "a").write_bytes(gzip.compress(pcapng([b"3"])))
    names = [tmp_path / name for name in ("z", "a", "z")]
    assert read_files(*names).data == [b"1", b"2", b"3", b"1", b"2"]


def test_progress_goes_from_0_to_1(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(pcap([bytes(1000)] * 3000))
    capturer = PcapCapturer(PcapConfig(files=[str(tmp_path / name) for name in "ab"]))
    capturer.open()
    seen = [capturer.progress()]
    while capturer.read() is not None:
        seen.append(capturer.progress())
    assert seen[0] == 0
    assert seen[-1] == 1
    assert seen == sorted(seen)  # type: ignore[type-var]
    assert len(set(seen)) > 4
    capturer.close()
    capturer.close()


def test_no_file_is_refused() -> None:
    with pytest.raises(otus_core.CaptureError, match="no file is given"):
        PcapCapturer(PcapConfig(files=[])).open()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What has come is given; until more comes a read gives an empty batch and names the descriptor to wait on."""
    os.mkfifo(tmp_path / "pipe")
    capturer = PcapCapturer(PcapConfig(files=[str(tmp_path / "pipe")]))
    capturer.open()
    assert capturer.progress() is None
    assert len(_next(capturer)) == 0  # nobody writes yet
    writer = os.open(tmp_path / "pipe", os.O_WRONLY)
    for piece, expected in ((DATA[:1], 0), (DATA[1:30], 0), (DATA[30:50], 1), (DATA[50:], 2)):
        os.write(writer, piece)
        frames = []
        while batch := _next(capturer):
            frames += batch
        assert len(frames) == expected
        assert capturer.wait_hint() is None
        assert isinstance(capturer.fileno(), int)
    os.close(writer)
    assert not drain_rest(capturer)


def drain_rest(capturer: PcapCapturer) -> list[otus_core.RawPacket]:
    rest: list[otus_core.RawPacket] = []
    while (batch := capturer.read()) is not None:
        rest += batch
    return rest


def _next(capturer: PcapCapturer) -> otus_core.FrameBatch:
    batch = capturer.read()
    assert batch is not None
    return batch


def test_a_writer_slower_than_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    frames = [bytes([n]) * 700 for n in range(200)]
    whole = gzip.compress(pcap(frames))

    def write() -> None:
        with (tmp_path / "pipe").open("wb", buffering=0) as pipe:
            for at in range(0, len(whole), 97):
                pipe.write(whole[at : at + 97])
                time.sleep(0)

    writer = threading.Thread(target=write)
    writer.start()
    found = read_files(tmp_path / "pipe")
    writer.join()
    assert found.data == frames
    assert not found.errors


COUNT = """
import sys
from otus_pcap.capturer import PcapCapturer
from otus_pcap.config import PcapConfig
from tests.pcap.files import drain
capturer = PcapCapturer(PcapConfig(files=["-"]))
capturer.open()
found = drain(capturer)
print(len(found.frames), *found.errors)
"""


def _count_stdin(stdin: int | None, data: bytes | None = None) -> str:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", COUNT], input=data, stdin=stdin, capture_output=True, timeout=60, cwd=root, check=True
    )
    return done.stdout.decode().strip()


def test_standard_input_as_a_pipe() -> None:
    assert _count_stdin(None, DATA) == "3"
    assert _count_stdin(None, gzip.compress(DATA)) == "3"
    assert "standard input: at offset 69: the file ends inside a packet record" in _count_stdin(None, DATA[:-1])


def test_standard_input_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "capture").write_bytes(DATA)
    with (tmp_path / "capture").open("rb") as file:
        assert _count_stdin(file.fileno()) == "3"


def test_standard_input_with_nothing_in_it() -> None:
    assert "standard input: at offset 0: it is empty" in _count_stdin(subprocess.DEVNULL)


@pytest.mark.parametrize("shard", [0, 1])
def test_a_pipe_cannot_be_shared(shard: int) -> None:
    with pytest.raises(otus_core.CaptureError, match="standard input: only one worker can read it"):
        PcapCapturer(PcapConfig(files=["-"])).open(shard, 2)


def test_a_batch_is_void_only_at_the_next_read(tmp_path: Path) -> None:
    (tmp_path / "capture").write_bytes(pcap_header() + pcap_record(b"kept") * 3)
    capturer = PcapCapturer(PcapConfig(files=[str(tmp_path / "capture")]))
    capturer.open()
    batch = _next(capturer)
    kept = list(batch)
    assert not drain_rest(capturer)
    capturer.close()
    assert [frame.data for frame in kept] == [b"kept"] * 3
    assert len(batch) == 3
