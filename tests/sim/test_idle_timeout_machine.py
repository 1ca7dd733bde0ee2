"""Pending entries against a naive model: timeouts, claims, releases, a clock, crashes."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lsmstore.simfs import KEEP_ALL, LOSE_ALL, MIXED, CrashPolicy
from tests.sim.node import Answer, SimClient, SimNode
from tests.sim.pending_model import ID, Model

CONSUMERS = st.sampled_from(["x", "y", "z"])
CLOCK_SLACK_MS = 1000


class PendingMachine(RuleBasedStateMachine):
    """One group, its readers, and a clock that only the test moves."""

    @initialize()
    def begin(self) -> None:
        self.node = SimNode()
        self.model = Model()
        self.waiting: tuple[SimClient, str, int, int | None] | None = None
        self.latest_ms = 0
        self.node.call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")

    @property
    def now_ms(self) -> int:
        return self.node.clock.wall_ms()

    def some(self, data: st.DataObject) -> list[ID]:
        known = sorted(self.model.live | self.model.pending.keys())
        if not known:
            return [(9, 9)]
        return data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=4), label="ids")

    # Entries

    @rule(n=st.integers(1, 5))
    def add(self, n: int) -> None:
        for _ in range(n):
            id = (self.model.last_added[0] + 1, 0)
            self.node.call("XADD", "s", text(id), "f", "v" * (id[0] % 7 * 300))
            self.model.add(id)
            self.serve_waiting()

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        doomed = self.some(data)
        self.node.call("XDEL", "s", *(text(id) for id in doomed))
        self.model.live -= set(doomed)

    @rule(keep=st.integers(0, 6))
    def trim(self, keep: int) -> None:
        self.node.call("XTRIM", "s", "MAXLEN", keep)
        self.model.live = set(
            sorted(self.model.live)[len(self.model.live) - keep :] if keep else ()
        )

    # Readers

    @rule(
        consumer=CONSUMERS,
        count=st.integers(1, 6),
        claim_ms=st.sampled_from([None, None, 0, 50, 400]),
        noack=st.sampled_from([False, False, False, True]),
    )
    def read(self, consumer: str, count: int, claim_ms: int | None, noack: bool) -> None:
        self.notice_clock()
        words = command(consumer, count, claim_ms, noack=noack)
        reply = self.node.call(*words)
        self.compare(
            reply, self.model.read(consumer, self.now_ms, count, claim_ms, noack), claim_ms
        )

    @precondition(lambda self: self.waiting is None)
    @rule(consumer=CONSUMERS, count=st.integers(1, 3), claim_ms=st.sampled_from([None, 50, 400]))
    def wait(self, consumer: str, count: int, claim_ms: int | None) -> None:
        client = self.node.connect()
        self.notice_clock()
        client.send(*command(consumer, count, claim_ms, block=True))
        self.node.run()
        self.waiting = (client, consumer, count, claim_ms)
        self.serve_waiting()

    def serve_waiting(self) -> None:
        """Who waits must have been served if the model has something for him, and only then."""
        if self.waiting is None:
            return
        client, consumer, count, claim_ms = self.waiting
        given = self.model.read(consumer, self.now_ms, count, claim_ms, False)
        reply = client.take()
        if not given:
            assert reply is None
            return
        assert reply is not None, f"{given} fell due and nobody was woken"
        self.compare(Answer(reply).value(), given, claim_ms)
        self.waiting = None
        client.leave()

    def compare(self, reply: Any, given: list[tuple[ID, int, int]], claim_ms: int | None) -> None:
        rows = [] if reply is None else reply[0][1]
        if claim_ms is None:
            assert [row[0] for row in rows] == [text(id).encode() for id, _, _ in given]
        else:
            found = [(row[0], row[2], row[3]) for row in rows]
            assert found == [(text(id).encode(), idle, count) for id, idle, count in given]
        if given:
            self.latest_ms = max(self.latest_ms, self.now_ms)

    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        ids = self.some(data)
        assert self.node.call("XACK", "s", "g", *map(text, ids)) == self.model.ack(ids)

    @rule(data=st.data(), mode=st.sampled_from(["SILENT", "FAIL", "FATAL"]), force=st.booleans())
    def nack(self, data: st.DataObject, mode: str, force: bool) -> None:
        ids = self.some(data)
        n = self.node.call(
            *("XNACK", "s", "g", mode, "IDS", len(ids)),
            *map(text, ids),
            *(["FORCE"] if force else []),
        )
        assert n == self.model.nack(ids, mode, force)
        self.serve_waiting()

    @rule(data=st.data(), consumer=CONSUMERS, idle_ms=st.sampled_from([0, 0, 60, 1000]))
    def claim(self, data: st.DataObject, consumer: str, idle_ms: int) -> None:
        ids = self.some(data)
        self.node.call(
            *("XCLAIM", "s", "g", consumer, 0), *map(text, ids), "IDLE", idle_ms, "JUSTID"
        )
        self.model.claim(consumer, ids, self.now_ms, idle_ms)
        self.latest_ms = max(self.latest_ms, self.now_ms - idle_ms)
        self.serve_waiting()

    @rule(consumer=CONSUMERS)
    def delete_consumer(self, consumer: str) -> None:
        gone = self.node.call("XGROUP", "DELCONSUMER", "s", "g", consumer)
        assert gone == self.model.delete_consumer(consumer)

    @precondition(lambda self: self.waiting is None)  # it wakes nobody
    @rule(data=st.data())
    def set_back(self, data: st.DataObject) -> None:
        (id, *_) = self.some(data)
        self.node.call("XGROUP", "SETID", "s", "g", text(id))
        self.model.last_delivered = id

    @rule(timeout=st.sampled_from([0, 50, 300, 2000]))
    def set_timeout(self, timeout: int) -> None:
        self.node.call("XQ.GROUP", "SET", "s", "g", "IDLE-TIMEOUT", timeout or "OFF")
        self.model.idle_timeout_ms = timeout
        self.serve_waiting()

    # Time, and ends

    @rule(ms=st.sampled_from([1, 49, 50, 51, 299, 300, 301, 2500]))
    def advance(self, ms: int) -> None:
        if self.waiting is not None:
            due_ms = self.model.next_due_ms(self.waiting[3])
            if due_ms is not None and self.now_ms < due_ms <= self.now_ms + ms:
                # woken then, not a moment later
                early = due_ms - self.now_ms
                self.node.advance(early - 1)
                self.serve_waiting()
                self.node.advance(1)
                self.serve_waiting()
                ms -= early
        self.node.advance(ms)
        self.serve_waiting()

    @precondition(lambda self: self.waiting is None)
    @rule(ms=st.sampled_from([-3_600_000, -5000, 7000]))
    def clock_jumps(self, ms: int) -> None:
        self.node.clock.set_wall_ms(self.now_ms + ms)

    def notice_clock(self) -> None:
        """A reader of a group with a timeout sees that deliveries lie in the future."""
        if self.model.idle_timeout_ms and self.latest_ms > self.now_ms + CLOCK_SLACK_MS:
            self.model.clock_went_back(self.now_ms)
            self.latest_ms = self.now_ms

    @rule(
        flush=st.booleans(),
        policy=st.sampled_from([LOSE_ALL, KEEP_ALL, MIXED]),
        seed=st.integers(0, 99),
    )
    def crash(self, flush: bool, policy: CrashPolicy, seed: int) -> None:
        if flush:
            self.node.flush()
        self.waiting = None
        self.node = self.node.reopen(self.node.fs.crash(random.Random(seed), policy))
        self.latest_ms = max(
            (row.delivered_ms for row in self.model.pending.values() if row.consumer), default=0
        )

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "node"):
            return
        self.node.check()
        rows = self.node.call("XPENDING", "s", "g", "-", "+", 10_000)
        expected = [
            [
                text(id).encode(),
                row.consumer.encode(),
                max(self.now_ms - row.delivered_ms, 0) if row.consumer else -1,
                row.count,
            ]
            for id, row in sorted(self.model.pending.items())
        ]
        assert rows == expected


def text(id: ID) -> str:
    return f"{id[0]}-{id[1]}"


def command(
    consumer: str, count: int, claim_ms: int | None, *, noack: bool = False, block: bool = False
) -> list[str | int]:
    words: list[str | int] = ["XREADGROUP", "GROUP", "g", consumer, "COUNT", count]
    if claim_ms is not None:
        words += ["CLAIM", claim_ms]
    if noack:
        words.append("NOACK")
    if block:
        words += ["BLOCK", 0]
    return [*words, "STREAMS", "s", ">"]


TestPendingMachine = PendingMachine.TestCase
TestPendingMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)
