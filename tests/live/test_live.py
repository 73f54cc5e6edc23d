"""Live capture of real traffic: every frame that crosses the interface is seen once, and is accounted for."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dpkt
import pytest

from otus_core.testing import packets
from tests import needs
from tests.live.net import Pair, Run, accounted, sipp_answers

pytestmark = pytest.mark.live

OPTIONS = (
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\nTo: "
    b"<sip:a@b>\r\n"
    b"Call-ID: call-%d\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
Start = Callable[..., Run]


def message(n: int) -> bytes:
    return OPTIONS % (n, n)


def seen(run: Run) -> list[str]:
    return [output["labels"]["sip.call_id"] for output in run.outputs()]


def sipp_statistics(folder: Path) -> dict[str, str]:
    (path,) = folder.glob("uac*.csv")
    with path.open() as table:
        return list(csv.DictReader(table, delimiter=";"))[-1]


def call(pair: Pair, folder: Path, *, calls: int) -> int:
    """Make sipp calls from the far to the near end; gives how many messages the kernel sent, those of a slow sipp's
    repetitions included.
    """
    before = pair.sent()
    with sipp_answers(pair.NEAR, folder, pair.near):
        pair.run(
            pair.far,
            *("sipp", "-sn", "uac", f"{pair.NEAR}:5060", "-i", pair.FAR, "-p", 5060, "-nostdin"),
            *("-m", calls, "-r", 100, "-d", 10, "-trace_stat", "-fd", 1),
            cwd=folder,
            timeout=120,
        )
    assert int(sipp_statistics(folder)["SuccessfulCall(C)"]) == calls
    sent = pair.sent() - before
    assert sent >= 6 * calls
    return sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_run_well(pair: Pair, run: Start, number: int) -> None:
    one = run("--format", "json", "--bpf", "udp port 5060")
    pair.send([packets.udp(message(n)) for n in range(500)])
    summary = one.stop(number)
    assert seen(one) == [f"call-{n}" for n in range(500)]
    assert summary["kernel_rx"] == 500
    accounted(summary)
    assert "kernel received" in one.errors()


def test_calls_are_seen_completely(pair: Pair, run: Start, tmp_path: Path) -> None:
    one = run("--format", "json", "--bpf", "udp port 5060")
    sent = call(pair, tmp_path, calls=200)
    summary = one.stop()
    accounted(summary)
    methods = Counter(
        (o["labels"].get("sip.method"), o["labels"].get("sip.status_code"), o["labels"]["sip.cseq_method"])
        for o in one.outputs()
    )
    assert sum(methods.values()) == sent
    for kind in [("INVITE", None, "INVITE"), (None, "180", "INVITE"), (None, "200", "INVITE"), ("ACK", None, "ACK")]:
        assert methods[kind] >= 200, methods
    assert len({output["labels"]["sip.call_id"] for output in one.outputs()}) == 200


def test_media_does_not_hide_signalling(pair: Pair, run: Start, tmp_path: Path) -> None:
    one = run("--format", "json")
    sent = call(pair, tmp_path, calls=5)
    pair.send([packets.udp(b"\x80\x00" + bytes(170), src_port=6000, dst_port=6002) for _ in range(1000)])
    summary = one.stop()
    accounted(summary)
    sip = [output for output in one.outputs() if output["payload_type"] == "sip"]
    assert len(sip) == sent
    assert summary["kernel_rx"] >= 1000 + sent


def test_a_generated_capture_replayed(pair: Pair, run: Start, tmp_path: Path) -> None:
    capture = tmp_path / "generated.pcap"
    with capture.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n in range(20_000):
            writer.writepkt(packets.udp(message(n), src=f"10.1.{n >> 8 & 255}.{n & 255}"), ts=n / 1e6)
    one = run("--format", "none", "--bpf", "udp port 5060")
    needs.tool("tcpreplay")
    pair.run(pair.far, "tcpreplay", "-q", "-i", "eth0", "--pps", 50_000, "-K", capture, timeout=60)
    summary = one.stop()
    accounted(summary)
    assert (summary["kernel_rx"], summary["kept"]) == (20_000, 20_000)


FRAMES: list[tuple[str, list[bytes], tuple[object, ...]]] = [
    ("plain", [packets.udp(message(1))], ()),
    ("fragments", packets.fragments(packets.udp(message(1) + b"x" * 3000), 1400), ()),
    ("vlan", [packets.vlan(packets.udp(message(1)), 100)], ()),
    ("QinQ", [packets.vlan(packets.udp(message(1)), 100, 200)], ()),
    ("vxlan", [packets.vxlan(packets.udp(message(1)), vni=7)], ("--tunnels", "vxlan")),
]


@pytest.mark.parametrize(("frames", "options"), [f[1:] for f in FRAMES], ids=[f[0] for f in FRAMES])
def test_frames_of_every_kind(pair: Pair, run: Start, frames: list[bytes], options: tuple[object, ...]) -> None:
    port = 4789 if options else 5060
    one = run("--format", "json", "--bpf", f"udp port {port}", *options)
    pair.send(frames)
    summary = one.stop()
    accounted(summary)
    assert seen(one) == ["call-1"]
    assert summary["kernel_rx"] == len(frames)


def test_fanout_takes_every_packet_once(pair: Pair, run: Start) -> None:
    one = run("--format", "json", "--bpf", "udp port 5060", workers=2)
    calls = [packets.udp(message(n), src=f"10.2.{n % 7}.{n % 250 + 1}", src_port=5060 + n % 9) for n in range(2000)]
    pair.send(calls)
    summary = one.stop()
    accounted(summary)
    assert Counter(seen(one)) == Counter(f"call-{n}" for n in range(2000))


def test_workers_are_pinned(pair: Pair, run: Start, tmp_path: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))[:2]
    capture = {"type": "afpacket", "interface": "eth0", "fanout_size": 2}
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"id": "t", "capture": capture, "reporters": ["discard"], "cpu_affinity": cpus}))
    one = run("--task", task, workers=2)
    pinned = [os.sched_getaffinity(pid) for pid in one.children()]
    pair.send([packets.udp(message(1))])
    accounted(one.stop())
    assert sorted(map(sorted, pinned)) == [[cpu] for cpu in cpus]


def test_two_tasks_each_see_everything(pair: Pair, run: Start) -> None:
    both = [run("--format", "json", "--bpf", "udp port 5060", workers=2) for _ in range(2)]
    pair.send([packets.udp(message(n), src=f"10.4.0.{n % 250 + 1}") for n in range(1000)])
    for one in both:
        summary = one.stop()
        accounted(summary)
        assert sorted(seen(one)) == sorted(f"call-{n}" for n in range(1000))


def test_loopback_shows_each_packet_once(pair: Pair, run: Start, tmp_path: Path) -> None:
    one = run("-i", "lo", "--format", "json", "--bpf", "udp port 5060")
    pair.run(pair.near, "python3", "-c", SENDER, "127.0.0.1", 100)
    summary = one.stop()
    accounted(summary)
    assert seen(one) == [f"call-{n}" for n in range(100)]


def test_any_shows_all_interfaces(pair: Pair, run: Start) -> None:
    one = run("-i", "any", "--format", "json", "--bpf", "udp port 5060")
    pair.run(pair.near, "python3", "-c", SENDER, "127.0.0.1", 10)
    pair.send([packets.udp(message(n)) for n in range(10, 20)])
    summary = one.stop()
    accounted(summary)
    assert sorted(seen(one)) == sorted(f"call-{n}" for n in range(20))


SENDER = f"""
import socket, sys
message = {OPTIONS!r}
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(int(sys.argv[2])):
    sock.sendto(message % (n, n), (sys.argv[1], 5060))
"""


def test_a_worker_keeps_no_capability(run: Start) -> None:
    one = run("--format", "none")
    (worker,) = one.children()
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines() if ":\t" in line
    )
    assert {status[name] for name in ("CapPrm", "CapEff", "CapAmb", "CapBnd")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"


def test_overrun_is_counted_exactly(pair: Pair, run: Start, tmp_path: Path) -> None:
    task = tmp_path / "task.json"
    capture = {"type": "afpacket", "interface": "eth0", "block_size": 131072, "block_count": 4}
    task.write_text(json.dumps({"id": "t", "capture": capture, "reporters": ["discard"]}))
    one = run("--task", task)
    (worker,) = one.children()
    os.kill(worker, signal.SIGSTOP)
    frames = [packets.udp(message(n) + b"x" * 800) for n in range(3000)]
    pair.send(frames)
    with contextlib.suppress(ProcessLookupError):  # a machine that stood still has had it killed, as hung
        os.kill(worker, signal.SIGCONT)
    summary = one.stop()
    accounted(summary)
    assert summary["kernel_rx"] == 3000
    assert 0 < summary["kernel_drop"] < 3000
    assert summary["kept"] == 3000 - summary["kernel_drop"]
