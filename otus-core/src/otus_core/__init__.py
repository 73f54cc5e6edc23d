"""Otus: an edge packet-capture agent for SIP/VoIP, as a plugin framework.

This module is the whole of what a plugin may import; the names are loaded at first use. Compiled plugins may also
cimport what is in ``otus_core.inline``, and build with ``otus_core.build``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from otus_core.caller import calling
    from otus_core.capture.bpf import compile_bpf
    from otus_core.chores import Chores
    from otus_core.components import (
        CONSUMED,
        BaseCapturer,
        BaseCommandChannel,
        BaseParser,
        BaseProcessor,
        BaseReporter,
        CaptureStats,
        CommandHandler,
        Consumed,
        ReportResult,
    )
    from otus_core.config.fields import Duration, configuration, option
    from otus_core.config.load import load_file
    from otus_core.config.message import MessageForm
    from otus_core.config.own_types import register_type
    from otus_core.config.tls import TlsConfig, TlsOptions, client_tls, server_tls
    from otus_core.context import Context, Counter, LineWriter
    from otus_core.declarations import (
        Capturer,
        CommandChannel,
        CommandGroup,
        Declaration,
        NoConfig,
        Parser,
        PayloadSchema,
        Processor,
        Reporter,
        SharedConfig,
    )
    from otus_core.decode.frame_decoder import FrameDecoder
    from otus_core.decode.shard import Shard
    from otus_core.errors import (
        BpfInvalid,
        CaptureError,
        ConfigInvalid,
        ConfigProblem,
        FlowContextRefused,
        OtusError,
        ParseError,
        PluginInitFailed,
    )
    from otus_core.folders import open_regular, read_regular, read_secret, require_regular
    from otus_core.hookspecs import hookimpl
    from otus_core.log import Logger
    from otus_core.model.endpoints import FlowMatch
    from otus_core.model.flow_key import FLOW_KEY_FORMAT, FlowKey
    from otus_core.model.flows import FlowRegistry
    from otus_core.model.frames import FRAME_INDEX_FORMAT, FrameBatch, RawPacket
    from otus_core.model.json import encode_json, encode_json_lines
    from otus_core.model.json_values import to_json
    from otus_core.model.label_source import LabelSource
    from otus_core.model.labels import packed_labels
    from otus_core.model.lines import TextLines
    from otus_core.model.media import MediaContext
    from otus_core.model.metadata import FrameMetadata
    from otus_core.model.output import OutputPacket, Parsed
    from otus_core.model.packet import DecodedPacket
    from otus_core.model.record import Record
    from otus_core.model.table import Column, TableLayout, table_lines
    from otus_core.model.text import columns_of, fit, printable, say_duration
    from otus_core.process.terminal import is_coloured, terminal_columns, write_csv, write_lines
    from otus_core.runs import RunFailed, run_task

_EXPORTS = {
    "caller": ("calling",),
    "capture.bpf": ("compile_bpf",),
    "chores": ("Chores",),
    "components": (
        "CONSUMED",
        "BaseCapturer",
        "BaseCommandChannel",
        "BaseParser",
        "BaseProcessor",
        "BaseReporter",
        "CaptureStats",
        "CommandHandler",
        "Consumed",
        "ReportResult",
    ),
    "context": ("Context", "Counter", "LineWriter"),
    "config.fields": ("Duration", "configuration", "option"),
    "config.load": ("load_file",),
    "config.message": ("MessageForm",),
    "config.own_types": ("register_type",),
    "config.tls": ("TlsConfig", "TlsOptions", "client_tls", "server_tls"),
    "declarations": (
        "Capturer",
        "CommandChannel",
        "CommandGroup",
        "Declaration",
        "NoConfig",
        "Parser",
        "PayloadSchema",
        "Processor",
        "Reporter",
        "SharedConfig",
    ),
    "decode.frame_decoder": ("FrameDecoder",),
    "decode.shard": ("Shard",),
    "errors": (
        "BpfInvalid",
        "CaptureError",
        "ConfigInvalid",
        "ConfigProblem",
        "FlowContextRefused",
        "OtusError",
        "ParseError",
        "PluginInitFailed",
    ),
    "folders": ("open_regular", "read_regular", "read_secret", "require_regular"),
    "hookspecs": ("hookimpl",),
    "log": ("Logger",),
    "model.endpoints": ("FlowMatch",),
    "model.flow_key": ("FLOW_KEY_FORMAT", "FlowKey"),
    "model.flows": ("FlowRegistry",),
    "model.frames": ("FRAME_INDEX_FORMAT", "FrameBatch", "RawPacket"),
    "model.json": ("encode_json", "encode_json_lines"),
    "model.json_values": ("to_json",),
    "model.label_source": ("LabelSource",),
    "model.labels": ("packed_labels",),
    "model.lines": ("TextLines",),
    "model.media": ("MediaContext",),
    "model.metadata": ("FrameMetadata",),
    "model.output": ("OutputPacket", "Parsed"),
    "model.packet": ("DecodedPacket",),
    "model.record": ("Record",),
    "model.table": ("Column", "TableLayout", "table_lines"),
    "model.text": ("columns_of", "fit", "printable", "say_duration"),
    "process.terminal": ("is_coloured", "terminal_columns", "write_csv", "write_lines"),
    "runs": ("RunFailed", "run_task"),
}
_WHERE = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "CONSUMED",
    "FLOW_KEY_FORMAT",
    "FRAME_INDEX_FORMAT",
    "BaseCapturer",
    "BaseCommandChannel",
    "BaseParser",
    "BaseProcessor",
    "BaseReporter",
    "BpfInvalid",
    "CaptureError",
    "CaptureStats",
    "Capturer",
    "Chores",
    "Column",
    "CommandChannel",
    "CommandGroup",
    "CommandHandler",
    "ConfigInvalid",
    "ConfigProblem",
    "Consumed",
    "Context",
    "Counter",
    "Declaration",
    "DecodedPacket",
    "Duration",
    "FlowContextRefused",
    "FlowKey",
    "FlowMatch",
    "FlowRegistry",
    "FrameBatch",
    "FrameDecoder",
    "FrameMetadata",
    "LabelSource",
    "LineWriter",
    "Logger",
    "MediaContext",
    "MessageForm",
    "NoConfig",
    "OtusError",
    "OutputPacket",
    "ParseError",
    "Parsed",
    "Parser",
    "PayloadSchema",
    "PluginInitFailed",
    "Processor",
    "RawPacket",
    "Record",
    "ReportResult",
    "Reporter",
    "RunFailed",
    "Shard",
    "SharedConfig",
    "TableLayout",
    "TextLines",
    "TlsConfig",
    "TlsOptions",
    "__version__",
    "calling",
    "client_tls",
    "columns_of",
    "compile_bpf",
    "configuration",
    "encode_json",
    "encode_json_lines",
    "fit",
    "hookimpl",
    "is_coloured",
    "load_file",
    "open_regular",
    "option",
    "packed_labels",
    "printable",
    "read_regular",
    "read_secret",
    "register_type",
    "require_regular",
    "run_task",
    "say_duration",
    "server_tls",
    "table_lines",
    "terminal_columns",
    "to_json",
    "write_csv",
    "write_lines",
]


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module 'otus_core' has no attribute {name!r}")
    value = getattr(import_module(f"otus_core.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
