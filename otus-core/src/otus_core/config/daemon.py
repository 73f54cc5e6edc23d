"""The daemon's own configuration: every key under ``otus:``, with its default, bounds and help."""

from __future__ import annotations

from typing import Any

from otus_core.config.fields import Duration, configuration, option
from otus_core.errors import ConfigInvalid, ConfigProblem


@configuration
class NodeConfig:
    """Who this node is."""

    ip: str = option(
        default="",
        help="This node's address. Empty: OTUS_NODE_IP, or else the first IPv4 address that is up and neither loopback "
        "nor link-local.",
    )
    hostname: str = option(
        default="",
        max_length=253,
        help="This node's name, by which commands address it. Empty: the system's host name.",
    )
    tags: dict[str, str] = option(
        factory=dict, help="Texts about this node, by name; the processor label can copy them into messages."
    )


@configuration
class ControlConfig:
    """The local control socket."""

    socket: str = option(
        default="/run/otus/otus.sock",
        min_length=1,
        max_length=107,
        help="Unix socket over which otus commands reach the daemon.",
    )
    pid_file: str = option(
        default="/run/otus/otus.pid", min_length=1, help="File to which the daemon's process id is written."
    )


@configuration
class TaskPersistenceConfig:
    """Tasks on disk."""

    enabled: bool = option(default=True, help="Keep tasks in data_dir, so that they survive a restart.")
    auto_restart: bool = option(
        default=True, help="Start the stored tasks when the daemon starts. If false, they are shown as stopped."
    )
    gc_interval: Duration = option(default=3600.0, gt=0, help="How often old entries of the history are removed.")
    max_task_history: int = option(default=100, ge=0, le=10000, help="How many ended tasks the history keeps.")


@configuration
class AllowConfig:
    """What a caller from afar may do, over whatever channel."""

    commands: list[str] | None = option(default=None, help="Commands that are accepted. Not set: all of them.")
    interfaces: list[str] | None = option(
        default=None, help="Interfaces that a created task may capture on. Not set: any."
    )
    capturers: list[str] | None = option(
        default=None, help="Types of capturers that a created task may have. Not set: any."
    )
    reporters: list[str] | None = option(
        default=None, help="Types of reporters that a created task may have. Not set: any."
    )
    capture_paths: list[str] = option(
        factory=list, help="Capture files, and folders of them, that a created task may read. Empty: none."
    )


@configuration
class CommandChannelConfig:
    """Commands from afar."""

    enabled: bool = option(default=False, help="Take commands from a command channel.")
    type: str = option(
        default="",
        help="Name of the command channel. Empty: the one that has a section here, or else the one that is installed.",
    )
    command_ttl: Duration = option(default=300.0, gt=0, help="Commands that are older than this are refused.")
    command_clock_skew: Duration = option(
        default=30.0, ge=0, help="Commands whose time is further in the future than this are refused."
    )
    options: dict[str, Any] = option(factory=dict, help="The options of a channel that has no section of its own here.")
    allow: AllowConfig = option(factory=AllowConfig, help="What remote commands may do.")


@configuration
class ResourcesConfig:
    """What tasks may use together."""

    max_workers: int = option(
        default=0,
        ge=0,
        le=1024,
        help="Most worker processes of all tasks together. With 0 there is no limit, and more than CPUs are a warning.",
    )
    worker_user: str = option(
        default="",
        max_length=32,
        help="User that workers become if the daemon runs as root. Empty: they stay root, without capabilities.",
    )


@configuration
class PipelineChannelConfig:
    """There is no such channel: accepted, with a warning, for configurations written for the Go program."""

    capacity: int = option(default=65536, ge=1, help="Not used.")
    drop_policy: str = option(default="tail", help="Not used.")


@configuration
class SendBufferConfig:
    """The buffer before each reporter."""

    capacity: int = option(
        default=16384, ge=1, le=1_000_000, help="Most messages that wait; beyond that the oldest is dropped."
    )
    max_bytes: int = option(
        default=32 << 20, ge=65536, le=4 << 30, help="Most bytes that wait; beyond that the oldest message is dropped."
    )
    drop_policy: str = option(
        default="head", choices=("head",), help="Which message is dropped when the buffer is full: head is the oldest."
    )
    high_watermark: float = option(
        default=0.8, gt=0, le=1, help="Fill level of the buffer, 0 to 1, from which a task counts as degraded."
    )
    low_watermark: float = option(
        default=0.3, ge=0, lt=1, help="Fill level below which it no longer counts as degraded."
    )


@configuration
class ReporterLimitsConfig:
    """How long a reporter is waited for."""

    send_timeout: Duration = option(default=3.0, gt=0, help="How long one attempt to send a batch may take.")
    max_retries: int = option(default=1, ge=0, le=100, help="How often a failed batch is tried again.")


@configuration
class BackpressureConfig:
    """What happens when reporters are slower than packets."""

    pipeline_channel: PipelineChannelConfig | None = option(
        default=None, help="Accepted and not used: there is no such channel."
    )
    send_buffer: SendBufferConfig = option(factory=SendBufferConfig, help="The buffer in front of each reporter.")
    reporter: ReporterLimitsConfig = option(factory=ReporterLimitsConfig, help="How reporters send.")


@configuration
class TunnelConfig:
    """Which tunnels are looked into by default."""

    vxlan: bool = option(default=False, help="Look into VXLAN (UDP port 4789).")
    gre: bool = option(default=False, help="Look into GRE and ERSPAN.")
    geneve: bool = option(default=False, help="Look into Geneve (UDP port 6081).")
    ipip: bool = option(default=False, help="Look into IP in IP.")
    gtpu: bool = option(default=False, help="Look into GTP-U (UDP port 2152).")
    hep: bool = option(default=False, help="Look into HEP over UDP and TCP, in which Homer's agents send.")


@configuration
class ReassemblyDefaults:
    """IP fragments."""

    timeout: Duration = option(default=30.0, gt=0, le=3600, help="An incomplete datagram is given up after this time.")
    max_fragments: int = option(default=10000, ge=2, le=1_000_000, help="Most fragments that are held at a time.")


@configuration
class DecoderDefaults:
    """Defaults for the decoder of new tasks."""

    tunnel: TunnelConfig = option(factory=TunnelConfig, help="Tunnels.")
    ip_reassembly: ReassemblyDefaults = option(factory=ReassemblyDefaults, help="Fragments.")


@configuration
class CoreConfig:
    """The core's own parts."""

    decoder: DecoderDefaults = option(factory=DecoderDefaults, help="Decoding.")


@configuration
class ServerTlsConfig:
    """How an endpoint of the daemon's is secured. The files are read again at each reload."""

    cert_file: str = option(
        min_length=1, help="PEM file with this node's certificate, and those between it and the root."
    )
    key_file: str = option(default="", secret_file=True, help="PEM file with its key. Empty: it is in cert_file.")
    client_ca_file: str = option(
        default="", help="PEM file with the authorities whose clients alone may ask. Empty: any client."
    )


@configuration
class LoginConfig:
    """A user name and a password."""

    username: str = option(min_length=1, pattern=r"[^:]*", help="User name, without a colon (RFC 7617).")
    password: str = option(default="", secret=True, help="Password; better in password_file.")
    password_file: str = option(default="", secret_file=True, help="File that holds the password.")

    def __attrs_post_init__(self) -> None:
        if bool(self.password) == bool(self.password_file):
            raise ConfigInvalid([ConfigProblem("password_file", "give either this or password")])


@configuration
class MetricsConfig:
    """The Prometheus endpoint."""

    enabled: bool = option(default=True, help="Serve metrics.")
    listen: str = option(
        default="127.0.0.1:9091",
        pattern=r"(\[[0-9a-fA-F:]*\]|[^:\s]*):\d{1,5}",
        help='Address and port. By default only this machine can ask; ":9091" means every address.',
    )
    path: str = option(default="/metrics", pattern=r"/\S*", help="Path of the URL.")
    interval: Duration = option(default=1.0, ge=0.1, le=60, help="How often levels and rates are sampled.")
    tls: ServerTlsConfig | None = option(default=None, help="Serve over TLS. Not set: unencrypted.")
    basic_auth: LoginConfig | None = option(
        default=None, help="Login that is required. Not set: none. The file is read again at each reload."
    )


@configuration
class RotationConfig:
    """When a log file is put away."""

    max_size_mb: int = option(default=100, ge=1, le=10240, help="Size in MB at which the file is rotated.")
    max_age_days: int = option(
        default=30, ge=0, le=3650, help="Old files are removed after this many days; 0 means never."
    )
    max_backups: int = option(default=5, ge=0, le=1000, help="How many old files are kept.")
    compress: bool = option(default=True, help="Compress old files with gzip.")


@configuration
class LogFileConfig:
    """Logs in a file."""

    enabled: bool = option(default=True, help="Write the log to a file.")
    path: str = option(default="/var/log/otus/otus.log", min_length=1, help="Path of the file.")
    rotation: RotationConfig = option(factory=RotationConfig, help="Rotation.")


@configuration
class LokiConfig:
    """Logs to Grafana Loki."""

    enabled: bool = option(default=False, help="Send the log to Loki.")
    endpoint: str = option(
        default="http://loki:3100/loki/api/v1/push",
        pattern=r"https?://\S+",
        help="URL to push to. Do not put a login into it; use basic_auth.",
    )
    labels: dict[str, str] = option(
        factory=lambda: {"app": "otus"}, help="Labels of the stream. The label node, this node's name, is added."
    )
    tenant: str = option(
        default="",
        pattern=r"[A-Za-z0-9!._*'()|-]{0,150}",
        help="Tenant (X-Scope-OrgID), if Loki serves several.",
    )
    basic_auth: LoginConfig | None = option(
        default=None,
        help="Login for Loki, or for the proxy in front of it. Not set: none. The file is read at each push.",
    )
    bearer_token_file: str = option(
        default="",
        secret_file=True,
        help="File that holds a token, to be used instead of a login. It is read at each push.",
    )
    batch_size: int = option(default=100, ge=1, le=10000, help="Most lines in one push.")
    batch_timeout: Duration = option(default=1.0, gt=0, le=60, help="How long a push waits for more lines.")

    def __attrs_post_init__(self) -> None:
        """One way to log in at most, and none that would be shown. Raises ConfigInvalid."""
        if "@" in self.endpoint.partition("://")[2].partition("/")[0]:
            raise ConfigInvalid([ConfigProblem("endpoint", "holds a login; that belongs in basic_auth")])
        if self.basic_auth is not None and self.bearer_token_file:
            raise ConfigInvalid([ConfigProblem("bearer_token_file", "give either this or basic_auth")])


@configuration
class LogOutputsConfig:
    """Where logs go beside standard error."""

    file: LogFileConfig = option(factory=LogFileConfig, help="A file.")
    loki: LokiConfig = option(factory=LokiConfig, help="Loki.")


@configuration
class LogConfig:
    """Logs."""

    level: str = option(
        default="info", choices=("debug", "info", "warning", "error"), help="Lowest level that is logged."
    )
    format: str = option(default="json", choices=("json", "text"), help="Format of the lines.")
    outputs: LogOutputsConfig = option(
        factory=LogOutputsConfig, help="Where log lines are written to, besides standard error."
    )


@configuration
class PluginsConfig:
    """Which plugins are loaded. Names are those of entry points or of distributions."""

    disabled: list[str] = option(factory=list, help="Plugins that are never imported, by entry point or distribution.")
    enabled: list[str] | None = option(default=None, help="If set, only these plugins are loaded.")
    prefer: dict[str, str] = option(
        factory=dict, help='Which distribution gets a name that two of them claim: {"parser:sip": DISTRIBUTION}.'
    )


@configuration
class DaemonConfig:
    """Everything under ``otus:``."""

    node: NodeConfig = option(factory=NodeConfig, help="This node.")
    control: ControlConfig = option(factory=ControlConfig, help="Local control.")
    data_dir: str = option(default="/var/lib/otus", min_length=1, help="Folder in which tasks are stored.")
    tasks_dir: str = option(
        default="", help="Folder of task files, applied at start and reload. Empty: tasks.d beside this file."
    )
    task_persistence: TaskPersistenceConfig = option(factory=TaskPersistenceConfig, help="Tasks on disk.")
    command_channel: CommandChannelConfig = option(factory=CommandChannelConfig, help="Commands from other machines.")
    reporters: dict[str, dict[str, Any]] = option(
        factory=dict,
        help="Defaults for the reporters of all tasks, by the reporter's name. A task's own `config` overrides them.",
    )
    resources: ResourcesConfig = option(factory=ResourcesConfig, help="Limits.")
    backpressure: BackpressureConfig = option(factory=BackpressureConfig, help="Slow reporters.")
    core: CoreConfig = option(factory=CoreConfig, help="Decoding.")
    metrics: MetricsConfig = option(factory=MetricsConfig, help="Metrics.")
    log: LogConfig = option(factory=LogConfig, help="Logs.")
    plugins: PluginsConfig = option(factory=PluginsConfig, help="Plugins.")
