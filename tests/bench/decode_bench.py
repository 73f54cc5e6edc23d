"""What decoding costs a frame, in ns of CPU time: ``python tests/bench/decode_bench.py``.

Frames are in cache and nothing but the decoder runs; the loop around it is compiled on the spot.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import TUNNELS, DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.testing import packets

FRAMES = 1000
REPEATS = 7
PAYLOAD = b"INVITE sip:bob@example.org SIP/2.0\r\n" + b"x" * 584


def compile_loop() -> ModuleType:
    """Compile decode_loop.pyx into a temporary folder and import it."""
    import pyximport  # type: ignore[import-not-found,import-untyped,unused-ignore]

    pyximport.install(build_dir=tempfile.mkdtemp(prefix="otus-bench-"), language_level=3)
    sys.path.insert(0, str(Path(__file__).parent))
    from importlib import import_module

    return import_module("decode_loop")


def many(make: Callable[[int], Sequence[bytes]]) -> list[bytes]:
    """Give the frames of ``FRAMES`` packets."""
    return [frame for i in range(FRAMES) for frame in make(i)]


def cases() -> dict[str, tuple[list[bytes], DecoderConfig]]:
    """Give each case's frames and configuration."""
    plain = DecoderConfig()
    inside = DecoderConfig(tunnels=TUNNELS)

    def udp(i: int) -> bytes:
        return packets.udp(PAYLOAD, src=f"10.0.{i % 250}.1", src_port=5060 + i)

    def large(i: int) -> bytes:
        return packets.udp(PAYLOAD * 4, src=f"10.0.{i % 250}.1", identification=i)

    return {
        "udp": (many(lambda i: [udp(i)]), plain),
        "udp6": (many(lambda i: [packets.udp(PAYLOAD, src="2001:db8::1", dst="2001:db8::2")]), plain),
        "qinq": (many(lambda i: [packets.vlan(udp(i), 100, 200)]), plain),
        "udp, tunnels on": (many(lambda i: [udp(i)]), inside),
        "vxlan": (many(lambda i: [packets.vxlan(udp(i), vni=7)]), inside),
        "fragments of 2": (many(lambda i: packets.fragments(large(i), 1480)), plain),
        "fragments of 2, late": (sorted_late(many(lambda i: packets.fragments(large(i), 1480))), plain),
    }


def sorted_late(frames: list[bytes]) -> list[bytes]:
    """Give all first fragments before all second ones."""
    return frames[::2] + frames[1::2]


def main() -> None:
    """Print one line a case."""
    loop = compile_loop()
    for name, (frames, options) in cases().items():
        decoder = Decoder(Accounts(COUNTERS), options)
        rounds = 200_000 // len(frames)
        times = []
        for _ in range(REPEATS):
            begun = time.process_time_ns()
            units = loop.run(decoder, frames, rounds)
            times.append((time.process_time_ns() - begun) / (rounds * len(frames)))
        median, of = statistics.median(times), rounds * len(frames)
        print(f"{name:22} {median:7.1f} ns a frame, best {min(times):.1f}, {units} units of {of} frames")


if __name__ == "__main__":
    main()
