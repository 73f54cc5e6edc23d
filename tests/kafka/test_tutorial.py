"""The tutorial of a fleet does what it says, on a real broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.snippets import follow
from tests.docs.test_tutorials import FOLDER

from .broker import Broker
from .client import make_topic

pytestmark = pytest.mark.kafka


def test_the_tutorial_of_a_fleet_does_what_it_says(broker: Broker, tmp_path: Path) -> None:
    for topic in ("otus-commands", "otus-responses", "otus-heartbeat"):
        make_topic(broker, 1, topic)
    changes = {"127.0.0.1:9092": broker.bootstrap}
    assert follow(FOLDER / "fleet.md", tmp_path, network=False, changes=changes) >= 5
