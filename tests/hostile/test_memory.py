"""Memory runs out under a daemon: the worker that takes it goes, is named and comes back; daemon and
other tasks go on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests import needs
from tests.e2e.node import Node
from tests.e2e.test_plugin_faults import create, deaths, goes_on
from tests.hostile.memory import limited
from tests.live.net import children_of, own_memory
from tests.patience import wait

pytestmark = pytest.mark.slow
ROOM = 100 << 20


def test_the_worker_that_takes_all_memory_goes_alone(start: Callable[[], Node]) -> None:
    needs.root()
    node = start()
    create(node, "good")
    leaks = {
        "id": "bad",
        "capture": {"type": "ticker"},
        "parsers": [{"type": "harmful", "config": {"kind": "leak", "after": 100}}],
        "reporters": ["discard"],
    }
    pids = [node.pid, *children_of(node.pid)]
    with limited(pids, sum(own_memory(pid) for pid in pids) + ROOM) as kind:
        sys.stderr.write(f"memory limited by {kind}\n")
        assert "result" in node.rpc("task_create", config=leaks)
        if kind == "RLIMIT_AS":  # Python says so itself, and the parser's packet is all that it costs
            wait(lambda: node.state("bad")["counters"]["dropped"].get("parse_error:harmful"), what="it is counted")
        else:
            wait(lambda: deaths(node, "bad"), what="the kernel ends its worker")
            assert {death["reason"] for death in deaths(node, "bad")} == {"signal 9"}
            assert deaths(node, "bad")[0]["blamed"] == "parser:harmful"
        goes_on(node, "good")
        assert node.state("good")["worker_restarts"] == 0
        assert "result" in node.rpc("task_delete", task_id="bad")
    goes_on(node, "good")
