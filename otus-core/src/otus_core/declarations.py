"""What a plugin says of its components: frozen values that it yields from the ``otus_components`` hook.

A declaration is light. Its factory is named, ``"otus_sip.parser:SipParser"``, so that listing plugins imports no
parser; so may its configuration class be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, Literal

import attrs

from otus_core.values import define, frozen

Stability = Literal["experimental", "beta", "stable", "deprecated"]
STABILITIES: tuple[Stability, ...] = ("experimental", "beta", "stable", "deprecated")
# Names become keys of YAML, label values of metrics, and parts of file names and topics: no dots, blanks or capitals.
NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
BLOCK = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
PAYLOAD_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}\Z")
"""A payload type becomes part of a topic's name, of which Kafka allows 249 such characters, and a header."""
REASON = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,47}\Z")
REASON_WORDS = "1 to 48 of A-Z a-z 0-9 _ - and blanks, no blank first"
COUNTERS_MAX = 64
"""Of one component, and as many reasons: each becomes a time series."""
STREAM = re.compile(r"tcp\Z|websocket:[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")
"""Subprotocols are tokens (RFC 6455 §4.1)."""
SHOWN = 60
PAYLOAD_TYPES_MAX = 32
"""Of one parser; each may become a topic."""


@define
class NoConfig:
    """The configuration of a component that has none."""


def _name(_instance: object, _attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not NAME.match(value):
        raise ValueError(f"name {value!r}: use 1 to 32 of a-z 0-9 _ -, a letter first")


def _factory(_instance: object, _attribute: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value) and not (isinstance(value, str) and value.count(":") == 1):
        raise ValueError(f"factory {value!r}: give a callable or 'package.module:name'")


def _target(_instance: object, _attribute: attrs.Attribute[str], value: Any) -> None:
    if not isinstance(value, str) or value.count(":") != 1:
        raise ValueError(f"app {value!r}: give 'package.module:name'")


def _payload_types(instance: Declaration, attribute: attrs.Attribute[Any], value: Any) -> None:
    about = f"{instance.kind} {instance.name!r}: {attribute.name}"
    if not isinstance(value, tuple) or not 1 <= len(value) <= PAYLOAD_TYPES_MAX:
        raise ValueError(f"{about}: give a tuple of 1 to {PAYLOAD_TYPES_MAX}")
    for one in value:
        if not isinstance(one, str) or not PAYLOAD_TYPE.match(one):
            shown = repr(one)[:SHOWN]
            raise ValueError(
                f"{about}: {shown} is no topic's name: use 1 to 48 of a-z A-Z 0-9 . _ -, none of . _ - first"
            )


def _payload_types_or_none(instance: Declaration, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value != ():
        _payload_types(instance, attribute, value)


def _configuration(instance: Declaration, _attribute: attrs.Attribute[Any], value: Any) -> None:
    if not (isinstance(value, type) and attrs.has(value)) and not (isinstance(value, str) and value.count(":") == 1):
        about = f"{instance.kind} {instance.name!r}: config {value!r} is not a configuration class"
        raise ValueError(f"{about}: give one made with @otus_core.configuration, or 'package.module:Class'")


AGE_MAX = 64
"""Characters of what is said of a deprecation: versions, and what to use."""


def _age(instance: Declaration, attribute: attrs.Attribute[str], value: str) -> None:
    about = f"{instance.kind} {instance.name!r}: {attribute.name}"
    if not isinstance(value, str) or not value.isprintable() or len(value) > AGE_MAX:
        raise ValueError(f"{about}: give a text of at most {AGE_MAX} characters")
    if value and instance.stability != "deprecated":
        raise ValueError(f"{about}: is for a component that is deprecated, and this one is {instance.stability}")


def _counters(instance: Declaration, attribute: attrs.Attribute[Any], value: Any) -> None:
    about = f"{instance.kind} {instance.name!r}: {attribute.name}"
    allowed, words = (BLOCK, "1 to 32 of a-z 0-9 _") if attribute.name == "counters" else (REASON, REASON_WORDS)
    if not isinstance(value, tuple) or len(value) > COUNTERS_MAX:
        raise ValueError(f"{about}: give a tuple of at most {COUNTERS_MAX}")
    for one in value:
        if not isinstance(one, str) or not allowed.match(one) or value.count(one) > 1:
            raise ValueError(f"{about}: {repr(one)[:SHOWN]}: use {words}, each once")


def _class_at(config: Any) -> type:
    """Import a configuration class, if only its name is given."""
    found: Any = _import_named(config) if isinstance(config, str) else config
    if not (isinstance(found, type) and attrs.has(found)):
        raise TypeError(f"{config!r} is not a configuration class")
    return found


def _import_named(target: str) -> Any:
    """Import what ``package.module:name`` names."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


VERSION_MAX = 9999


def _describes(_instance: object, _attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, type) and not (isinstance(value, str) and value.count(":") == 1):
        raise ValueError(f"describes {repr(value)[:SHOWN]}: give a class or 'package.module:Class'")


@frozen(eq=False)
class PayloadSchema:
    """What the payload of one type holds: for consumers, who get it as JSON Schema from ``otus schema``.

    ``describes`` is a ``TypedDict`` or a class made with attrs, or names it (``"otus_dns.records:Query"``); its
    annotations are the description. ``version`` grows when a member changes its meaning or goes away, not when one is
    added.
    """

    describes: str | type = attrs.field(validator=_describes)
    version: int = attrs.field(
        default=1,
        validator=[attrs.validators.instance_of(int), attrs.validators.ge(1), attrs.validators.le(VERSION_MAX)],
    )

    def load(self) -> type:
        """Import and give the class. Raises whatever the import raises, and TypeError for what is no class."""
        found: Any = _import_named(self.describes) if isinstance(self.describes, str) else self.describes
        if not isinstance(found, type):
            raise TypeError(f"{self.describes!r} is no class")
        return found


def schema_id(name: str, version: int) -> str:
    """Give the name of a schema: its ``$id``, and what messages carry as ``schema``."""
    return f"urn:otus:schema:{name}:{version}"


def _schemas(instance: Declaration, _attribute: attrs.Attribute[Any], value: Any) -> None:
    about = f"{instance.kind} {instance.name!r}: schemas"
    if not isinstance(value, Mapping) or not all(isinstance(one, PayloadSchema) for one in value.values()):
        raise ValueError(f"{about}: give a PayloadSchema for each payload type")
    if len(value) > PAYLOAD_TYPES_MAX or not all(isinstance(one, str) and PAYLOAD_TYPE.match(one) for one in value):
        raise ValueError(f"{about}: give at most {PAYLOAD_TYPES_MAX}, named like payload types")
    made = (
        getattr(instance, "payload_types", None) if instance.kind == "parser" else getattr(instance, "produces", None)
    )
    for one in value:
        if made is not None and one not in made:
            raise ValueError(f"{about}: {one!r} is no payload type that is declared here")


@frozen(kw_only=True, eq=False)
class Declaration:
    """What all kinds have in common. ``factory`` is called with the configuration and returns the component.

    ``config`` is its configuration class, or names it: ``"otus_sip.config:SipConfig"`` is imported when a task uses the
    component. ``counters`` are names of its own that it counts with ``context.counter(name)``: ``COUNTERS_MAX`` of them
    at most. ``local_options`` names options, such as destinations, logins and encryption, that a task from a command
    channel may not set; options named like files (``*_file``, ``path``) are refused from there anyway.

    A component whose ``stability`` is ``deprecated`` may say ``since`` which version of its distribution it is, in
    which one it will be gone (``removed_in``), and what to use in its place (``use_instead``). Whoever uses it is told.

    ``schemas`` says for payload types that the component makes what their payloads hold; a command channel describes
    what it sends of its own accord.
    """

    kind: ClassVar[str] = ""

    name: str = attrs.field(validator=_name)
    factory: str | Callable[..., Any] = attrs.field(validator=_factory)
    config: str | type = attrs.field(default=NoConfig, validator=_configuration)
    summary: str = ""
    local_options: tuple[str, ...] = ()
    stability: Stability = attrs.field(default="experimental", validator=attrs.validators.in_(STABILITIES))
    counters: tuple[str, ...] = attrs.field(default=(), validator=_counters)
    since: str = attrs.field(default="", validator=_age)
    removed_in: str = attrs.field(default="", validator=_age)
    use_instead: str = attrs.field(default="", validator=_age)
    schemas: Mapping[str, PayloadSchema] = attrs.field(factory=dict, validator=_schemas)

    def load_factory(self) -> Callable[..., Any]:
        """Import and return the factory. Raises whatever the import raises."""
        found: Callable[..., Any] = _import_named(self.factory) if isinstance(self.factory, str) else self.factory
        return found

    def load_config(self) -> type:
        """Import and return the configuration class.

        Raises whatever the import raises, and TypeError for what is none.
        """
        return _class_at(self.config)


@frozen(kw_only=True, eq=False)
class Capturer(Declaration):
    """A source of frames.

    ``live``: it never waits for reporters and has no end of its own. ``shardable``: N workers can share it.
    ``privileged``: its factory's ``acquire`` runs in the opener process.
    """

    kind: ClassVar[str] = "capturer"

    live: bool = False
    shardable: bool = False
    privileged: bool = False


def _hidden(instance: Any, _attribute: attrs.Attribute[Any], value: Any) -> None:
    for name, words in value.items():
        if not isinstance(name, str) or not BLOCK.match(name) or name in instance.counters:
            raise ValueError(f"hidden {name!r}: use 1 to 32 of a-z 0-9 _, a letter first, and no name of a counter")
        if not isinstance(words, tuple) or len(words) != 2 or not all(isinstance(one, str) and one for one in words):
            raise ValueError(f"hidden {name!r}: give what there is and what would look into it, two texts")


def _streams(instance: Any, _attribute: attrs.Attribute[Any], value: Any) -> None:
    about = f"{instance.kind} {instance.name!r}: streams"
    if not isinstance(value, tuple) or not all(isinstance(one, str) and STREAM.match(one) for one in value):
        raise ValueError(f"{about}: give a tuple of 'tcp' and 'websocket:SUBPROTOCOL'")
    if value and "tcp" not in value:
        raise ValueError(f"{about}: 'tcp' is missing: a WebSocket runs over it")


@frozen(kw_only=True, eq=False)
class Parser(Declaration):
    """A parser.

    ``payload_types[0]`` is what ``Parsed`` means when it names none; each may become part of a topic's name.

    ``transports`` (``udp``, ``tcp``, ``icmp``, ``other``) are the packets it is asked about at all; with ``streams``
    (``tcp``, and ``websocket:NAME`` for the WebSocket subprotocol NAME) it is given whole messages of TCP, and asked
    about a segment only where no message begins in it. ``frame(data, at)`` gives the size of the message that begins at
    ``at``, 0 if more bytes are needed to say so, -1 if none begins there; ``resync(data, at)`` where the next one
    begins, at ``at`` or behind, or -1. ``ports`` documents its defaults; parsers are asked in the order of ``priority``
    (lower first), then name. ``call_label`` names the label that tells calls apart. ``labels`` are all that it can
    make, also those that are made only when asked for: where they are given, a task that asks for another label with
    the same first part is refused. ``icmp`` among the ``transports`` stands for ICMP and ICMPv6, which ``other``
    includes.

    ``failure_reasons`` are the texts of its ParseErrors that are counted by name; others count as ``other``.

    The keys of ``hidden`` are further counters: of what it meets and does not look into. The value tells of it in two
    texts, the first word of the first being a plural: ``{"tls": ("packets in TLS", "not supported yet")}``, or the
    option that would look in the place of the second.

    ``routes``: it uses ``context.route``. ``on_request``: a task that names no parsers does not get it.
    """

    kind: ClassVar[str] = "parser"

    payload_types: tuple[str, ...] = attrs.field(validator=_payload_types)
    transports: tuple[Literal["udp", "tcp", "icmp", "other"], ...] = ("udp",)
    streams: tuple[str, ...] = attrs.field(default=(), validator=_streams)
    ports: tuple[int, ...] = ()
    priority: int = 100
    wants_flows: bool = False
    call_label: str | None = None
    labels: tuple[str, ...] = ()
    failure_reasons: tuple[str, ...] = attrs.field(default=(), validator=_counters)
    hidden: Mapping[str, tuple[str, str]] = attrs.field(factory=dict, validator=_hidden)
    routes: bool = False
    on_request: bool = False


@frozen(kw_only=True, eq=False)
class Processor(Declaration):
    """A processor.

    It sees the payload types that it ``accepts``, empty for all; others pass it by. ``produces`` are those of the
    records that it emits. ``rewrites``: it may put other payloads in the place of those it sees. ``routes``: it uses
    ``context.route``. ``call_label`` names the label that tells calls apart in what it produces. ``labels`` are all
    that its records can have; filters behind it are checked against them.
    """

    kind: ClassVar[str] = "processor"

    accepts: tuple[str, ...] = attrs.field(default=(), validator=_payload_types_or_none)
    produces: tuple[str, ...] = attrs.field(default=(), validator=_payload_types_or_none)
    rewrites: bool = False
    routes: bool = False
    call_label: str | None = None
    labels: tuple[str, ...] = ()


@frozen(kw_only=True, eq=False)
class Reporter(Declaration):
    """A reporter.

    ``payload_types`` it accepts, empty for all. At most ``max_in_flight`` calls of ``report`` are open at a time.
    ``own_retries``: it retries by itself, so the core's ``send_timeout`` and ``max_retries`` do not apply.
    ``failure_reasons`` is the closed set of reasons in a ``ReportResult``; others count as ``other``.
    """

    kind: ClassVar[str] = "reporter"

    payload_types: tuple[str, ...] = ()
    max_in_flight: int = attrs.field(default=1, validator=[attrs.validators.ge(1), attrs.validators.le(64)])
    own_retries: bool = False
    failure_reasons: tuple[str, ...] = ()
    batch_size: int = 100
    batch_timeout: float = 0.1


@frozen(kw_only=True, eq=False)
class CommandChannel(Declaration):
    """A way for commands to reach the daemon from elsewhere."""

    kind: ClassVar[str] = "command_channel"


@frozen(kw_only=True, eq=False)
class CommandGroup:
    """A group of ``otus`` commands that a plugin adds: ``app`` names a ``typer.Typer``, as ``"package.module:name"``,
    imported when it is used.
    """

    app: str = attrs.field(validator=_target)
    summary: str


def _block(_instance: object, _attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not BLOCK.match(value):
        raise ValueError(f"name {value!r}: use 1 to 32 of a-z 0-9 _, a letter first")


@frozen(kw_only=True, eq=False)
class SharedConfig:
    """A block of the daemon's configuration, ``otus.NAME``, from which several components of a plugin inherit.

    ``config`` is its configuration class, or names it; every key has a default. ``heirs`` are the components, as
    ``"reporter:NAME"`` or ``"command_channel:NAME"``: a key that is set here and neither in ``otus.reporters.NAME``
    (``otus.command_channel.NAME``) nor in the task itself is theirs too.

    ``bound`` names keys that say where to connect, each with those that are meant for that destination alone, such as
    ``{"brokers": ("sasl", "tls")}``: a task that names another destination does not inherit them, so that no password
    goes where it does not belong.
    """

    name: str = attrs.field(validator=_block)
    config: str | type
    heirs: tuple[str, ...] = attrs.field(validator=attrs.validators.min_len(1))
    summary: str = ""
    bound: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)

    @heirs.validator
    def _check_heirs(self, _attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
        for heir in value:
            kind, _, name = heir.partition(":")
            if kind not in ("reporter", "command_channel") or not NAME.match(name):
                raise ValueError(f"heir {heir!r}: use reporter:NAME or command_channel:NAME")

    def load_config(self) -> type:
        """Import and return the configuration class.

        Raises whatever the import raises, and TypeError for what is none.
        """
        return _class_at(self.config)


KINDS: dict[str, type[Declaration]] = {c.kind: c for c in (Capturer, Parser, Processor, Reporter, CommandChannel)}
