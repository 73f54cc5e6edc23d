"""Fuzz target: any bytes as a capture file.

At most one error, frames inside the file, and shards that share them exactly.

``python -m tests.fuzz.pcap_target`` runs the seeds and mutations of them; with ``--fuzz`` and atheris installed it
fuzzes. Input: one byte that chooses filter and shards, then the file.
"""

from __future__ import annotations

import gzip
import os
import tempfile

import otus_core
from otus_pcap.capturer import PcapCapturer
from otus_pcap.config import PcapConfig
from tests.fuzz.harness import run
from tests.pcap import files

FILTERS = ("", "udp port 5060")


def one_input(data: bytes) -> None:
    """Read ``data`` as a file, alone and in shards."""
    if not data:
        return
    expression = FILTERS[data[0] & 1]
    shards = 1 + (data[0] >> 1) % 3
    with tempfile.NamedTemporaryFile(dir=_MEMORY) as file:
        file.write(data[1:])
        file.flush()
        alone, errors = _read(file.name, expression, 0, 1)
        assert errors <= 1
        shared = [_read(file.name, expression, shard, shards) for shard in range(shards)]
    assert sum(frames for frames, _ in shared) == alone
    assert [found for _, found in shared] == [errors] + [0] * (shards - 1)


_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


def _read(name: str, expression: str, shard: int, shards: int) -> tuple[int, int]:
    capturer = PcapCapturer(PcapConfig(files=[name], bpf_filter=expression))
    capturer.open(shard, shards)
    frames = errors = 0
    while True:
        try:
            batch = capturer.read()
        except otus_core.CaptureError:
            errors += 1
            continue
        if batch is None:
            break
        frames += len(batch)
        for frame in batch:
            assert len(frame.data) <= 262144
    capturer.close()
    return frames, errors


def seeds() -> list[bytes]:
    """Give one file of each kind, under each choice."""
    packets = [files.ethernet(bytes([10, 0, 0, n]), b"\x0a\x00\x00\x09", bytes(12), range(n)) for n in range(3)]
    kinds = [
        files.pcap(packets),
        files.pcap(packets, order=">", magic=files.NANO, version=(2, 3)),
        files.pcap_header(magic=files.MODIFIED) + files.pcap_record(packets[0], extra=bytes(8)),
        files.pcapng(packets),
        files.section(">")
        + files.interface(101, 9, files.option(9, b"\x89", ">") + files.option(14, bytes(8), ">"), ">")
        + files.simple(packets[0][14:], order=">")
        + files.obsolete(packets[1][14:], order=">"),
        gzip.compress(files.pcap(packets)) + gzip.compress(files.pcap_record(b"x")),
    ]
    return [bytes([choice]) + kind for kind in kinds for choice in range(6)]


if __name__ == "__main__":
    run(one_input, seeds())
