"""A machine that makes a stream ugly, moves it in any mode at any time, and compares.

What fails is shrunk to the few commands that it takes.
"""

from __future__ import annotations

import pathlib
import random
import tempfile
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests import servers
from tests.migrate.support import delay_none, migrate, url
from tests.migrate.ugly import Ugly, first_difference, known
from tests.respclient import Client
from tests.servers import Server

VERBS = (
    *("xadd", "xadd", "xadd", "xdel", "xtrim", "xgroup", "xreadgroup", "xreadgroup"),
    *("xack", "xclaim", "xautoclaim", "xsetid", "move", "life"),
)


class Machine(RuleBasedStateMachine):
    """One source, one target; both are emptied for each run."""

    source: ClassVar[Server]
    target: ClassVar[Server]

    @initialize()
    def begin(self) -> None:
        self.theirs: Client = self.source.connect()
        self.ours: Client = self.target.connect()
        self.theirs.call("FLUSHALL")
        self.ours.call("FLUSHALL")
        self.last = 0

    @rule(verbs=st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 1 << 20)), max_size=12))
    def change(self, verbs: list[tuple[str, int]]) -> None:
        for verb, seed in verbs:
            ugly = Ugly(self.theirs, random.Random(seed), extra=True)
            ugly.last = self.last
            ids = [row[0].decode() for row in self.theirs.call("XRANGE", "a", "-", "+")]
            ugly.ids = {key: list(ids) for key in ugly.ids}
            words: list[Any] = getattr(ugly, verb)("a")
            self.theirs.call(*words)
            self.last = ugly.last

    @rule(mode=st.sampled_from(("file", "follow", "scan")))
    def move(self, mode: str) -> None:
        words = [url(self.source), "-u", url(self.target), "--mode", mode]
        if mode == "file":
            while self.theirs.call("SAVE") != b"OK":  # the snapshot for a replica is ending
                pass
            self.ours.call("FLUSHALL")  # a file of another name would be another source
            words = [str(self.source.directory / "dump.rdb"), "-u", url(self.target)]
        done = migrate("run", *words)
        assert done.code == 0, done
        # a follower knows what a replica knows; the rest comes with the cut-over
        less = (b"seen-time", b"active-time", b"entries-read") if mode == "follow" else ()
        difference = first_difference(known(self.theirs, 8, *less), known(self.ours, 8, *less))
        if mode != "follow" or "pel-count" not in difference:
            assert not difference, (mode, difference, done)
        if mode == "file":
            self.ours.call("FLUSHALL")  # what a file left there is nobody's copy

    def teardown(self) -> None:
        if hasattr(self, "theirs"):
            self.theirs.close()
            self.ours.close()


def test_the_machine() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.redis(pathlib.Path(folder) / "source", 8, *delay_none()) as source,
        servers.respq(pathlib.Path(folder) / "target", presents=servers.REDIS_8_VERSION) as target,
    ):
        Machine.source, Machine.target = source, target
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=25,
                stateful_step_count=12,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
