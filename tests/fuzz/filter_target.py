"""Fuzz target: any text as a filter. It is refused with a place in it, or becomes a predicate that says yes or no.

``python -m tests.fuzz.filter_target`` runs seeds and mutations of them; with ``--fuzz`` and atheris it fuzzes.
"""

from __future__ import annotations

from otus_core import OutputPacket
from otus_filter import FilterSyntaxError, compile_expression
from tests.fuzz.harness import run

MESSAGES = (
    OutputPacket(labels={"sip.method": "INVITE", "sip.status_code": "200"}, src_ip="10.0.0.1", src_port=5060),
    OutputPacket(labels={}, src_ip="2001:db8::1", dst_ip="2001:db8::2"),
)


def one_input(data: bytes) -> None:
    """Compile ``data`` and ask what came of it about each message."""
    text = data.decode("utf-8", "surrogateescape")
    refused = None
    try:
        predicate = compile_expression(text)
    except FilterSyntaxError as error:
        refused = error
    if refused is not None:
        assert 0 <= refused.offset <= len(text)
        assert str(refused).replace("\n", "").isprintable(), (text, str(refused))
        return
    for message in MESSAGES:
        assert predicate(message) in (True, False)


def seeds() -> list[bytes]:
    """Give expressions that use every part of the language."""
    texts = (
        "sip.method == 'OPTIONS' or sip.status_code >= 400 and not sip.cseq_method in ('INVITE', \"BYE\")",
        "src_ip cidr '10.0.0.0/8' and dst_ip cidr ('2001:db8::/32', '0.0.0.0/0') or src_ip == '10.0.0.1'",
        "(src_port == 5060 or dst_port != 5060) and protocol == 'udp' and src_port <= sip.status_code",
        "sip.status_code not in (200, -1.5, '404') and label('x y') contains 'a\\x20\\u20ac\\''",
        "not (sip.method startswith sip.method) and payload_type < 'sip' and src_ip startswith '10.'",
    )
    return [text.encode() for text in texts]


if __name__ == "__main__":
    run(one_input, seeds())
