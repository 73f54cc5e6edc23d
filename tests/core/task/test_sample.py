"""``otus config sample PIPELINE``: a whole task file that is valid as it is printed, and with every key in force."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.core.plugins.distributions import Site

PIPELINES = [
    "afpacket/sip,filter/kafka",
    "pcap/console",
    "pcap/sip/filter,label/console,discard",
    " pcap / processor:filter, parser:icmp /\n reporter:discard ",
    "capturer:pcap/sip/kafka",
]
COMMENTED = re.compile(r"^( *)#(?! )(?!$)", re.MULTILINE)
"""A key that is commented out; a comment has a blank behind its ``#``."""
REQUIRED = """
import otus_core

@otus_core.configuration
class Config:
    where: str = otus_core.option(min_length=1, help="Where to")
    count: int = otus_core.option(ge=7, help="How many")
    kind: str = otus_core.option(choices=("a", "b"), help="Which")
    more: str = otus_core.option(default="", example="for one", help="More")

class Both:
    def __init__(self, config): pass

@otus_core.hookimpl
def otus_components():
    yield otus_core.Reporter(name="needy", factory="otus_plugin_needy:Both", config=Config, summary="Needs much")
    yield otus_core.Parser(name="both", factory="otus_plugin_needy:Both", payload_types=("both",), summary="Both")
    yield otus_core.Processor(name="both", factory="otus_plugin_needy:Both", summary="Both")
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(folder=tmp_path)


def sampled(site: Site, pipeline: str) -> str:
    done = site.otus("config", "sample", pipeline)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def validated(site: Site, text: str) -> str:
    file = site.folder / "task.yaml"
    file.write_text(text)
    done = site.otus("validate", "-f", str(file))
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["type"] for entry in entries]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_it_is_valid_as_printed_and_with_every_key_in_force(site: Site, pipeline: str) -> None:
    text = sampled(site, pipeline)
    validated(site, text)
    assert len(COMMENTED.findall(text)) > 20
    validated(site, COMMENTED.sub(r"\1", text))


def test_the_parts_are_those_of_the_expression(site: Site) -> None:
    task = yaml.safe_load(sampled(site, "afpacket/label,sip,filter/kafka,console"))
    assert task["capture"] == {"type": "afpacket", "interface": "eth0"}
    assert (names(task["parsers"]), names(task["processors"])) == (["sip"], ["label", "filter"])
    assert names(task["reporters"]) == ["kafka", "console"]
    assert task["reporters"][0]["config"] == {"brokers": ["kafka-1:9092"], "topic": "otus-sip"}


def test_what_has_no_default_gets_a_value_that_can_be_replaced(site: Site) -> None:
    site.install("otus-plugin-needy", REQUIRED)
    text = sampled(site, "pcap/needy")
    config = yaml.safe_load(text)["reporters"][0]["config"]
    assert config == {"where": "CHANGE-ME", "count": 7, "kind": "a", "more": "for one"}
    validated(site, text)


WRONG = {
    "no capturer": ("sip/console", "there is no capturer 'sip'", "there is a parser of this name"),
    "one part": ("pcap", "is no pipeline: write CAPTURER/PARSER,PROCESSOR,…/REPORTER,…", ""),
    "an empty part": ("pcap//console", "is no pipeline", ""),
    "two capturers": ("pcap,afpacket/console", "is no pipeline", ""),
    "misspelt": ("pcap/siip/console", "there is no parser 'siip'; did you mean 'sip'?", ""),
    "of the wrong kind": (
        "pcap/reporter:console/console",
        "'reporter:console': here stands a parser or a processor",
        "",
    ),
    "ambiguous": ("pcap/both/console", "'both' is a parser and a processor: write parser:both or processor:both", ""),
    "too many": ("pcap/" + ",".join(["sip"] * 70) + "/console", "the pipeline has more than 64 parts", ""),
}


@pytest.mark.parametrize(("pipeline", "told", "more"), WRONG.values(), ids=WRONG)
def test_what_is_no_pipeline_is_told(site: Site, pipeline: str, told: str, more: str) -> None:
    site.install("otus-plugin-needy", REQUIRED)
    done = site.otus("config", "sample", pipeline)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr and more in done.stderr
