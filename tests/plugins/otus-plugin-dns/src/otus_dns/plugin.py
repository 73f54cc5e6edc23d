"""Declares the parser ``dns``."""

from collections.abc import Iterator

import otus_core


@otus_core.hookimpl
def otus_components() -> Iterator[otus_core.Declaration]:
    """Declare the parser."""
    yield otus_core.Parser(
        name="dns",
        factory="otus_dns.parser:DnsParser",
        payload_types=("dns",),
        transports=("udp",),
        ports=(53,),
        labels=("dns.id", "dns.type", "dns.name", "dns.qtype", "dns.rcode", "dns.answers"),
        failure_reasons=("no question", "the question is cut off", "a name is cut off", "a name goes in circles"),
        schemas={"dns": otus_core.PayloadSchema("otus_dns.records:Message")},
        summary="DNS over UDP (RFC 1035)",
    )
