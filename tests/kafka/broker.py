"""A real Apache Kafka for the tests: one KRaft node from its published artifacts, on free loopback ports.

The jars are fetched once with Maven into ``$OTUS_TEST_KAFKA_CACHE``, else ``$XDG_CACHE_HOME/otus-test-kafka``. Every
broker has its own data folder and certificates. ``PROXIED`` is a plain listener that advertises another port, where a
test puts its ``Proxy``.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

import attrs

from tests.patience import free_ports

VERSION = "4.1.0"
START_TIMEOUT_S = 120.0
USER, PASSWORD = "alice", "secret"
LISTENERS = ("PLAINTEXT", "CONTROLLER", "SASLP", "TLS", "MTLS", "SASLTLS", "PROXIED")
PROTOCOLS = {
    "PLAINTEXT": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT",
    "SASLP": "SASL_PLAINTEXT",
    "TLS": "SSL",
    "MTLS": "SSL",
    "SASLTLS": "SASL_SSL",
    "PROXIED": "PLAINTEXT",
}
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>otus.test</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
"""
LOGGING = """<Configuration status="WARN">
<Appenders><Console name="out"><PatternLayout pattern="%d %p %c: %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


def missing_tools() -> list[str]:
    """Name the programs that a broker of our own needs and that are not here."""
    needed = ["java", "openssl"] + ([] if (_cache() / "libs").is_dir() else ["mvn"])
    return [tool for tool in needed if shutil.which(tool) is None]


@attrs.frozen
class Certificates:
    """PEM files: a CA, a server certificate for 127.0.0.1 and localhost, a client's, and a CA that signed neither."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def other_ca(self) -> Path:
        return self.folder / "other.pem"

    @property
    def client_cert(self) -> Path:
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        return self.folder / "client.key"

    @property
    def server_store(self) -> Path:
        return self.folder / "server-store.pem"


class Broker:
    """One broker.

    ``servers["PLAINTEXT"]`` and so on are ``host:port``; ``external`` ones have only the first and cannot be harmed.
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None, limits: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.external = False
        *ports, self.proxy_port = free_ports(len(LISTENERS) + 1)
        self.ports = dict(zip(LISTENERS, ports, strict=True))
        self.servers = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.certificates = Certificates(folder)
        self._settings = settings or {}
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def elsewhere(cls, address: str) -> Broker:
        """Stand for a broker that somebody else runs."""
        self = cls.__new__(cls)
        self.external = True
        self.servers = {"PLAINTEXT": address}
        return self

    @property
    def bootstrap(self) -> str:
        return self.servers["PLAINTEXT"]

    @property
    def proxied(self) -> str:
        """Where a client must go to be led through the proxy, also for what it is told of."""
        return f"127.0.0.1:{self.proxy_port}"

    def prepare(self) -> None:
        """Fetch the jars if need be, make certificates and an empty formatted log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _fetch()
        _make_certificates(self.folder)
        (self.folder / "log4j2.xml").write_text(LOGGING)
        (self.folder / "server.properties").write_text(self._properties())
        # The first byte is fixed: an id that began with "-" would be taken for an option.
        cluster = base64.urlsafe_b64encode(b"o" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        scram = [f"SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)]
        users = [argument for user in scram for argument in ("--add-scram", user)]
        self._java(
            "kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties", *users
        ).check_returncode()

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        with open(self.folder / "broker.log", "ab") as log:
            self._process = subprocess.Popen(
                [*_tied_to_us(), *self._limits, *_command(self.folder), "kafka.Kafka", "server.properties"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _listens(self.ports["PLAINTEXT"]):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the broker did not start:\n" + (self.folder / "broker.log").read_text()[-4000:])
            time.sleep(0.05)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send SIGSTOP, SIGCONT or SIGKILL."""
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def stop(self) -> None:
        """Stop it for good or until ``start``; its data stays."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _java(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*_command(self.folder), *arguments], cwd=self.folder, capture_output=True, check=False)

    def _properties(self) -> str:
        names = [name for name in LISTENERS if name != "CONTROLLER"]
        advertised = {name: self.ports[name] for name in names} | {"PROXIED": self.proxy_port}
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{self.servers['CONTROLLER']}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": ",".join(f"{name}://{self.servers[name]}" for name in LISTENERS),
            "advertised.listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in advertised.items()),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in PROTOCOLS.items()),
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificates.server_store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.ca),
            "listener.name.mtls.ssl.client.auth": "required",
            "log.dirs": str(self.folder / "data"),
            "num.partitions": "4",
            "auto.create.topics.enable": "false",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
            "super.users": "User:ANONYMOUS",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            "broker.session.timeout.ms": "3000",
        }
        for name in ("saslp", "sasltls"):
            login = f"listener.name.{name}.plain.sasl.jaas.config"
            lines[login] = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
            for bits in ("256", "512"):
                login = f"listener.name.{name}.scram-sha-{bits}.sasl.jaas.config"
                lines[login] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return "".join(f"{key}={value}\n" for key, value in (lines | self._settings).items())


def _cache() -> Path:
    chosen = os.environ.get("OTUS_TEST_KAFKA_CACHE")
    if chosen:
        return Path(chosen) / VERSION
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "otus-test-kafka" / VERSION


def _fetch() -> None:
    """Get the jars; a fetch that was broken off leaves no ``libs`` behind."""
    folder = _cache()
    if (folder / "libs").is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(POM)
    partial = folder / f"libs.{os.getpid()}"
    options = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
    subprocess.run(["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), *options], check=True, timeout=600)
    partial.rename(folder / "libs")


def _command(folder: Path) -> list[str]:
    """The JVM's command line: a small heap, and quick to start rather than quick in the long run."""
    flags = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    return ["java", *flags, f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}", "-cp", f"{_cache() / 'libs'}/*"]


def _tied_to_us() -> list[str]:
    """Make the broker end with the process that started it, however that ends."""
    return ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _make_certificates(folder: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for ca in ("ca", "other"):
        openssl(
            "req", "-x509", *new_key, "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-days", "2", "-subj", f"/CN={ca}"
        )
    for name in ("server", "client"):
        (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
    parts = [(folder / name).read_text() for name in ("server.key", "server.pem", "ca.pem")]
    (folder / "server-store.pem").write_text("".join(parts))
