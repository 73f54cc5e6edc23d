"""JSON Schemas of what Otus gives to others: each message and record as a whole, as reporters send it and as a line of
JSON has it, and what command channels send of their own accord.

``otus schema NAME`` prints them. They are made of the declarations' ``schemas``: whatever a plugin describes is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NotRequired, TypedDict

from otus_core.declarations import PayloadSchema, schema_id
from otus_core.model.described import DRAFT, Schema, describe
from otus_core.plugins.registry import Registered, Registry
from otus_core.values import frozen

MESSAGE = "message"
MESSAGE_VERSION = 1
MAKERS = ("parser", "processor")
Port = Annotated[int, ("minimum", 0), ("maximum", 65535)]


class Message(TypedDict):
    """What every message and record has around its payload."""

    task_id: str
    agent_id: Annotated[str, "the node's name"]
    pipeline_id: Annotated[int, "the worker, counted from 0"]
    timestamp: Annotated[
        int | str, "time of capture: milliseconds since 1970, or in lines of JSON RFC 3339 with nine digits"
    ]
    src_ip: NotRequired[Annotated[str, "addresses are missing in records that have none"]]
    dst_ip: NotRequired[str]
    src_port: NotRequired[Port]
    dst_port: NotRequired[Port]
    protocol: NotRequired[Annotated[int, "number of the IP protocol: 17 is UDP, 6 is TCP", ("maximum", 255)]]
    outer_src_ip: NotRequired[Annotated[str, "of the outermost IP header, where there is a tunnel"]]
    outer_dst_ip: NotRequired[str]
    tunnel: NotRequired[Annotated[str, "the innermost tunnel"]]
    vni: NotRequired[int]
    vlans: NotRequired[Annotated[list[int], "VLAN ids, from the outside in", ("maxItems", 2)]]
    labels: dict[str, str]
    payload_type: str
    schema: NotRequired[Annotated[str, "names this schema, in lines of JSON; elsewhere a header does"]]
    key: NotRequired[Annotated[str, "what tells related records apart, where the record has it"]]
    payload: Any
    raw_payload: Annotated[str, "the message's own bytes; empty for records", ("contentEncoding", "base64")]


RECORDED = {
    "title": "as the value of a record, whose headers name the schema",
    "properties": {"timestamp": {"type": "integer"}, "schema": False},
}
WRITTEN = {
    "title": "as a line of JSON",
    "properties": {"timestamp": {"type": "string", "format": "date-time"}},
}


@frozen
class Document:
    """One schema: what it is called, whose it is, and how it comes to be."""

    name: str
    version: int
    source: str
    about: str
    maker: Registered | None = None
    schema: PayloadSchema | None = None

    @property
    def id(self) -> str:
        """The name that messages carry."""
        return schema_id(self.name, self.version)


def documents(registry: Registry) -> Iterator[Document]:
    """Give all schemas that there are: of messages in general, of each payload type, of command channels."""
    yield Document(MESSAGE, MESSAGE_VERSION, "otus-core", "any message or record, whatever its payload")
    seen = {MESSAGE}
    for kind in (*MAKERS, "command_channel"):
        for one in registry.components(kind):
            for name, schema in one.declaration.schemas.items():
                if name not in seen:
                    seen.add(name)
                    about = f"from {kind.replace('_', ' ')} {one.declaration.name}"
                    yield Document(name, schema.version, one.record.distribution, about, one, schema)


def write_schema(document: Document) -> Schema:
    """Give a schema as a document of its own. Raises what importing the plugin's class raises, and TypeError."""
    head = {"$schema": DRAFT, "$id": document.id, "title": f"{document.name}, version {document.version}"}
    if document.schema is None:
        return {**head, **_message({}, None)}
    described = describe(document.schema.load())
    if document.maker is not None and document.maker.declaration.kind not in MAKERS:
        return {**head, **described}
    return {**head, **_message(described, document)}


def _message(payload: Schema, document: Document | None) -> Schema:
    """Put the payload's schema into that of a message."""
    made = describe(Message)
    properties = made["properties"]
    shared = payload.pop("$defs", {})
    if document is not None and document.maker is not None:
        properties["payload_type"] = {"const": document.name}
        properties["schema"] = {**properties["schema"], "const": document.id}
        properties["payload"] = {"$ref": "#/$defs/Payload"}
        labels: tuple[str, ...] = getattr(document.maker.declaration, "labels", ())
        properties["labels"]["properties"] = {name: {"type": "string"} for name in labels}
        made["$defs"] = {**shared, "Payload": payload}
    # What declares a schema names it in lines of JSON.
    # Exactly one: a number of milliseconds and a text of RFC 3339 cannot both be the same value.
    made["oneOf"] = [RECORDED, WRITTEN if document is None else {**WRITTEN, "required": ["schema"]}]
    return made
