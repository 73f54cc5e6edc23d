"""Every capture of the corpora: as many frames as tshark counted, and an error exactly where the file is damaged."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import dpkt
import pytest

from tests.pcap.conftest import Capture
from tests.pcap.files import read_files

FRAMES = {
    # The manifest counts the original; the file was cut to its first 1200 packets.
    "goffinet__uac-uas-scenario-sipp.pcapng": 1200,
    # tshark shows custom blocks as packets.
    "pcapng-test-generator__output_le__basic__test017.pcapng": 0,
    "pcapng-test-generator__output_le__basic__test018.pcapng": 4,
    "pcapng-test-generator__output_le__advanced__test102.pcapng": 5,
    "pcapng-test-generator__output_le__difficult__test202.pcapng": 8,
    # tshark 4.0 refuses the whole file for its link type; tcpdump counts as we do.
    "libpcap__filter__brcm-tag-stp.pcap": 4,
    "libpcap__filter__brcm-tag.pcap": 15,
    "ntopng__fuzz__corpus__fuzz_dissect_packet__frf16_magic_ie-oobr.pcap": 1,
    "ntopng__fuzz__corpus__fuzz_dissect_packet__hoobr_juniper3.pcap": 1,
    "ntopng__fuzz__corpus__fuzz_dissect_packet__juniper_es_oobr.pcap": 1,
    "ntopng__fuzz__corpus__fuzz_dissect_packet__vtp_asan-2.pcap": 1,
    "wireshark-wiki__atsc3-protocols__alp-sample1.pcap": 17,
    "tcpdump__brcm-tag.pcap": 23,
    "tcpdump__dsa-high-vid.pcap": 4,
    "tcpdump__dsa.pcap": 8,
    "tcpdump__hoobr_juniper3.pcap": 1,
    "tcpdump__vtp_asan-2.pcap": 1,
    "tcpdump__vtp_asan-3.pcap": 1,
    "tcpdump__vtp_asan.pcap": 5,
}
"""Where the manifest's count is not the number of frames, with the reason."""
DAMAGED = {
    "pkts__cool.pcap": "claims 587333632 bytes",
    "wireshark-wiki__protos-test-suite-traffic__c07-sip-r2.cap": "a Microsoft Network Monitor 2 capture",
    "libpcap__pcap-invalid-version-1.pcap": "pcap version 1.4 is not supported",
    "ndpi__fuzz-2021-10-13.pcap": "the file ends inside a packet record",
}


def test_counts_are_the_manifest_s(captures: list[Capture]) -> None:
    wrong = []
    for capture in captures:
        found = read_files(capture.path)
        expected = FRAMES.get(capture.path.name, int(capture.packets or 0))
        reasons = [error.reason for error in found.errors]
        damage = DAMAGED.get(capture.path.name)
        right = len(reasons) == 1 and damage in reasons[0] if damage else not reasons
        if len(found.frames) != expected or not right:
            wrong.append((capture.path.name, expected, len(found.frames), reasons))
    assert not wrong


@pytest.mark.parametrize("shards", [2, 4])
def test_shards_partition_every_capture(captures: list[Capture], shards: int) -> None:
    for capture in captures:
        alone = read_files(capture.path)
        shared = [read_files(capture.path, shard=n, shards=shards) for n in range(shards)]
        assert sum(len(each.frames) for each in shared) == len(alone.frames), capture.path.name
        together = sorted((f.timestamp, f.data) for each in shared for f in each.frames)
        assert together == sorted((f.timestamp, f.data) for f in alone.frames), capture.path.name
        assert sum(len(each.errors) for each in shared) == len(alone.errors)


PCAPNG = b"\x0a\x0d\x0d\x0a"
# The first claims frames of 587 MB; dpkt takes what there is, tshark and tcpdump refuse it as we do
NOT_DPKT_S = {
    "pkts__cool.pcap",
    "libpcap__pcap-invalid-version-1.pcap",
    "libpcap__pcap-invalid-version-2.pcap",
}


def test_frames_are_dpkt_s(captures: list[Capture]) -> None:
    """Bytes of every frame, and times to the microsecond (dpkt gives floats), wherever dpkt reads the file."""
    compared = 0
    for capture in captures:
        expected = _by_dpkt(capture.path)
        if expected is None or capture.path.name in NOT_DPKT_S:
            continue
        if capture.path.read_bytes()[:4] == PCAPNG:  # dpkt has one resolution for all interfaces, and mixes up sections
            continue
        found = read_files(capture.path)
        if found.errors:  # dpkt pads a last frame that is cut short, or takes nonsense for one
            continue
        assert found.data[: len(expected)] == [data for _, data in expected], capture.path.name
        compared += len(expected)
        for frame, (seconds, _) in zip(found.frames, expected, strict=False):
            assert abs(frame.timestamp - float(seconds) * 1e9) < 2000, capture.path.name
    assert compared > 10_000


def _by_dpkt(path: Path) -> list[tuple[float, bytes]] | None:
    raw = path.read_bytes()
    if raw.startswith(b"\x1f\x8b"):
        raw = gzip.decompress(raw)
    frames = []
    try:
        for seconds, data in dpkt.pcap.UniversalReader(io.BytesIO(raw)):
            frames.append((seconds, data))
    except (ValueError, dpkt.dpkt.Error, KeyError, ZeroDivisionError, OverflowError):
        return frames or None
    return frames
