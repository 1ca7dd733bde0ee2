"""The same commands to two nodes; one flushes, forgets, crashes and starts again between them.

Nobody can tell: every reply is the same to the byte, and so is the state at the end. Seen times are
left out, which a restart may forget.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from lsmstore.simfs import KEEP_ALL, LOSE_ALL, MIXED
from respserver.clock import ManualClock
from tests.sim.dump import SEEN, difference, dump
from tests.sim.node import PATH, SMALL, START_MS, SimNode
from tests.sim.workload import CONSUMERS, GROUPS, KEYS, Command, Workload

NODE_ENTRIES = "7"
BUDGETS = {
    "memtable_bytes": st.sampled_from([1, 4_000, 30_000, 1 << 30]),
    "cache_bytes": st.sampled_from([0, 10_000, 1 << 30]),
    "resident_bytes": st.sampled_from([0, 5_000, 1 << 30]),
    "sync_on_thread": st.booleans(),
    "slow_slices": st.booleans(),
    "seed": st.integers(0, 9),
    "merges": st.booleans(),
    "options": st.sampled_from(
        [
            SMALL,
            replace(SMALL, dictionary_bytes=0, frame_bytes=64, own_frame_bytes=64, merge_width=2),
            replace(SMALL, frame_bytes=65536, tier_bytes=100, directory_page_bytes=64),
            replace(SMALL, graduate_bytes=300, own_segment_bytes_max=700, row_files_max=2),
            replace(
                SMALL,
                graduate_bytes=300,
                own_frame_bytes=65536,
                own_columns=False,
                log_compressed_bytes_min=100,
            ),
        ]
    ),
}
budgets = st.fixed_dictionaries(BUDGETS)
draws = st.integers(0, 1 << 32).map(random.Random)


def question(rng: random.Random) -> Command:
    """A command that only looks."""
    key, group = rng.choice(KEYS), rng.choice(GROUPS)
    return rng.choice(
        (
            ["XPENDING", key, group],
            ["XPENDING", key, group, "-", "+", "20"],
            ["XPENDING", key, group, "IDLE", "300", "-", "+", "20", rng.choice(CONSUMERS)],
            ["XINFO", "STREAM", key],
            ["XINFO", "STREAM", key, "FULL", "COUNT", "3"],
            ["XINFO", "GROUPS", key],
            ["XREVRANGE", key, "+", "-", "COUNT", "4"],
            ["KEYS", "*"],
            ["SCAN", "0", "COUNT", "2"],
            ["DBSIZE"],
            ["TYPE", key],
            ["GET", "k1"],
        )
    )


class Nodes(RuleBasedStateMachine):
    """One node that keeps all in memory, one that does not."""

    @initialize(rng=draws, budget=budgets)
    def begin(self, rng: random.Random, budget: dict[str, Any]) -> None:
        self.clock = ManualClock(START_MS)
        how = {"stream-node-max-entries": NODE_ENTRIES, "stream-idmp-duration": "1"}
        self.plain = SimNode(clock=self.clock, settings=how)
        self.how: dict[str, Any] = {"settings": how, **budget}
        self.node = SimNode(clock=self.clock, **self.how)
        self.work = Workload(rng, blocking=False)
        self.checkpoints = 0

    @rule(rng=draws, n=st.integers(1, 12))
    def commands(self, rng: random.Random, n: int) -> None:
        self.work.rng = rng
        for _ in range(n):
            command = question(rng) if rng.random() < 0.2 else self.work.draw()
            self.same(command)

    def same(self, command: Command) -> None:
        expected = self.plain.raw(*command)
        reply = self.node.raw(*command)
        self.work.note(command, expected)
        if SEEN.sub(b"", reply) != SEEN.sub(b"", expected):
            raise AssertionError(f"{' '.join(command)}: {reply[:300]!r}, not {expected[:300]!r}")

    @rule(ms=st.sampled_from([1, 7, 400]))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms)

    @rule()
    def flush(self) -> None:
        self.node.flush()

    @rule()
    def forget(self) -> None:
        """All that is clean leaves memory."""
        keyspace = self.node.engine.keyspace
        limit_bytes, keyspace.resident_limit_bytes = keyspace.resident_limit_bytes, 0
        keyspace.make_room(set())
        keyspace.resident_limit_bytes = limit_bytes
        self.node.check()

    @rule(policy=st.sampled_from([LOSE_ALL, KEEP_ALL, MIXED]), rng=draws, budget=budgets)
    def crash(self, policy: Any, rng: random.Random, budget: dict[str, Any]) -> None:
        self.how.update(budget)
        self.node = self.node.reopen(self.node.fs.crash(rng, policy), **self.how)
        self.node.run()  # the first tick, before time passes

    @rule(budget=budgets)
    def restart(self, budget: dict[str, Any]) -> None:
        self.how.update(budget)
        self.node.close()
        self.node = self.node.reopen(self.node.fs, **self.how)
        self.node.run()

    @rule(rng=draws)
    def checkpoint(self, rng: random.Random) -> None:
        """What opens a checkpoint, after a crash, holds what there was."""
        self.checkpoints += 1
        name = f"c{self.checkpoints}"
        for node in (self.plain, self.node):
            node.sweep()
        assert isinstance(self.node.call("XQ.CHECKPOINT", name), list)
        disk = self.node.fs.crash(rng, LOSE_ALL)
        path = f"{PATH}/checkpoints/{name}"
        copy = SimNode(disk, path=path, clock=self.clock, **self.how)
        assert difference(dump(self.plain), dump(copy)) == ""

    @rule(cache_bytes=BUDGETS["cache_bytes"], resident_bytes=BUDGETS["resident_bytes"])
    def less_memory(self, cache_bytes: int, resident_bytes: int) -> None:
        self.node.engine.keyspace.cache.capacity_bytes = cache_bytes
        self.node.engine.keyspace.resident_limit_bytes = resident_bytes

    def teardown(self) -> None:
        if hasattr(self, "node"):
            for node in (self.plain, self.node):
                node.sweep()  # streams that left memory were not swept
            assert difference(dump(self.plain), dump(self.node)) == ""


TestNodes = Nodes.TestCase
TestNodes.settings = settings(stateful_step_count=30)
