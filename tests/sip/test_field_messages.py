"""Messages as users of other tools met them: what ``otus run`` says of each, in JSON, labels and text, and the library
of the same bytes.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

import otus_sip
from otus_core import ParseError
from otus_sip.names import ASKED
from tests.needs import field
from tests.sip.messages import message, packet, parser, sdp

OTUS = str(Path(sys.executable).with_name("otus"))
CUT = "no empty line behind the header fields"
SNAPPED = "cut by the capture within its header fields"


@lru_cache
def run(name: str, *options: str) -> tuple[str, str]:
    """Run ``otus run`` over a capture; gives what it writes to its two outputs."""
    command = [OTUS, "run", str(field() / name), *options]
    whole = {name: text for name, text in os.environ.items() if name != "COLUMNS"}  # lines that nothing is cut off
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=whole)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def shown(name: str) -> list[dict[str, Any]]:
    """Give the messages of a capture as JSON; each says the same as the library does of the same bytes."""
    outputs = [json.loads(line) for line in run(name, "--format", "json")[0].splitlines()]
    for output in outputs:
        agree(output["payload"], base64.b64decode(output["raw_payload"]))
        assert output["labels"].get("sip.malformed") == (output["payload"].get("malformed") or [None])[0]
    return outputs


def agree(told: dict[str, Any], raw: bytes) -> None:
    """See to it that the JSON of a message and its fields are one."""
    same = parser().handle(packet(raw)).payload
    assert told["headers"] == [list(pair) for pair in same.headers]
    assert told.get("via", []) == same.via
    assert told.get("contact", []) == [one.uri for one in same.contact]
    assert told.get("content_type") == same.content_type
    for key, party in (("from", same.from_), ("to", same.to)):
        if party is not None:
            said = {"uri": party.uri, "display": party.display or None, "tag": party.tag}
            assert told[key] == {name: value for name, value in said.items() if value is not None}
    ports = [medium["port"] for medium in told["sdp"]["media"]] if "sdp" in told else None
    assert ports == (None if same.sdp is None else [medium.port for medium in same.sdp.media])


def payloads(name: str) -> list[dict[str, Any]]:
    return [output["payload"] for output in shown(name)]


def ports(payload: dict[str, Any]) -> list[int]:
    return [medium["port"] for medium in payload.get("sdp", {"media": []})["media"]]


def party(payload: dict[str, Any], key: str = "from") -> tuple[str, str | None]:
    return payload[key]["uri"], payload[key].get("tag")


def test_05_a_quote_that_is_never_closed_costs_neither_uri_nor_tag() -> None:
    sound, *faulty = payloads("05-dangling-backslash.pcap")
    assert [party(one) for one in (sound, *faulty)] == [("sip:+15550100@192.0.2.99", "x1")] * 3
    assert (sound.get("malformed"), sound["from"]["display"]) == (None, "Sami ")
    assert [one["malformed"] for one in faulty] == [["unterminated quoted string"]] * 2


def test_06_quoted_pairs_stand_for_their_second_character() -> None:
    displays = [one["from"]["display"] for one in payloads("06-quoted-pairs.pcap")]
    assert displays == ["ggb!\\", "ggb\\a", 'John "The Duke" Wayne', "abc", 'J Rosenberg \\"']


def test_07_text_around_quotes_costs_neither_uri_nor_tag() -> None:
    messages = payloads("07-doubled-quotes.pcap")
    assert [party(one, "to") for one in messages[:2]] == [
        ("sip:4000@192.0.2.98", None),
        ("sip:222@example.com", "4adc8bd5d0"),
    ]
    assert [party(one) for one in messages[2:]] == [("sip:1060@example.com", "awl")] * 3
    assert [bool(one.get("malformed")) for one in messages] == [True, False, True, True, True]


@pytest.mark.parametrize(
    ("written", "uri", "tag"),
    [
        ('"a" b <sip:a@h>;tag=1', "sip:a@h", "1"),
        ('a "b;c" <sip:a@h>;tag=1', "sip:a@h", "1"),
        ('"a, b <sip:a@h> ; tag=1', "sip:a@h", "1"),
        ('""a" <sip:a@h>>;tag=1', "sip:a@h", "1"),
        ("<<<sip:a@h>>>;tag=1", "sip:a@h", "1"),
        ('"a" sip:a@h', "", None),
        ('"a', "", None),
        ("<sip:a@h", "", None),
    ],
)
def test_a_faulty_display_name_is_marked_and_what_follows_it_is_read(written: str, uri: str, tag: str | None) -> None:
    found = parser().handle(
        packet(message("OPTIONS sip:a@b SIP/2.0", f"Contact: {written}", **{"from": f"From: {written}"}))
    )
    assert (found.payload.from_.uri, found.payload.from_.tag) == (uri, tag)
    assert len(found.payload.malformed) == 1
    assert found.labels.get("sip.from_uri") == (uri or None)
    agree(json.loads(found.payload.to_json()), found.raw)


def test_09_an_address_has_a_scheme() -> None:
    messages = payloads("09-contact-lists.pcap")
    assert [len(one["contact"]) for one in messages] == [1, 2, 3, 3, 1, 1]
    assert messages[2]["malformed"] == ["address without a scheme"]
    assert "malformed" not in messages[3] and "malformed" not in messages[4]
    with pytest.raises(ParseError, match="scheme"):
        otus_sip.parse(message(**{"from": "From: <alice>;tag=1"}))


def test_11_folds_are_one_blank_in_every_form() -> None:
    invite, challenge, folded = payloads("11-folded.pcap")
    assert ["P-Asserted-Identity", "<sip:+70000000000@example.com>, <tel:+79211119987>"] in invite["headers"]
    assert challenge["headers"][7][1].startswith('Digest realm="ims.example.com", nonce=')
    assert folded["from"] == {"uri": "sip:x@example.com", "display": "A B", "tag": "q"}
    assert (folded["call_id"], folded["cseq"]) == ("folded@x", {"number": 7, "method": "OPTIONS"})


def test_folds_in_lists_and_uris_are_the_same_in_labels_json_and_library() -> None:
    raw = message(
        "OPTIONS sip:a@b SIP/2.0",
        'Contact: "C\r\n \r\n D"\r\n <sip:c@h>,\r\n <sip:d\r\n d@h>',
        via="Via: SIP/2.0/UDP a\r\n ;branch=z9hG4bK1 ,\r\n\tSIP/2.0/TCP b",
        **{"from": "From: <sip:a\r\n b@h>;tag=1"},
    )
    found = parser().handle(packet(raw))
    assert found.payload.via == ["SIP/2.0/UDP a ;branch=z9hG4bK1", "SIP/2.0/TCP b"]
    assert [(one.display, one.uri) for one in found.payload.contact] == [("C D", "sip:c@h"), ("", "sip:d d@h")]
    assert found.labels["sip.from_uri"] == "sip:a b@h"
    agree(json.loads(found.payload.to_json()), raw)


def test_14_a_message_that_ends_in_its_header_fields_is_marked() -> None:
    messages = payloads("14-message-ends-in-a-header.pcap")
    assert [one["malformed"] for one in messages] == [[CUT]] * 3
    for end in range(60, len(message())):
        with pytest.raises(ParseError):
            otus_sip.parse(message()[:end])


def test_15_what_the_capture_cut_is_said_to_be_cut_by_it() -> None:
    messages = payloads("15-snaplen.pcap")
    assert [one["malformed"] for one in messages] == [[SNAPPED], *[["cut by the capture within its body"]] * 2]
    assert [ports(one) for one in messages] == [[], [4000], []]
    assert run("15-snaplen.pcap")[0].count("malformed: cut by the capture within its") == 3


def test_17_the_version_is_read_in_any_case() -> None:
    assert [one.get("method", one.get("status_code")) for one in payloads("17-other-ports.pcap")][-2:] == [
        "INVITE",
        200,
    ]
    assert not parser().can_handle(packet(message("INVITE sip:a@b sup/2.0")))


def test_22_two_content_lengths_that_differ_are_marked() -> None:
    marked = [one.get("malformed") for one in payloads("24-content-length.pcap")]
    assert marked[3] == ["two Content-Length fields that differ"]
    assert marked[:2] == [None, None]
    same = message("OPTIONS sip:a@b SIP/2.0", "Content-Length: 0", "l: 00")
    assert otus_sip.parse(same).malformed == []


def test_22_over_tcp_every_spelling_of_content_length_is_read() -> None:
    messages = payloads("22-tcp-no-content-length.pcap")
    assert [ports(one) for one in messages[1:4]] == [[4000]] * 3


def test_23_a_line_of_blanks_is_no_empty_line() -> None:
    without, folded = payloads("23-blank-line-with-a-tab.pcap")
    assert without["malformed"] == [CUT]
    assert ("malformed" in folded, ports(folded)) == (False, [4000])


def test_25_a_value_may_begin_on_the_next_line() -> None:
    messages = payloads("25-folded-content-headers.pcap")
    assert [ports(one) for one in messages] == [[4000]] * 8
    assert [one.get("malformed") for one in messages] == [None] * 8
    assert [output["labels"]["sip.call_id"] for output in shown("57-folded-call-id.pcap")] == ["c1@192.0.2.10"] * 2


def test_25_over_tcp_a_folded_content_length_counts() -> None:
    body = sdp("192.0.2.1", "m=audio 4000 RTP/AVP 0")
    first = message("INVITE sip:a@b SIP/2.0", f"Content-Length:\r\n \r\n {len(body)}", body=body)
    assert parser().frame(first + message(), 0) == len(first)


@pytest.mark.parametrize("coding", ["deflate", "gzip"])
def test_26_a_compressed_body_is_read(coding: str) -> None:
    assert [ports(one) for one in payloads(f"26-content-encoding-{coding}.pcap")] == [[4000], [5000]]


def test_27_and_28_every_spelling_of_the_boundary() -> None:
    assert [ports(one) for one in payloads("28-boundary-spelling.pcap")] == [[4000]] * 9
    assert all(ports(one) for one in payloads("27-sip-i.pcap") if one.get("method") == "INVITE")


def test_29_multipart_bodies_of_every_structure() -> None:
    assert [ports(one) for one in payloads("29-multipart-structure.pcap")] == [[4000], [], *[[4000]] * 13]


def test_30_lines_that_end_in_cr_alone_are_marked() -> None:
    *sound, bare, _ = payloads("30-sdp-blank-lines.pcap")
    assert [one.get("malformed") for one in sound] == [None] * 16
    assert all(map(ports, sound))
    assert bare["malformed"] == ["lines of the session description end in CR alone"]


def test_32_a_codec_has_no_blank() -> None:
    body = sdp("192.0.2.1", "m=audio 4000 RTP/AVP 0 8", "a=rtpmap:0  PCMU/8000", "a=rtpmap:8 PCMA /8000")
    assert otus_sip.parse(message("INVITE sip:a@b SIP/2.0", body=body)).sdp.media[0].codecs == ["PCMU", "PCMA"]


def test_malformed_is_a_label_and_in_the_text() -> None:
    assert "malformed: no empty line behind the header fields" in run("14-message-ends-in-a-header.pcap")[0]
    assert re.search(r"sip: malformed +3\n", run("14-message-ends-in-a-header.pcap")[1])
    assert re.search(r"sip: malformed +3\n", run("14-message-ends-in-a-header.pcap", "--format", "json")[1])
    kept = run("05-dangling-backslash.pcap", "--format", "json", "--filter", "sip.malformed contains 'quoted'")[0]
    assert len(kept.splitlines()) == 2


def test_53_an_unknown_label_is_refused_with_a_suggestion() -> None:
    done = subprocess.run(
        [OTUS, "run", str(field() / "53-filter-headers.pcap"), "--filter", "sip.nonsense == 'x' or sip.metod == 'BYE'"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no label 'sip.nonsense'" in done.stderr
    assert "there is no label 'sip.metod'; did you mean sip.method?" in done.stderr


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("sip.pai contains '+15550100'", 1),
        ("sip.diversion contains 'no-answer'", 1),
        ("sip.user_agent startswith 'Yealink'", 1),
        ("sip.reason startswith 'Q.850'", 1),
        ("sip.reason_phrase == 'Busy Here'", 1),
        ("sip.request_uri == 'sip:bob@example.net'", 3),
        ("sip.to_tag == 'b1'", 2),
        ("sip.from_tag == 'a1' and sip.from_user == 'alice' and sip.to_user == 'bob'", 5),
        ("sip.contact contains '192.0.2.10' and sip.transport == 'UDP' and sip.cseq == 1", 5),
    ],
)
def test_53_labels_for_filters(expression: str, count: int) -> None:
    lines = run("53-filter-headers.pcap", "--format", "json", "--filter", expression)[0].splitlines()
    assert len(lines) == count
    assert not any(set(json.loads(line)["labels"]) & set(ASKED) for line in lines)


def test_bytes_behind_content_length_are_kept_and_told() -> None:
    raw = message() + b"INVITE sip:hidden@example.com SIP/2.0\r\n\r\n"
    found = parser().handle(packet(raw))
    assert (found.raw, found.payload.trailing) == (raw, raw[len(message()) :])
    assert found.labels["sip.trailing_bytes"] == str(len(raw) - len(message()))
    assert json.loads(found.payload.to_json())["trailing_bytes"] == len(raw) - len(message())
    assert otus_sip.parse(raw).malformed == []  # RFC 4475 §3.1.1.8: it is valid
    ends = parser().handle(packet(message() + b"\r\n\r\n"))
    assert "sip.trailing_bytes" not in ends.labels


def test_unknown_fields_before_the_known_ones_hide_no_message() -> None:
    head, _, tail = message().partition(b"\r\n")
    assert parser().can_handle(packet(head + b"\r\n" + b"X: y\r\n" * 5000 + tail, 9, 9))
    # what a body says is no field of the header
    assert not parser().can_handle(packet(b"SIP/2.0 200 OK\r\nServer: web\r\n\r\nVia: x\r\nTo: y\r\n", 9, 9))


DIGEST = (
    'Digest username="bob", realm="h", nonce="n0", uri="sip:h", Response = "0123456789abcdef", opaque="o", '
    "response=feed"
)


@pytest.mark.parametrize("name", ["Authorization", "PROXY-authorization"])
def test_proofs_of_passwords_are_in_no_output(name: str) -> None:
    raw = message("REGISTER sip:h SIP/2.0", f"{name}: {DIGEST}", f"{name}:\r\n Basic Ym9iOnNlY3JldA==", body=b"x")
    found = parser().handle(packet(raw))
    told = found.payload.to_json() + found.raw + repr(found.payload.headers).encode()
    for secret in (b"0123456789abcdef", b"feed", b"Ym9iOnNlY3JldA"):
        assert secret not in told
    assert b'username="bob", realm="h", nonce="n0"' in found.raw
    assert len(found.raw) == len(raw)
    assert b"0123456789abcdef" in packet(raw).payload
    assert parser(show_credentials=True).handle(packet(raw)).raw == raw
    assert otus_sip.parse(raw).raw == raw


def test_an_answer_to_a_proof_is_hidden_too() -> None:
    raw = message("SIP/2.0 200 OK", 'Authentication-Info: rspauth="0123abcd", nextnonce="n1"')
    assert b'rspauth="xxxxxxxx", nextnonce="n1"' in parser().handle(packet(raw)).raw
