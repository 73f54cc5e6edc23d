"""The options of the reporter and of the capturer."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Literal

from otus_core import ConfigInvalid, ConfigProblem, Duration, TlsConfig, TlsOptions, configuration, option

# RFC 3986 §3.2.2: an IPv6 address before a port stands in brackets.
ADDRESS = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}"
DATAGRAM_MAX = 65_507
"""Bytes of the largest datagram over IPv4: 65,535 without the headers of IP and UDP."""
TRANSPORTS = ("udp", "tcp", "tls")


def split_address(address: str) -> tuple[str, int]:
    """Give host and port of what ``ADDRESS`` describes. Raises ValueError for a port that there is not."""
    host, _, port = address.rpartition(":")
    if not 0 < int(port) < 65536:
        raise ValueError(f"{address}: there is no port {port}")
    return host.strip("[]"), int(port)


def check_addresses(key: str, addresses: list[str]) -> None:
    """See to it that there is an address, and that each has a port that exists. Raises ConfigInvalid."""
    if not addresses:
        raise ConfigInvalid([ConfigProblem(key, "name at least one, as host:port")])
    for number, address in enumerate(addresses):
        try:
            split_address(address)
        except ValueError as error:
            raise ConfigInvalid([ConfigProblem(f"{key}[{number}]", str(error))]) from None


@configuration
class SharedHepConfig:
    """What reporters inherit. Each checks the whole of what it has in the end."""

    servers: list[str] = option(factory=list, help="host:port of servers.")
    transport: str = option(default="udp", choices=TRANSPORTS, help="How packets travel.")
    key_file: str = option(default="", secret_file=True, help="File that holds the key that packets carry.")
    tls: TlsOptions = option(factory=TlsOptions, help="Encryption.")


@configuration
class HepReporterConfig:
    """Where messages go and how."""

    servers: list[str] = option(pattern=ADDRESS, max_length=16, example=["homer-1:9060"], help="host:port of servers.")
    transport: str = option(
        default="udp", choices=TRANSPORTS, help="How packets travel. Nobody acknowledges what is sent over UDP."
    )
    distribution: Literal["failover", "share"] = option(
        default="failover",
        help="Several servers: the first that is there gets everything, or each gets its share of the calls; the share "
        "of one that is not there goes to the next.",
    )
    capture_id: int = option(default=2001, ge=0, le=0xFFFFFFFF, help="Number of this agent, shown by Homer.")
    node_name: str = option(default="", max_length=255, help="Name of this agent. Empty: the node's host name.")
    key_file: str = option(
        default="", secret_file=True, help="File that holds the key that packets carry, for servers that ask for one."
    )
    tls: TlsConfig = option(factory=TlsConfig, help="Encryption.")
    compression: str = option(
        default="none",
        choices=("none", "gzip", "zlib"),
        help="Compress payloads, for servers that read compressed ones; heplify-server does not.",
    )
    max_size: int = option(
        default=DATAGRAM_MAX,
        ge=512,
        le=65_535,
        help="The largest packet; a larger one is counted and not sent. heplify-server reads no more than 8192 bytes.",
    )
    records: list[str] = option(
        factory=list,
        pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}",
        max_length=32,
        example=["call"],
        help="Payload types, besides sip and rtcp, that are sent as JSON.",
    )
    record_kind: int = option(default=100, ge=1, le=255, help="HEP's protocol type of these; 100 is a log.")
    timeout: Duration = option(
        default=2.0,
        ge=0.1,
        le=300,
        help="How long a server may take to answer a connection, and to acknowledge what was sent; shorter than the "
        "reporter's send_timeout.",
    )
    settle: Duration = option(
        default=0.1,
        ge=0,
        le=60,
        help="Over TCP and TLS: a message counts as reported if the connection still stands so long after the server's "
        "machine acknowledged it.",
    )
    retry_after: Duration = option(
        default=5.0, ge=0.1, le=3600, help="Several servers: when one that was not there is tried again."
    )
    keepalive: Duration = option(
        default=15.0, ge=1, le=3600, help="Over TCP and TLS: probes tell whether a silent server is still there."
    )

    def __attrs_post_init__(self) -> None:
        check_addresses("servers", self.servers)
        if self.transport == "udp" and self.max_size > DATAGRAM_MAX:
            raise ConfigInvalid([ConfigProblem("max_size", f"a datagram has {DATAGRAM_MAX} bytes at most")])


@configuration
class HepCapturerConfig:
    """Where packets are taken, and whose."""

    udp: list[str] = option(
        factory=list, pattern=ADDRESS, max_length=8, example=["0.0.0.0:9060"], help="host:port to listen on, UDP."
    )
    tcp: list[str] = option(factory=list, pattern=ADDRESS, max_length=8, help="host:port to listen on, TCP.")
    tls: list[str] = option(factory=list, pattern=ADDRESS, max_length=8, help="host:port to listen on, TLS over TCP.")
    security: TlsConfig = option(
        factory=TlsConfig,
        help="Encryption. With a ca_file, agents must have a certificate of that authority; verify_hostname is for the "
        "other side.",
    )
    allow: list[str] = option(
        factory=list, max_length=1024, example=["192.0.2.0/24"], help="Networks that may send. Empty: anybody may."
    )
    key_file: str = option(default="", secret_file=True, help="File that holds the key that each packet must carry.")
    max_rate: int = option(
        default=0,
        ge=0,
        le=10_000_000,
        help="Packets a second of one source address. Above, datagrams are dropped, and connections are read more "
        "slowly. 0: any number.",
    )
    max_connections: int = option(
        default=256, ge=1, le=4096, help="Connections at a time; then the one that was silent longest gives way."
    )
    max_connections_per_source: int = option(default=64, ge=1, le=4096, help="Connections of one source address.")
    timeout: Duration = option(
        default=10.0, ge=0.1, le=3600, help="How long an agent may take for a packet that it has begun, or for TLS."
    )
    receive_buffer: int = option(
        default=8 << 20, ge=1 << 16, le=1 << 30, help="Bytes of datagrams that the kernel holds for us."
    )

    def __attrs_post_init__(self) -> None:
        check_addresses("udp", [*self.udp, *self.tcp, *self.tls])
        if self.tls and not self.security.cert_file:
            raise ConfigInvalid([ConfigProblem("security.cert_file", "is required where tls has an address")])
        for number, network in enumerate(self.allow):
            try:
                ip_network(network)
            except ValueError as error:
                raise ConfigInvalid([ConfigProblem(f"allow[{number}]", str(error))]) from None
