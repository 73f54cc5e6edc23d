"""Makes ``docs/reference``: pages that come from the definitions in the code.

``nox -s reference`` writes them; a test tells when they are no longer true.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from otus_core.cli.help import EXIT_STATUS, OPTIONS, UNFILLED
from otus_core.cli.plugins import abilities
from otus_core.config.effective import variables
from otus_core.config.reference import reference
from otus_core.declarations import KINDS, NoConfig
from otus_core.decode import hidden as hidden_kinds
from otus_core.decode.decoder import COUNTERS
from otus_core.decode.options import DecoderConfig
from otus_core.observe.metrics import OtusCollector
from otus_core.observe.views import TaskView, View
from otus_core.pipeline.counters import GAUGES, LATENCY, Roster, counter_names
from otus_core.plugins.loader import load
from otus_core.plugins.records import PluginRecord, deprecation
from otus_core.plugins.registry import Registered, Registry
from otus_core.plugins.selection import Selection
from otus_core.stream.options import StreamsConfig
from otus_core.stream.streams import COUNTERS as STREAM_COUNTERS
from otus_core.task.options import CaptureOptions, ParserOptions, ProcessorOptions, ReporterOptions, TaskOptions

FOLDER = Path(__file__).parent / "reference"
HEAD = "<!-- Made by `nox -s reference` from the code: change that, not this page. -->\n"
ROSTER = Roster(
    parsers=("PARSER",),
    processors=("PROCESSOR",),
    reporters={"REPORTER": ("REASON",)},
    counted={"COMPONENT": ("NAME",)},
    refused={"PARSER": ("REASON",)},
    hidden={"PARSER": {"NAME": ("what it says", "what would look")}},
    routing=("COMPONENT",),
)
ENTRIES: Mapping[str, type] = {
    "capturer": CaptureOptions,
    "parser": ParserOptions,
    "processor": ProcessorOptions,
    "reporter": ReporterOptions,
}

MEANINGS = {
    "frames_read": "frames that the capturer gave",
    "messages_added": "messages beyond the first of one packet",
    "units": "packets that came out of the decoder",
    "fragments_merged": "IP fragments that became part of a whole datagram",
    "fragments_held": "IP fragments that wait for the rest of theirs; a level",
    "segments_merged": "TCP segments that became part of a message which a later segment completed",
    "segments_held": "TCP segments that wait for the rest of a message, or for a segment that comes before them",
    "matched": "units that a parser understood, or that are forwarded unmatched",
    "kept": "outputs that every processor let pass",
    "records{parser:PARSER}": "records that the parser emitted",
    "records{processor:PROCESSOR}": "records that the processor emitted",
    "consumed{parser:PARSER}": "packets that the parser took into something that a record will tell of",
    "consumed{processor:PROCESSOR}": "outputs that the processor took into something that a record will tell of",
    "cut_short{parser:PARSER}": "calls of `tick` and `finish` of the parser that failed: records may be missing",
    "cut_short{processor:PROCESSOR}": "the same of the processor",
    "routed{COMPONENT}": "messages that the component handed to other workers",
    "routed_lost{COMPONENT}": "messages that did not reach the worker they were for",
    "dropped{unmatched}": "units that no parser took",
    "dropped{worker_crash}": "frames that died with a worker",
    "frames_again": "frames that were given once more, because their worker was killed before it had brought them to "
    "an end",
    "frames_cut": "frames in the middle of which a worker was killed, and which were given once more",
    "REPORTER.offered_again": "outputs that a killed worker held in memory alone, and whose frames were given once "
    "more",
    "counted{COMPONENT:NAME}": "what the component itself counts, under a name that it declares; `sip` counts "
    "`malformed` messages that a filter or reporter looks at",
    "parse_errors{PARSER:REASON}": "those of `parse_error` whose reason the parser declares",
    "parse_errors{PARSER:other}": "those of `parse_error` with another reason",
    "parse_errors{PARSER:fault}": "those of `parse_error` that end in an exception which the parser may not raise",
    "dropped{ignored:PARSER}": "packets in which the parser found nothing to report",
    "dropped{parse_error:PARSER}": "packets that the parser took and could not make sense of",
    "errors{parser:PARSER}": "exceptions of the parser that it may not raise",
    "dropped{filtered:PROCESSOR}": "outputs that the processor dropped",
    "dropped{processor_error:PROCESSOR}": "outputs dropped because the processor raised",
    "dropped{circuit_open:PROCESSOR}": "outputs dropped while the processor was cut off",
    "errors{processor:PROCESSOR}": "exceptions of the processor",
    "REPORTER.offered": "outputs offered to the reporter",
    "REPORTER.reported": "outputs that the destination acknowledged",
    "REPORTER.queued": "outputs in the send buffer; a level",
    "REPORTER.in_flight": "outputs that are being sent; a level",
    "REPORTER.spooled": "outputs on disk, in the reporter's spool; a level",
    "REPORTER.spool_found": "outputs that an earlier run had left in the spool, and those of which a worker that died "
    "had not noted there that they were acknowledged: with these, more may be reported than was offered",
    "REPORTER.spool_written": "outputs that were written to the spool",
    "REPORTER.spool_sent": "outputs that the destination acknowledged and that came from the spool",
    "REPORTER.spool_resent": "outputs that were being sent from the spool when the worker died: they are sent again, "
    "and may arrive twice",
    "REPORTER.spool_bytes": "what the spool takes on disk, in bytes; a level",
    "REPORTER.dropped{spool_full}": "outputs dropped because the spool was full, the oldest first",
    "REPORTER.dropped{spool_expired}": "outputs dropped because they had waited in the spool for max_age",
    "REPORTER.dropped{spool_damaged}": "outputs that could not be read back from the spool",
    "REPORTER.dropped{spool_error}": "outputs that could not be written to the spool: their payload or a label is "
    "faulty",
    "REPORTER.moved_to_fallback": "outputs handed to the fallback reporter",
    "REPORTER.dropped{buffer_overflow}": "outputs dropped because the send buffer was full, the oldest first",
    "REPORTER.dropped{shutdown}": "outputs that could not be sent before the end",
    "REPORTER.dropped{worker_crash}": "outputs that died with a worker",
    "REPORTER.dropped{report_error:REASON}": "outputs that could not be sent, by a reason that the reporter declares",
    "REPORTER.dropped{report_error:exception}": "outputs of a batch for which the reporter raised, last tries included",
    "REPORTER.dropped{report_error:ambiguous}": "outputs of which nobody knows whether they arrived, as when a call "
    "took longer than send_timeout",
    "REPORTER.dropped{report_error:invalid}": "outputs of which the reporter did not say properly what became of them",
    "REPORTER.dropped{report_error:other}": "outputs lost for a reason that the reporter does not declare",
    "REPORTER.batches": "batches that the reporter has seen to their end",
    "REPORTER.retries": "further tries of failed batches",
    "REPORTER.latency_ns": "time that batches took, added",
    "REPORTER.blocked_ns": "time that the reporter kept the packet thread, added",
    "REPORTER.bytes_queued": "bytes in the send buffer; a level",
    "REPORTER.oldest_ns": "how long the oldest call of the reporter has been under way; a level",
    "errors{reporter:REPORTER}": "exceptions of the reporter",
    "dropped{decode:not_ip}": "frames that hold no IP packet",
    "dropped{decode:truncated}": "frames that end before their headers do",
    "dropped{decode:bad_header}": "frames whose headers contradict themselves",
    "dropped{decode:too_deep}": "frames with more tunnels, tags or extension headers than are looked into",
    "dropped{decode:unsupported_link}": "frames of a link type that is not understood",
    "dropped{reassembly:incomplete}": "fragments still held at the end of a capture",
    "dropped{reassembly:timeout}": "fragments whose datagram was not whole in time",
    "dropped{reassembly:overlap}": "fragments of a datagram in which two differ about the same bytes",
    "dropped{reassembly:duplicate}": "fragments that were there already",
    "dropped{reassembly:too_large}": "fragments of a datagram larger than 65,535 bytes",
    "dropped{reassembly:bad_fragment}": "fragments that cannot be one",
    "dropped{reassembly:limit}": "fragments given up because too many, or too many bytes, were held",
    "dropped{reassembly:gap}": "TCP segments, or parts of one that is counted already, of a message in which others "
    "are missing: they were waited for until `gap_timeout`, or too much came after them",
    "dropped{reassembly:retransmission}": "TCP segments in which there was nothing new",
    "dropped{reassembly:no_message}": "TCP segments that waited, and parts of others, in which no message was found",
    "dropped{reassembly:message_too_large}": "TCP segments of messages larger than `max_message`",
    "dropped{reassembly:stream_limit}": "TCP segments given up because there were too many streams, or too many bytes",
    "dropped{reassembly:control}": "TCP segments, or parts of one that is counted already, that are control frames of "
    "WebSocket",
    "dropped{reassembly:compressed}": "likewise messages in compressed frames that could not be inflated",
    "dropped{reassembly:stream_end}": "TCP segments of messages that were not whole when their connection or the "
    "capture ended, or nothing came for `timeout`",
}

LEVELS = {
    *GAUGES,
    *LATENCY,
    *(f"{what}{{{component}}}" for component in ROSTER.components for what in ("state", "status")),
}
"""What is counted and shown as a metric alone."""


def pages() -> dict[str, str]:
    """Give every page's text by its name."""
    sys.path.insert(0, str(FOLDER.parents[1]))  # this file is run as a program, too
    from docs.api import api_page
    from docs.bounds import bounds_page

    registry = load(Selection())
    made = {
        "configuration.md": configuration(registry),
        "task.md": task(),
        "components.md": components(registry),
        "commands.md": "".join(commands()),
        "metrics.md": metrics(),
        "counters.md": counters(),
        "bounds.md": bounds_page(),
        "plugin-api.md": api_page(),
    }
    return {name: HEAD + text.rstrip() + "\n" for name, text in made.items()}


def configuration(registry: Registry) -> str:
    """The daemon's keys and the variables that override them."""
    cls = registry.config_sections().config_class()
    names = {".".join(path): name for name, (path, _) in variables(cls).items()}
    example = names["log.level"]
    return (
        "# The daemon's configuration\n\n"
        "For operators who look up a key of the daemon's configuration: its type, its default, and what it does. "
        "These keys stand below `otus:` in the file that `otus daemon -c FILE` reads. "
        "[deploy/config.yml](../../deploy/config.yml) has all of them with their defaults, and "
        "`otus validate -f FILE` checks a file.\n\n"
        "An environment variable can override each key. Its name is `OTUS_` and the key's path in upper case, with "
        f"underscores for dots: `{example}` overrides `log.level`. Separate the items of a list with commas, and write "
        "a mapping as `key=value` pairs with commas; YAML and JSON are accepted for any value. Below `reporters.NAME` "
        "and `command_channel.NAME` stand the options of the [component](components.md) of that name. Blocks that "
        "several components share, such as `kafka`, come from plugins.\n\n" + reference(cls)
    )


def task() -> str:
    """The keys of a task file."""
    parts = [
        "# Task files\n\nFor people who write tasks: every key that a task may have, whatever its plugins are. "
        "`otus task create -f`, `otus run --task` and the command `task_create` accept these keys, in YAML or JSON. A "
        "component is given as its name, or as a mapping with `type` and the keys below. Its own options stand under "
        "`config` (for `capture`, beside `type`); [components](components.md) lists them.\n\n"
        "`otus schema task` prints a JSON Schema, and `otus validate -f FILE` checks a file.\n\n",
        reference(TaskOptions),
        "\n## decoder\n\n",
        reference(DecoderConfig),
        "\n## streams\n\n",
        reference(StreamsConfig),
    ]
    for kind, options in ENTRIES.items():
        parts += [f"\n## A {kind}\n\n", reference(options)]
    return "".join(parts)


def components(registry: Registry) -> str:
    """Every first-party component with its options."""
    parts = [
        "# Components\n\nFor people who write tasks: the options of each capturer, parser, processor, reporter and "
        "command channel of the first-party plugins. `otus plugins list` shows what is installed.\n"
    ]
    for kind in KINDS:
        found = sorted(registry.components(kind), key=lambda one: one.declaration.name)
        parts += [_component(one) for one in found]
    return "".join(parts)


def _component(one: Registered) -> str:
    declared = one.declaration
    said = [f"`{one.record.distribution}`", deprecation(declared) or declared.stability]
    said += [name if value == "yes" else f"{name}: {value}" for name, value in abilities(declared)]
    options = "It has no options.\n" if declared.load_config() is NoConfig else reference(declared.load_config())
    return (
        f"\n## {declared.kind.replace('_', ' ')} {declared.name}\n\n{declared.summary}. {'; '.join(said)}.\n\n{options}"
    )


def commands() -> Iterator[str]:
    """Every command with its options."""
    statuses = "; ".join(f"{number} {meaning}" for number, meaning in EXIT_STATUS)
    yield "# Commands\n\nFor everybody who types commands or calls them from scripts: each one with its options. "
    yield "`man otus` has the same.\n\n"
    yield f"Exit status: {statuses}. The following options may stand before or after any command:\n\n"
    yield "| option | meaning |\n|---|---|\n"
    yield from (_row(f"`{option}`", meaning) for option, meaning in OPTIONS)
    from docs.man import each_command, option_of, usage_of

    for path, command in each_command():
        yield f"\n## {path}\n\n`{usage_of(path, command)}`\n\n{_unwrapped(command.help or '')}\n"
        options = [option_of(one) for one in command.params if one.name != "help" and one.help]
        rows = [_row(f"`{written}`", meaning) for written, meaning in options]
        if rows:
            yield "\n| option | meaning |\n|---|---|\n"
            yield from rows


def _unwrapped(text: str) -> str:
    return "\n\n".join(map(_paragraph, text.split("\n\n")))


def _paragraph(text: str) -> str:
    if text.startswith(UNFILLED):
        lines = (f"$ {line.strip()}" for line in text.removeprefix(UNFILLED).splitlines())
        return "\n".join(("```console", *lines, "```"))
    return " ".join(text.split())


def metrics() -> str:
    """Every metric, as the collector gives it."""
    zeros = dict.fromkeys(counter_names(ROSTER, COUNTERS), 0)
    one = TaskView(
        id="t",
        state="running",
        interface="eth0",
        degraded=False,
        restarts=0,
        setbacks=0,
        roster=ROSTER,
        workers=(zeros,),
        pids=(os.getpid(),),
        capturing=(True,),
        connected={"kafka": True},
        fill={"kafka": 0.0},
        spool_limit={"kafka": 1},
        spool_fill={"kafka": 0.0},
        memory=(1,),
        memory_limit=1,
    )
    record = PluginRecord(plugin="sip", distribution="otus-plugin-sip", version="0")
    view = View(
        tasks=(one,),
        plugins=(record,),
        reload_failures=0,
        log_lines_dropped=0,
        channels={"kafka": True},
        namesakes={"kafka": 0},
        channels_counted={"kafka": {"": 0}},
        channels_said={"kafka": "ok"},
        chore_failures={"": 0},
        scrapes_closed={"": 0},
    )
    rows = []
    for family in sorted(OtusCollector(lambda: view).collect(), key=lambda family: family.name):
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(_row(f"`{name}`", family.type, ", ".join(f"`{label}`" for label in labels), family.documentation))
    return (
        "# Metrics\n\nFor operators who write alerts and dashboards: every metric with its labels. They are served "
        "on `metrics.listen` at `metrics.path`. Label values come from closed sets: tasks, "
        "components, plugins and reasons; never from a packet. [Counters](counters.md) explains stages and "
        "reasons.\n\n| metric | type | labels | meaning "
        "|\n|---|---|---|---|\n" + "".join(rows)
    )


def counters() -> str:
    """The terms of the accounting identity."""
    names = [name for name in counter_names(ROSTER, (*COUNTERS, *STREAM_COUNTERS)) if name not in LEVELS]
    rows = [_row(f"`{name}`", MEANINGS[name]) for name in names if not name.startswith("hidden{")]
    hidden = [_row(f"`{name}`", *words) for name, words in {**hidden_kinds.KINDS, **hidden_kinds.STREAMS}.items()]
    return (
        "# Counters\n\nFor readers who want to know what became of their packets: what each number in a summary means. "
        "These counters say what became of every frame. `otus run --summary-json`, `otus task status` "
        "and `otus stats` show them. PARSER, PROCESSOR and REPORTER stand for a component's id. A *unit* is a packet "
        "that came out of the decoder. An *output* is a message that a parser made of it, or a *record*: what a "
        "component tells that no single packet gave.\n\n"
        "Together they account for every frame: the following sums must hold. `unaccounted` says how far they are from "
        "holding; it is 0 when nothing is under way.\n\n"
        "    kernel_rx − kernel_drop      = frames_read − frames_again + excluded_own + in_ring\n"
        "    frames_read + messages_added = units + fragments_merged + fragments_held + segments_merged + segments_held"
        "\n                                   + dropped{decode:…} + dropped{reassembly:…} + dropped{worker_crash} + "
        "frames_cut\n"
        "    units                        = matched + consumed{parser:…} + dropped{unmatched} + dropped{ignored:…} + "
        "dropped{parse_error:…}\n"
        "    matched + records{…}         = kept + consumed{processor:…} + dropped{filtered:…} + "
        "dropped{processor_error:…} + dropped{circuit_open:…}\n"
        "    offered + spool_found        = reported + queued + in_flight + spooled + moved_to_fallback + "
        "offered_again + its own dropped{…}, for each reporter\n\n"
        "`excluded_own` are the frames of Otus's own connections that `exclude_own` leaves out of a live capture.\n\n"
        "| counter | what it counts |\n|---|---|\n" + "".join(rows) + "\n## What was not looked into\n\n"
        "Counted in addition to these sums, and shown as `not_looked_into` with `what`, `count`, `told` and `remedy`; "
        "the metric is `otus_not_looked_into_total`. "
        "Frames of a link type that is not read are `link:NUMBER`; what a parser declares is `PARSER:NAME`.\n\n"
        "| what | told | remedy |\n|---|---|---|\n" + "".join(hidden)
    )


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


def main() -> None:
    """Write the pages, and the manual page."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
        sys.stdout.write(f"{FOLDER / name}\n")
    from docs.man import main as write_manual

    write_manual()


if __name__ == "__main__":
    main()
