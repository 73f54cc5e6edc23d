"""Contract suites: what every component of a kind must do, as tests to inherit.

For a parser the whole test is::

    class TestDns(ParserContract):
        component = "dns"
        samples = Path(__file__).parent / "samples"

A sample is a file of bytes, one packet's payload; ``NAME.json`` beside ``NAME.bin`` holds the labels that it must give,
one dict a message.
"""

from otus_core.testing.contract.capturer import CapturerContract
from otus_core.testing.contract.channel import CommandChannelContract
from otus_core.testing.contract.messages import outputs
from otus_core.testing.contract.parser import ParserContract
from otus_core.testing.contract.processor import ProcessorContract
from otus_core.testing.contract.reporter import ReporterContract

__all__ = [
    "CapturerContract",
    "CommandChannelContract",
    "ParserContract",
    "ProcessorContract",
    "ReporterContract",
    "outputs",
]
