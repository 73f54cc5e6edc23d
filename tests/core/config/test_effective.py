"""The configuration in force: file, variables, inheritance, and who this node is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from otus_core import ConfigInvalid, configuration, load_file, option
from otus_core.config.changes import changes
from otus_core.config.converter import structure
from otus_core.config.daemon import DaemonConfig
from otus_core.config.effective import load_effective, socket_path, variables
from otus_core.config.mask import MASK, mask
from otus_core.config.sample import sample
from otus_core.config.sections import Sections
from otus_core.plugins.loader import load as load_plugins

SECTIONS = load_plugins().config_sections()
NODE = {"OTUS_NODE_IP": "192.0.2.10"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


def test_no_file_means_all_defaults() -> None:
    found = load_effective(None, NODE)
    assert found.config.control.socket == "/run/otus/otus.sock"
    assert found.config.control.pid_file == "/run/otus/otus.pid"
    assert found.config.task_persistence.max_task_history == 100
    assert found.ip == "192.0.2.10"


def test_everything_that_is_wrong_is_told_at_once(file: Path) -> None:
    file.write_text("otus:\n  log: {levle: info, format: 3}\n  metrics: {listen: nowhere}\n  nodes: {}\n")
    with pytest.raises(ConfigInvalid) as caught:
        load_effective(file, {**NODE, "OTUS_RESOURCES_MAX_WORKERS": "many"}, SECTIONS)
    paths = {problem.path for problem in caught.value.problems}
    assert paths == {
        "otus.log.levle",
        "otus.log.format",
        "otus.metrics.listen",
        "otus.nodes",
        "OTUS_RESOURCES_MAX_WORKERS",
    } or paths >= {
        "otus.log.levle",
        "otus.log.format",
        "otus.metrics.listen",
        "otus.nodes",
    }
    assert "level" in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("OTUS_LOG_LEVEL", "debug", "log.level", "debug"),
        ("OTUS_METRICS_ENABLED", "false", "metrics.enabled", False),
        ("OTUS_KAFKA_BROKERS", "a:1, b:2", "kafka.brokers", ["a:1", "b:2"]),
        ("OTUS_KAFKA_BROKERS", '["a:1"]', "kafka.brokers", ["a:1"]),
        ("OTUS_NODE_TAGS", "dc=cn-north,env=prod", "node.tags", {"dc": "cn-north", "env": "prod"}),
        ("OTUS_TASK_PERSISTENCE_GC_INTERVAL", "5m", "task_persistence.gc_interval", 300.0),
        ("OTUS_KAFKA_SASL_PASSWORD", "007", "kafka.sasl.password", "007"),
        ("OTUS_BACKPRESSURE_SEND_BUFFER_HIGH_WATERMARK", "0.9", "backpressure.send_buffer.high_watermark", 0.9),
    ],
)
def test_a_variable_overrides_its_key(file: Path, variable: str, text: str, path: str, value: object) -> None:
    file.write_text("otus:\n  log: {level: error}\n")
    found: object = load_effective(file, {**NODE, variable: text}, SECTIONS).config
    for key in path.split("."):
        found = getattr(found, key)
    assert found == value


def test_every_key_has_a_variable_of_its_own() -> None:
    found = variables(SECTIONS.config_class(), SECTIONS)
    assert len({path for path, _ in found.values()}) == len(found) >= 60


@configuration
class Channel:
    topic: str = option(default="otus-commands", help="Topic.")


def test_a_plugin_s_keys_have_variables_too() -> None:
    environment = {**NODE, "OTUS_COMMAND_CHANNEL_SIGNAL_TOPIC": "other"}
    found = load_effective(None, environment, Sections(classes={"command_channel.signal": Channel}))
    channel: Any = found.config.command_channel
    assert (channel.type, channel.signal) == ("signal", {"topic": "other"})


def test_kafka_sections_inherit_and_override(file: Path) -> None:
    file.write_text(
        "otus:\n  kafka: {brokers: [k1:9092], tls: {enabled: true}}\n"
        "  reporters: {kafka: {brokers: [k2:9092], compression: zstd}}\n"
    )
    config: Any = load_effective(file, NODE, SECTIONS).config
    assert config.command_channel.kafka == {"brokers": ["k1:9092"], "tls": {"enabled": True}}
    assert config.reporters["kafka"] == {"brokers": ["k2:9092"], "tls": {"enabled": True}, "compression": "zstd"}


def test_the_node_s_name_is_expanded_everywhere(file: Path) -> None:
    file.write_text(
        "otus:\n  node: {hostname: edge-1}\n  command_channel: {kafka: {group_id: 'otus-${node.hostname}'}}\n"
    )
    found: Any = load_effective(file, NODE, SECTIONS)
    assert found.hostname == "edge-1"
    assert found.config.command_channel.kafka["group_id"] == "otus-edge-1"


def test_the_environment_s_address_comes_first(file: Path) -> None:
    file.write_text("otus: {node: {ip: 192.0.2.1}}\n")
    assert load_effective(file, {}).ip == "192.0.2.1"
    assert load_effective(file, NODE).ip == "192.0.2.10"
    with pytest.raises(ConfigInvalid, match="not an IP address"):
        load_effective(file, {"OTUS_NODE_IP": "nonsense"})


@pytest.mark.parametrize("text", ["otus:\n  log: {}\nextra: 1\n", "[]", "text", "log: {level: info}"])
def test_a_file_that_is_not_a_configuration_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigInvalid, match="otus"):
        load_effective(file, NODE)


def test_the_go_program_s_channel_is_accepted_with_a_warning(file: Path) -> None:
    file.write_text("otus: {backpressure: {pipeline_channel: {capacity: 65536, drop_policy: tail}}}\n")
    assert "pipeline_channel" in load_effective(file, NODE).warnings[0]


def test_the_cli_finds_the_socket_without_a_node_address(file: Path) -> None:
    file.write_text("otus: {control: {socket: /tmp/x.sock}}\n")
    assert socket_path(file, {}) == Path("/tmp/x.sock")
    assert socket_path(None, {"OTUS_CONTROL_SOCKET": "/tmp/y.sock"}) == Path("/tmp/y.sock")
    assert socket_path(None, {}) == Path("/run/otus/otus.sock")


def test_a_reload_tells_what_waits_for_a_restart() -> None:
    old = DaemonConfig()
    new = structure(
        DaemonConfig, {"log": {"level": "debug"}, "metrics": {"listen": ":1", "interval": 2}, "data_dir": "/x"}
    )
    assert changes(old, new) == (["metrics.interval", "log.level"], ["data_dir", "metrics.listen"])
    assert changes(old, old) == ([], [])


def test_the_sample_is_the_defaults() -> None:
    from otus_core.config.load import load_text

    cls = SECTIONS.config_class()
    assert structure(cls, load_text(sample(cls))) == cls()


def test_a_section_of_a_plugin_that_is_not_there_is_left_out_with_a_warning(file: Path) -> None:
    file.write_text(
        "otus: {acme: {password: x}, command_channel: {acme: {}}, reporters: {acme: {password: x}, discard: {}}}\n"
    )
    with pytest.raises(ConfigInvalid) as caught:
        load_effective(file, NODE, SECTIONS)
    assert {problem.path for problem in caught.value.problems} == {"otus.acme", "otus.command_channel.acme"}
    partial = attrs.evolve(SECTIONS, is_complete=False)
    found = load_effective(file, NODE, partial)
    assert [warning.partition(":")[0] for warning in found.warnings] == [
        "otus.acme",
        "otus.command_channel.acme",
        "otus.reporters.acme",
    ]
    shown = mask(load_file(file)["otus"], partial.config_class(), partial.classes)
    assert (shown["acme"], shown["reporters"]) == (MASK, {"acme": MASK, "discard": {}})


def test_a_misspelt_section_or_option_is_refused_also_when_a_plugin_is_left_out(file: Path) -> None:
    file.write_text("otus: {metrcs: {}, kafak: {}, reporters: {kafak: {}, kafka: {topc: x}}}\n")
    with pytest.raises(ConfigInvalid) as caught:
        load_effective(file, NODE, attrs.evolve(SECTIONS, is_complete=False))
    assert {problem.path for problem in caught.value.problems} == {"otus.metrcs", "otus.kafak"}
    file.write_text("otus: {reporters: {kafak: {}, kafka: {topc: x}}}\n")
    with pytest.raises(ConfigInvalid) as caught:
        load_effective(file, NODE, SECTIONS)
    assert {problem.path for problem in caught.value.problems} == {"otus.reporters.kafak", "otus.reporters.kafka.topc"}
