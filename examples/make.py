"""Makes the captures of this folder again: real sipp calls between two network namespaces, recorded by tcpdump.

``sudo python3 examples/make.py`` needs sipp, tcpdump and iproute2. The phones are 192.0.2.10 and 192.0.2.20 (RFC 5737),
on a veth with an MTU of 1500, so that the large INVITE is fragmented by the kernel. vlan.pcap and vxlan.pcap are the
frames of call.pcap with what a switch and a tunnel endpoint would have put around them: not every kernel has such
devices.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"
ALICE, BOB = "192.0.2.10", "192.0.2.20"
TUNNEL_ENDS = (bytes((198, 51, 100, 1)), bytes((198, 51, 100, 2)))
CAPTURES = {
    # file: the caller's scenario, the called's, transport of sipp
    "call.pcap": ("call_uac", "call_uas", "u1"),
    "register.pcap": ("register_uac", "register_uas", "u1"),
    "cancel.pcap": ("cancel_uac", "cancel_uas", "u1"),
    "reinvite.pcap": ("reinvite_uac", "reinvite_uas", "u1"),
    "fragmented.pcap": ("fragmented_uac", "call_uas", "u1"),
    "tcp.pcap": ("call_uac", "call_uas", "t1"),
}
PCAP_HEADER, RECORD_HEADER = struct.Struct("<IHHiIII"), struct.Struct("<IIII")
START_WITHIN_S = 10.0


def main() -> int:
    """Record every capture; returns the exit status."""
    missing = [name for name in ("sipp", "tcpdump", "ip") if shutil.which(name) is None]
    if missing:
        sys.stderr.write(f"make.py: install {', '.join(missing)} first (sip-tester, tcpdump, iproute2)\n")
        return 2
    try:
        lay_wire()
        for name, (caller, called, transport) in CAPTURES.items():
            record(HERE / name, caller, called, transport)
    finally:
        remove_wire()
    rewrite(HERE / "call.pcap", HERE / "vlan.pcap", lambda frame: frame[:12] + tags(100, 200) + frame[12:])
    rewrite(HERE / "call.pcap", HERE / "vxlan.pcap", vxlan)
    for path in sorted(HERE.glob("*.pcap")):
        sys.stdout.write(f"{path.name:<18} {path.stat().st_size:>6} bytes\n")
    return 0


def record(target: Path, caller: str, called: str, transport: str) -> None:
    """Run one call and keep what passed on the wire."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw.pcap"
        listen = (
            "tcpdump",
            "-i",
            "otus-veth-b",
            "-n",
            "-U",
            "--immediate-mode",
            "--time-stamp-precision",
            "micro",
            "-w",
            str(raw),
            "ip",
        )
        recorder = subprocess.Popen(inside("b", *listen), stderr=subprocess.DEVNULL)
        phone = ("-m", "1", "-t", transport, "-nostdin", "-timeout", "20s", "-p", "5060")
        answerer = subprocess.Popen(
            inside("b", "sipp", "-sf", str(SCENARIOS / f"{called}.xml"), "-i", BOB, *phone),
            stdout=subprocess.DEVNULL,
            cwd=scratch,
        )
        try:
            wait_until(lambda: raw.exists() and raw.stat().st_size > 0)
            wait_until(lambda: listening(transport))
            calls = ("sipp", "-sf", str(SCENARIOS / f"{caller}.xml"), "-i", ALICE, *phone, f"{BOB}:5060")
            subprocess.run(inside("a", *calls), stdout=subprocess.DEVNULL, cwd=scratch, check=True)
            answerer.wait(timeout=START_WITHIN_S)
        finally:
            answerer.kill()
            answerer.wait()
            time.sleep(0.5)  # the recorder reads from its ring once a while
            recorder.terminate()
            recorder.wait()
        shutil.copyfile(raw, target)


def lay_wire() -> None:
    """Make two namespaces with a veth between them."""
    remove_wire()
    for side in "ab":
        run("ip", "netns", "add", f"otus-{side}")
    run("ip", "link", "add", "otus-veth-a", "netns", "otus-a", "type", "veth", "peer", "otus-veth-b", "netns", "otus-b")
    for side, address, mac in (("a", ALICE, "02:00:00:00:00:0a"), ("b", BOB, "02:00:00:00:00:0b")):
        device = f"otus-veth-{side}"
        run(*inside(side, "ip", "link", "set", device, "address", mac, "mtu", "1500"))
        run(*inside(side, "ip", "addr", "add", f"{address}/24", "dev", device))
        run(*inside(side, "ip", "link", "set", device, "up"))


def remove_wire() -> None:
    """Remove the namespaces, if they are there."""
    for side in "ab":
        subprocess.run(("ip", "netns", "del", f"otus-{side}"), stderr=subprocess.DEVNULL, check=False)


def inside(side: str, *command: str) -> tuple[str, ...]:
    """Give the command that runs in one of the namespaces."""
    return ("ip", "netns", "exec", f"otus-{side}", *command)


def run(*command: str) -> None:
    """Run a command. Raises CalledProcessError when it fails."""
    subprocess.run(command, check=True)


def listening(transport: str) -> bool:
    """Tell whether the called phone has opened its port."""
    option = "-ltn" if transport.startswith("t") else "-lun"
    sockets = subprocess.run(inside("b", "ss", option), capture_output=True, text=True, check=True).stdout
    return f"{BOB}:5060" in sockets


def wait_until(ready: Callable[[], bool]) -> None:
    """Wait for a condition. Raises TimeoutError."""
    end = time.monotonic() + START_WITHIN_S
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError("sipp or tcpdump did not start")
        time.sleep(0.02)


def rewrite(source: Path, target: Path, change: Callable[[bytes], bytes]) -> None:
    """Copy a capture, each frame changed; times stay."""
    with target.open("wb") as out:
        out.write(PCAP_HEADER.pack(0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for seconds, fraction, frame in records(source.read_bytes()):
            changed = change(frame)
            out.write(RECORD_HEADER.pack(seconds, fraction, len(changed), len(changed)) + changed)


def records(capture: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Give the time and the bytes of each frame of a capture that tcpdump wrote on a little-endian machine."""
    at = PCAP_HEADER.size
    while at < len(capture):
        seconds, fraction, length, _ = RECORD_HEADER.unpack_from(capture, at)
        at += RECORD_HEADER.size
        yield seconds, fraction, capture[at : at + length]
        at += length


def tags(outer: int, inner: int) -> bytes:
    """Give two VLAN tags (IEEE 802.1ad, then 802.1Q)."""
    return struct.pack("!HHHH", 0x88A8, outer, 0x8100, inner)


def vxlan(frame: bytes, vni: int = 4096) -> bytes:
    """Put a frame into VXLAN over UDP and IPv4 (RFC 7348); the UDP checksum is 0, as §5 recommends."""
    inner = struct.pack("!II", 0x08000000, vni << 8) + frame
    udp = struct.pack("!HHHH", 49152, 4789, 8 + len(inner), 0) + inner
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0, *TUNNEL_ENDS)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return bytes.fromhex("020000000002020000000001") + struct.pack("!H", 0x0800) + header + udp


def checksum(header: bytes) -> int:
    """Give the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


if __name__ == "__main__":
    sys.exit(main())
