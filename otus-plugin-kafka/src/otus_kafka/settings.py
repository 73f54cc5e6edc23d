"""The options of the reporter and of the command channel."""

from __future__ import annotations

from typing import Literal

import otus_core
from otus_core import ConfigInvalid, ConfigProblem, Duration, configuration, option

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
TOPIC = r"[A-Za-z0-9._-]{1,249}"  # Kafka's own rule for topic names
# RFC 3986 §3.2.2: an IPv6 address before a port stands in brackets.
ADDRESS = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?"
USE_TLS = "Use TLS."
LEVELS = {"none": (), "snappy": (), "gzip": (1, 9), "lz4": (1, 12), "zstd": (1, 19)}
"""Lowest and highest level of each compression."""


@configuration
class SaslOptions:
    """How to log in; not yet whole."""

    enabled: bool = option(default=False, help="Log in with SASL.")
    mechanism: str = option(default="PLAIN", choices=MECHANISMS, help="SASL mechanism.")
    username: str = option(default="", help="User name.")
    password: str = option(default="", secret=True, help="Password; better in password_file.")
    password_file: str = option(default="", secret_file=True, help="File that holds the password.")


@configuration
class SaslConfig(SaslOptions):
    """How to log in."""

    def __attrs_post_init__(self) -> None:
        if not self.enabled:
            return
        if not self.username:
            raise ConfigInvalid([ConfigProblem("username", "is required when SASL is enabled")])
        if bool(self.password) == bool(self.password_file):
            raise ConfigInvalid([ConfigProblem("password_file", "give either this or password")])


@configuration
class TlsOptions(otus_core.TlsOptions):
    """How the connection is secured; not yet whole."""

    enabled: bool = option(default=False, help=USE_TLS)


@configuration
class TlsConfig(otus_core.TlsConfig):
    """How the connection is secured."""

    enabled: bool = option(default=False, help=USE_TLS)


@configuration
class SharedKafkaConfig:
    """What the reporter and the command channel inherit. Each checks the whole of what it has in the end."""

    brokers: list[str] = option(factory=list, help="host:port of brokers to start from.")
    sasl: SaslOptions = option(factory=SaslOptions, help="Login.")
    tls: TlsOptions = option(factory=TlsOptions, help="Encryption.")


@configuration
class ClientConfig:
    """How to reach the cluster."""

    brokers: list[str] = option(pattern=ADDRESS, example=["kafka-1:9092"], help="host:port of brokers to start from.")
    sasl: SaslConfig = option(factory=SaslConfig, help="Login.")
    tls: TlsConfig = option(factory=TlsConfig, help="Encryption.")
    client_id: str = option(default="otus", min_length=1, max_length=128, help="How we name ourselves to the brokers.")
    request_timeout: Duration = option(
        default=10.0, ge=1, le=300, help="How long a broker may take to answer one request."
    )

    def __attrs_post_init__(self) -> None:
        if not self.brokers:
            raise ConfigInvalid([ConfigProblem("brokers", "name at least one, as host:port")])


@configuration
class KafkaReporterConfig(ClientConfig):
    """Where messages go and how."""

    topic: str = option(default="", pattern=f"({TOPIC})?", example="otus-sip", help="Topic of all messages.")
    topic_prefix: str = option(
        default="",
        pattern=r"([A-Za-z0-9._-]{1,200})?",
        help="Instead of topic: messages go to <topic_prefix>-<payload type>.",
    )
    partition_by: str = option(
        default="call_id",
        choices=("call_id", "flow", "none"),
        help="What stays together in one partition: a call (where there is no call, its flow), both directions of a "
        "flow, or nothing.",
    )
    key: str = option(
        default="partition",
        choices=("partition", "endpoints"),
        help="The message's key: what partition_by goes by, so that equal keys lie in one partition, or "
        "src_ip:src_port-dst_ip:dst_port.",
    )
    serialization: str = option(
        default="json", choices=("json", "binary"), help="The value: all fields as JSON, or the raw payload alone."
    )
    compression: str = option(default="snappy", choices=COMPRESSIONS, help="Compression of batches.")
    compression_level: int | None = option(
        default=None, help="gzip 1 to 9 (default 1), lz4 1 to 12 (default 1), zstd 1 to 19 (default 3)."
    )
    acks: Literal[0, 1, "all"] = option(
        default="all",
        help="Who must have a message before it counts as reported: all in-sync replicas, the leader (1), nobody (0).",
    )
    batch_size: int = option(
        default=100, ge=1, le=100_000, help="Messages for one partition that are sent without waiting for more."
    )
    flush_interval: Duration = option(default=0.1, ge=0.001, le=60, help="How long fewer may wait.")
    max_attempts: int | None = option(
        default=None,
        ge=1,
        le=1000,
        help="How often a batch is sent that a broker has not acknowledged, or refuses for now, before it is given up. "
        "Null: until delivery_timeout. Each time it may have arrived although nothing was heard of it.",
    )
    delivery_timeout: Duration | None = option(
        default=None,
        ge=1,
        le=7 * 86400,
        help="How long a message waits for a broker before it is given up: then it goes to the fallback, or is dropped "
        "where there is none. Null: 10 s with a fallback; without one, or with a spool, as long as it takes.",
    )
    max_message_bytes: int = option(
        default=1_048_576, ge=4096, le=64 << 20, help="The largest message and batch, before compression."
    )
    max_buffer_bytes: int = option(
        default=32 << 20, ge=1 << 20, le=4 << 30, help="Encoded messages that may wait here for brokers."
    )

    def __attrs_post_init__(self) -> None:
        ClientConfig.__attrs_post_init__(self)
        if bool(self.topic) == bool(self.topic_prefix):
            raise ConfigInvalid([ConfigProblem("topic", "give either topic or topic_prefix")])
        bounds = LEVELS[self.compression]
        level = self.compression_level
        if level is not None and not (bounds and bounds[0] <= level <= bounds[1]):
            said = f"{bounds[0]} to {bounds[1]}" if bounds else "none: it has no levels"
            raise ConfigInvalid([ConfigProblem("compression_level", f"for {self.compression}: {said}")])


@configuration
class SigningConfig:
    """Signed commands: HMAC-SHA256 over the record's value, with a key of each node."""

    required: bool = option(default=False, help="Refuse commands without a valid signature.")
    keys_file: str = option(
        default="",
        secret_file=True,
        help='File with a line "TARGET KEY-IN-HEX" for each host name, and for * where broadcasts are taken.',
    )

    def __attrs_post_init__(self) -> None:
        if self.required and not self.keys_file:
            raise ConfigInvalid([ConfigProblem("keys_file", "is required when signatures are")])


@configuration
class HeartbeatConfig:
    """What the node says of itself without being asked."""

    topic: str = option(default="", pattern=f"({TOPIC})?", help="Topic of heartbeats, such as otus-heartbeat.")
    interval: Duration = option(default=30.0, ge=1, le=3600, help="Time between two.")
    events_topic: str = option(
        default="", pattern=f"({TOPIC})?", help="Topic of changes of tasks' states, such as otus-events."
    )


@configuration
class KafkaChannelConfig(ClientConfig):
    """Where commands come from, and where answers go."""

    topic: str = option(default="otus-commands", pattern=TOPIC, help="Topic of commands.")
    response_topic: str = option(
        default="otus-responses", pattern=f"({TOPIC})?", help="Topic of answers. Empty: none are sent."
    )
    group_id: str = option(
        default="", max_length=249, help="Consumer group, one for each node. Empty: otus-<host name>."
    )
    auto_offset_reset: str = option(
        default="latest", choices=("latest", "earliest"), help="Where a node begins that has never read commands."
    )
    command_ttl: Duration = option(default=300.0, gt=0, le=7 * 86400, help="Older commands are refused.")
    command_clock_skew: Duration = option(
        default=30.0, ge=0, le=86400, help="Commands further in the future are refused."
    )
    command_timeout: Duration = option(
        default=60.0, ge=1, le=3600, help="How long one command may run before the caller is told that it failed."
    )
    max_command_bytes: int = option(default=1 << 20, ge=1024, le=16 << 20, help="The largest command.")
    max_commands_per_second: float = option(
        default=20.0, gt=0, le=10_000, help="Commands above this rate are refused; ten seconds' worth may come at once."
    )
    state_file: str = option(
        default="",
        help="File that remembers executed request ids over restarts. Empty: commands-<group>.json in the data folder, "
        "where the daemon has one.",
    )
    signing: SigningConfig = option(factory=SigningConfig, help="Signed commands.")
    heartbeat: HeartbeatConfig = option(factory=HeartbeatConfig, help="Unasked reports.")
