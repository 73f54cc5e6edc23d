"""Messages of others: the verdicts of RFC 4475 and RFC 5118, and the 4,527 malformed INVITEs of PROTOS c07-sip."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import dpkt
import pytest

import otus_sip
from otus_core import ParseError
from otus_sip.parser import SipParser
from tests.sip.messages import packet, parser

ROUNDS = 6
SLOWEST_S = 0.01
"""What one datagram may take, whatever is in it."""


def manifest(corpora: Path, word: str) -> list[tuple[str, bytes, bool]]:
    """Give name, bytes and whether they are valid of each message whose expected class holds a word."""
    with (corpora / "messages" / "MANIFEST.tsv").open(newline="") as file:
        rows = [
            row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if word in row["expected_class"]
        ]
    return [(row["file"], (corpora / row["file"]).read_bytes(), "invalid" not in row["expected_class"]) for row in rows]


@pytest.mark.parametrize(("rfc", "count"), [("rfc4475", 24), ("rfc5118", 16)])
def test_torture_messages_get_the_verdict_that_the_rfc_gives(corpora: Path, rfc: str, count: int) -> None:
    messages = manifest(corpora, rfc)
    wrong = [name for name, data, valid in messages if is_taken(data) is not valid]
    assert (wrong, len(messages)) == ([], count)


def is_taken(data: bytes) -> bool:
    try:
        otus_sip.parse(data)
    except ParseError:
        return False
    return True


def protos(corpora: Path) -> Iterator[bytes]:
    """Give the payloads, as they came in datagrams, and those that were too long for one."""
    with gzip.open(corpora / "messages" / "protos_c07-sip_dev.pcap.gz") as file:
        for _, frame in dpkt.pcap.Reader(io.BytesIO(file.read())):
            ip = dpkt.ethernet.Ethernet(frame).data
            if isinstance(ip.data, dpkt.udp.UDP):
                yield bytes(ip.data.data)
    with zipfile.ZipFile(corpora / "messages" / "protos_c07-sip_dev_over65000.zip") as archive:
        for name in archive.namelist():
            yield archive.read(name)


def test_protos_is_read_or_refused_and_nothing_else(corpora: Path) -> None:
    sip: SipParser = parser()
    slow, seen, taken = [], 0, 0
    for payload in protos(corpora):
        seen += 1
        begun = time.thread_time()
        for message in handled(sip, payload[:65000]):
            taken += 1
            assert json.loads(message.payload.to_json())
            assert message.payload.sdp is None or message.payload.sdp.media is not None
        is_taken(payload)
        if time.thread_time() - begun > SLOWEST_S:
            slow.append(payload[:40])
    assert seen > 2000
    assert taken > 1000
    assert len(slow) <= seen // 200, slow  # a busy machine may interrupt a few


def handled(sip: SipParser, payload: bytes) -> list:
    made = packet(payload)
    if not sip.can_handle(made):
        return []
    try:
        found = sip.handle(made)
    except ParseError:
        return []
    return found if isinstance(found, list) else [found]


HEAD = (
    b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: "
    b"<sip:b@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
)
SDP = HEAD + b"Content-Type: application/sdp\r\n\r\nv=0\r\n"
GENERATORS = {
    "folded lines": lambda n: HEAD + b"Subject: a\r\n" + b" b\r\n" * n + b"\r\n",
    "Via": lambda n: HEAD + b"Via: SIP/2.0/UDP b;branch=z9hG4bK2\r\n" * n + b"\r\n",
    "Via in one line": lambda n: HEAD + b"Via: " + b"SIP/2.0/UDP b, " * n + b"c\r\n\r\n",
    "URI": lambda n: b"INVITE sip:" + b"a" * 8 * n + b" SIP/2.0\r\n" + HEAD.partition(b"\r\n")[2] + b"\r\n",
    "parameters": lambda n: HEAD + b"Contact: <sip:a@a>" + b";x=y" * n + b"\r\n\r\n",
    "quotes": lambda n: HEAD + b'Contact: "' + b'\\"' * n + b'" <sip:a@a>\r\n\r\n',
    "open quotes": lambda n: HEAD + b"Contact: " + b'",' * n + b"\r\n\r\n",
    "brackets": lambda n: HEAD + b"Contact: " + b"<,>," * n + b"\r\n\r\n",
    "blanks": lambda n: HEAD + b"Subject:" + b" " * 8 * n + b"x\r\n\r\n",
    "leading newlines": lambda n: b"\r\n" * n + HEAD + b"\r\n",
    "no colon": lambda n: HEAD + b"nonsense\r\n" * n + b"\r\n",
    "lone CR": lambda n: HEAD + b"Subject: " + b"\r" * 4 * n + b"\r\n\r\n",
    "media": lambda n: SDP + b"m=audio 4000 RTP/AVP 0\r\n" * n,
    "attributes": lambda n: SDP + b"m=audio 4000 RTP/AVP 0\r\n" + b"a=rtpmap:0 PCMU/8000\r\n" * n,
    "formats": lambda n: SDP + b"m=audio 4000 RTP/AVP" + b" 0" * n + b"\r\n",
    "parts": lambda n: HEAD + b"Content-Type: multipart/mixed;boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * n,
}


@pytest.mark.parametrize("generate", GENERATORS.values(), ids=GENERATORS)
def test_the_cost_of_a_hostile_message_is_linear_in_its_size(generate) -> None:
    sip: SipParser = parser()
    for _ in range(ROUNDS):  # a busy machine spoils one; a cost that grows with the square spoils all
        half, whole = (min(cost(sip, generate(n)) for _ in range(7)) for n in (1500, 3000))
        if whole / half <= 2.5 or whole < 300e-6:
            break
    else:
        pytest.fail(f"twice the size cost {whole / half:.1f} times as much, {ROUNDS} times over")
    assert whole < SLOWEST_S


def cost(sip: SipParser, data: bytes) -> float:
    made = packet(data[:65000])
    begun = time.thread_time()
    if sip.can_handle(made):
        for message in handled(sip, data[:65000]):
            message.payload.to_json()
            dict(message.labels or {})
    return time.thread_time() - begun
