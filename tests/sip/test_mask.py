"""``mask``: nothing that is reported says who somebody is, and all that is reported agrees with itself."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

import otus_sip
from otus_core import ConfigInvalid, Context, OutputPacket, encode_json
from otus_core.config.converter import structure
from otus_core.model.output import let_replace
from otus_core.testing.contract import ProcessorContract
from otus_core.testing.contract.messages import outputs
from otus_sip.config import MaskConfig
from otus_sip.mask import Mask
from otus_sip.pseudonyms import Pseudonyms
from tests.needs import corpora

KEY = "correct horse battery staple"
RAW = (
    "INVITE sip:+4940987654321@carrier.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    'Max-Forwards: 70\r\nFrom: "Änne Müller" <sip:+49-30-5551212;ext=7@carrier.example>;tag=1\r\n'
    "To: Bob Builder <tel:+4940987654321;phone-context=+4940>\r\nContact: <sip:anne99@192.0.2.1:5060>\r\n"
    "P-Asserted-Identity: <sip:49305551212@carrier.example>\r\nCall-ID: 49305551212-77@192.0.2.1\r\nCSeq: 1 INVITE\r\n"
    'Authorization: Digest username="anne99", realm="carrier.example", uri="sip:anne99@carrier.example"\r\n'
    "X-Billing: 0049 30 7654321\r\nContent-Type: application/sdp\r\nContent-Length: 110\r\n\r\n"
    "v=0\r\no=anne99 1 1 IN IP4 192.0.2.1\r\ns=Anne\r\np=+49 30 5551212\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0\r\n"
).encode()
SECRETS = ("4940987654321", "5551212", "nne", "Müller", "Builder", "7654321", "+4940;", "+4940>")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "mask.key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


class TestMask(ProcessorContract):
    component = "mask"
    config: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _key(self, key_file: Path) -> None:
        self.config = {"key_file": str(key_file)}  # type: ignore[misc]

    def messages(self) -> list[OutputPacket]:
        return [*outputs(), message()]


def message(raw: bytes = RAW) -> OutputPacket:
    payload = otus_sip.parse(raw)
    return OutputPacket(payload_type="sip", payload=payload, labels=payload.labels(), raw_payload=raw)


def masked(otus_run: Any, path: Path | list[bytes], key: Path, *parsers: str, **config: Any) -> list[dict[str, Any]]:
    processor = {"type": "mask", "config": {"key_file": str(key), **config}}
    return list(otus_run(path, task={"parsers": list(parsers or ("sip",)), "processors": [processor]}).outputs)


def everything(output: dict[str, Any]) -> str:
    """Give all that an output tells, its bytes included."""
    return json.dumps(output, ensure_ascii=False) + base64.b64decode(output["raw_payload"]).decode("latin-1")


def frame(raw: bytes = RAW) -> bytes:
    from otus_core.testing import packets

    return packets.udp(raw, src_port=5060, dst_port=5060)


def test_nothing_tells_who_it_is_and_the_message_is_as_sound_as_before(otus_run: Any, key_file: Path) -> None:
    (plain,) = otus_run([frame()], task={"parsers": ["sip"]}).outputs
    (told,) = masked(otus_run, [frame()], key_file)
    assert [secret for secret in SECRETS if secret in everything(told)] == []
    raw = base64.b64decode(told["raw_payload"])
    again = otus_sip.parse(raw)
    assert len(raw) == len(RAW) and again.content_length == len(again.body)
    assert told["payload"] == json.loads(again.to_json()) and told["labels"] == again.labels()
    assert told["payload"]["sdp"]["media"] == plain["payload"]["sdp"]["media"]
    assert again.from_.uri.startswith("sip:+") and re.search(r"212;\w+=\d@carrier\.example$", again.from_.uri)


def test_one_name_has_one_pseudonym_however_it_is_written(otus_run: Any, key_file: Path) -> None:
    (told,) = masked(otus_run, [frame()], key_file)
    headers = dict(told["payload"]["headers"])
    number = re.search(r"sip:(\d+)@", headers["P-Asserted-Identity"])
    assert number is not None and headers["Call-ID"].startswith(number[1] + "-")
    callee = re.search(r"tel:\+(\d+);", headers["To"])
    assert callee is not None and f"sip:+{callee[1]}@" in told["payload"]["request_uri"]
    login = re.search(r'username="(\w+)"', headers["Authorization"])
    assert login is not None and f"sip:{login[1]}@" in headers["Contact"]


@pytest.mark.parametrize("user", ['alice"bob', 'a"b"ce', 'alice\\"', '+49"30', '"alice"'])
def test_users_that_no_uri_may_have_are_masked_too(user: str, key_file: Path) -> None:
    ends = f'From: "X" <sip:{user}@a>;tag=1\r\nTo: sip:{user}@b\r\n'
    raw = f"OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n{ends}Call-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n".encode()
    output = message(raw)
    _process(key_file, output)
    told = everything(json.loads(encode_json(output)))
    assert not any(part in told for part in re.findall(r"[a-z0-9]{2,}", user))
    assert "<sip:" in told and ">;tag=1" in told


def test_the_key_decides_and_the_end_of_a_number_stays() -> None:
    one, other = Pseudonyms(b"a" * 16, 3), Pseudonyms(b"b" * 16, 3)
    assert one.name(b"+49 30 5551212") == one.name(b"+49 30 5551212") != other.name(b"+49 30 5551212")
    assert one.name(b"+49305551212").endswith(b"212") and one.name(b"+49305551212").startswith(b"+")
    assert not Pseudonyms(b"a" * 16, 0).name(b"+49305551212").endswith(b"212")
    assert one.name(b"anne") != b"anne" and len(one.name("Änne".encode())) == 5
    assert one.name(b"100")[-1:] != b"" and one.name(b"") == b""


def test_bodies_of_other_kinds_keep_their_length_alone(key_file: Path) -> None:
    raw = RAW.partition(b"Content-Type")[0] + b"Content-Type: text/plain\r\nContent-Length: 14\r\n\r\nRing me, Bob!\n"
    output = message(raw)
    _process(key_file, output)
    assert output.payload.body == b"xxxxxxxxxxxxx\n" and output.payload.malformed == []


def test_a_record_and_an_error_are_masked_too(key_file: Path) -> None:
    seen = message()
    record = OutputPacket(
        payload_type="call", is_record=True, src_ip=None, dst_ip=None, key="k",
        labels={"call.from": "sip:+49305551212@h", "call.id": "49305551212-77@192.0.2.1"},
        payload={"from": {"uri": "sip:+49305551212@h", "display": "Änne"}, "id": ["49305551212-77@192.0.2.1"], "n": 5},
    )  # fmt: skip
    _process(key_file, seen, record)
    told = encode_json(record).decode()
    assert "5551212" not in told and "nne" not in told and json.loads(told)["payload"]["n"] == 5
    assert record.labels["call.id"] == seen.payload.call_id == record.payload["id"][0]


def _process(key_file: Path, *outputs: OutputPacket) -> None:
    mask = Mask(MaskConfig(key_file=str(key_file)))
    mask.wire(Context(task_id="t", agent_id="a"))
    for output in outputs:
        let_replace(output, True)
        assert mask.process(output)


def test_a_key_that_can_be_guessed_or_is_not_there_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("secret\n")
    for path, why in ((short, "fewer than 16 characters"), (tmp_path / "none", "none")):
        with pytest.raises(ConfigInvalid, match=why):
            Mask(structure(MaskConfig, {"key_file": str(path)}))


@pytest.mark.parametrize(
    "piece", [b"sip:", b'"', b"tel:", b", ", b" " * 50, b'username="', b"1-", b"a@", b"\\"], ids=repr
)
def test_hostile_text_takes_linear_time(key_file: Path, piece: bytes) -> None:
    """Of 60 kB; what is not linear takes minutes."""
    text = piece * (60_000 // len(piece))
    raw = RAW.partition(b"X-Billing")[0] + b"X: .%s.\r\nContent-Length: 60000\r\n\r\n%s" % (text, text.ljust(60_000))
    begun = time.process_time()
    _process(key_file, message(raw))
    assert time.process_time() - begun < 10


NUMBER = re.compile(rb"(?i)(?:sips?|tel):\+?([0-9]{7,})[@;>]")


@pytest.mark.slow
def test_no_telephone_number_of_any_capture_is_reported(otus_run: Any, key_file: Path) -> None:
    """Neither in JSON, which has labels, payload and bytes, nor in what Kafka carries, which is made of the same."""
    leaked, numbers_seen = [], 0
    for oracle in sorted((corpora() / "oracle").glob("*.sip.jsonl*")):
        path = corpora() / oracle.name.partition(".sip.jsonl")[0]
        plain = otus_run(path, task={"parsers": ["sip", "icmp"]}).outputs
        numbers = {n.decode() for one in plain for n in NUMBER.findall(base64.b64decode(one["raw_payload"]))}
        numbers_seen += len(numbers)
        if not numbers:
            continue
        told = masked(otus_run, path, key_file, "sip", "icmp")
        assert len(told) == len(plain)
        text = "\n".join(map(everything, told))
        leaked += [(path.name, number) for number in numbers if number in text]
    assert numbers_seen > 20 and leaked == []
