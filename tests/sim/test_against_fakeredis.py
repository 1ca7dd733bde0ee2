"""CLAIM, XNACK, MAXCOUNT, MAXSIZE: the same commands to respq and fakeredis, the same replies.

No redis-server with them is at hand, and fakeredis was written by others from the same facts. Where
it differs from the reference the machine keeps out of the way, and a test below says why:

    it differs in                            the machine
    the order of released entries            releases in the order of IDs
    deleted entries among the pending        deletes what is not pending
    the time of a history read               puts the time right by XCLAIM ... JUSTID
    counting on from the most there is       acknowledges what FATAL has marked
    refusals of XNACK                        sends XNACK well formed
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import fakeredis
import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.respclient import Reply
from tests.sim.node import SimNode

KEYS = ("s", "t")
CLOCKS = (
    "fakeredis.model._stream.current_time",
    "fakeredis.commands_mixins.streams_mixin.current_time",
)
CONSUMERS = st.sampled_from(["x", "y", "z"])
MAYBE = st.sampled_from
Words = list[str | int]
COUNT_MAX = (1 << 63) - 1


class Both:
    """A node of each kind, by one clock."""

    def __init__(self) -> None:
        self.node = SimNode()
        server = fakeredis.FakeServer(version=(8, 10), server_type="redis")
        self.other = fakeredis.FakeRedis(server=server, protocol=2)
        self.other.response_callbacks.clear()
        self._patches = [mock.patch(name, self.node.clock.wall_ms) for name in CLOCKS]
        for patch in self._patches:
            patch.start()
        for key in KEYS:
            self.same("XGROUP", "CREATE", key, "g", 0, "MKSTREAM")

    def close(self) -> None:
        for patch in self._patches:
            patch.stop()

    def ask(self, *words: str | int) -> tuple[Any, Any]:
        """Both replies; refusals as their lines, nothing as None."""
        ours = self.node.call(*words)
        if isinstance(ours, Reply):
            ours = ours.value.decode()
        try:
            theirs = self.other.execute_command(*words)
        except redis.ResponseError as error:
            line = str(error)
            theirs = line if line.startswith("NOGROUP") else f"ERR {line}"
        if words[0] in ("XREAD", "XREADGROUP"):
            theirs = theirs or None  # fakeredis says [] for nothing
        return ours, b"OK" if theirs is True else theirs

    def same(self, *words: str | int) -> Any:
        ours, theirs = self.ask(*words)
        assert ours == theirs, (words, ours, theirs)
        return ours

    def pending(self, key: str) -> list[list[Any]]:
        found: list[list[Any]] = self.node.call("XPENDING", key, "g", "-", "+", 1000)
        return found


class AgainstFakeredis(RuleBasedStateMachine):
    """Two streams with a group each."""

    @initialize()
    def begin(self) -> None:
        self.both = Both()
        self.last = dict.fromkeys(KEYS, 0)

    def teardown(self) -> None:
        if hasattr(self, "both"):
            self.both.close()

    def some(self, data: st.DataObject, known: list[str]) -> list[str]:
        return data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=4, unique=True))

    def entries(self, key: str) -> list[str]:
        return [row[0].decode() for row in self.both.node.call("XRANGE", key, "-", "+")]

    # Entries

    @rule(key=MAYBE(KEYS), sizes=st.lists(MAYBE([1, 9, 10, 40, 99, 100, 500]), max_size=4))
    def add(self, key: str, sizes: list[int]) -> None:
        for size in sizes:
            self.last[key] += 1
            self.both.same("XADD", key, f"{self.last[key]}-0", "f", "v" * size)

    @rule(key=MAYBE(KEYS), data=st.data())
    def delete(self, key: str, data: st.DataObject) -> None:
        held = {row[0].decode() for row in self.both.pending(key)}
        free = [id for id in self.entries(key) if id not in held]
        if free:
            self.both.same("XDEL", key, *self.some(data, free))

    @rule(key=MAYBE(KEYS), data=st.data())
    def set_id(self, key: str, data: st.DataObject) -> None:
        id = data.draw(st.integers(0, self.last[key]))
        self.both.same("XGROUP", "SETID", key, "g", f"{id}-0")

    # Readers

    def limits(self, data: st.DataObject) -> Words:
        words: Words = []
        for name, values in (
            ("COUNT", [0, 1, 2, 3, 5]),
            ("MAXCOUNT", [0, 1, 2, 3, 4, 7]),
            ("MAXSIZE", [1, 60, 90, 130, 200, 400, 1000]),
        ):
            value = data.draw(st.sampled_from([None, None, *values]), label=name)
            if value is not None:
                words += [name, value]
        return words

    @rule(data=st.data(), consumer=CONSUMERS, claim_ms=MAYBE([None, 0, 50, 51, 400]))
    def read(self, data: st.DataObject, consumer: str, claim_ms: int | None) -> None:
        words: Words = ["XREADGROUP", "GROUP", "g", consumer, *self.limits(data)]
        if claim_ms is not None:
            words += ["CLAIM", claim_ms]
        if data.draw(st.booleans(), label="noack"):
            words.append("NOACK")
        keys = data.draw(st.permutations(KEYS), label="keys")[: data.draw(st.integers(1, 2))]
        self.both.same(*words, "STREAMS", *keys, *">" * len(keys))

    @rule(data=st.data(), consumer=CONSUMERS, claim_ms=MAYBE([None, 0]))
    def read_history(self, data: st.DataObject, consumer: str, claim_ms: int | None) -> None:
        words: Words = ["XREADGROUP", "GROUP", "g", consumer, *self.limits(data)]
        if claim_ms is not None:
            words += ["CLAIM", claim_ms]
        ids = [data.draw(st.integers(0, self.last[key] + 1), label=key) for key in KEYS]
        reply = self.both.same(*words, "STREAMS", *KEYS, *(f"{id}-0" for id in ids))
        for key, rows in reply if isinstance(reply, list) else ():
            shown = [row[0].decode() for row in rows]
            if shown:
                self.both.same("XCLAIM", key.decode(), "g", consumer, 0, *shown, "JUSTID")

    @rule(data=st.data())
    def read_plainly(self, data: st.DataObject) -> None:
        ids = [data.draw(st.integers(0, self.last[key] + 1), label=key) for key in KEYS]
        self.both.same("XREAD", *self.limits(data), "STREAMS", *KEYS, *(f"{id}-0" for id in ids))

    # What becomes of the pending

    @rule(
        key=MAYBE(KEYS),
        data=st.data(),
        mode=MAYBE(["SILENT", "FAIL", "FATAL"]),
        retry=MAYBE([None, None, 0, 5]),
        force=st.booleans(),
    )
    def release(
        self, key: str, data: st.DataObject, mode: str, retry: int | None, force: bool
    ) -> None:
        held = self.both.pending(key)
        latest = max((number(row[0]) for row in held if row[1] == b""), default=0)
        known = [f"{id}-0" for id in range(latest + 1, self.last[key] + 2)]
        ids = sorted(self.some(data, known), key=lambda id: number(id.encode()))
        words: Words = ["XNACK", key, "g", mode, "IDS", len(ids), *ids]
        words += [] if retry is None else ["RETRYCOUNT", retry]
        self.both.same(*words, *(["FORCE"] if force else []))
        self.look()
        if mode == "FATAL" and retry is None:
            self.both.same("XACK", key, "g", *ids)

    @rule(key=MAYBE(KEYS), data=st.data())
    def acknowledge(self, key: str, data: st.DataObject) -> None:
        known = [f"{id}-0" for id in range(1, self.last[key] + 2)]
        self.both.same("XACK", key, "g", *self.some(data, known))

    @rule(key=MAYBE(KEYS), data=st.data(), consumer=CONSUMERS, idle_min_ms=MAYBE([0, 50, 10**6]))
    def claim(self, key: str, data: st.DataObject, consumer: str, idle_min_ms: int) -> None:
        held = [row[0].decode() for row in self.both.pending(key)]
        if held:
            ids = sorted(self.some(data, held), key=lambda id: number(id.encode()))
            self.both.same("XCLAIM", key, "g", consumer, idle_min_ms, *ids)

    @rule(key=MAYBE(KEYS), consumer=CONSUMERS)
    def delete_consumer(self, key: str, consumer: str) -> None:
        self.both.same("XGROUP", "DELCONSUMER", key, "g", consumer)

    @rule(ms=MAYBE([1, 49, 50, 51, 399, 400]))
    def time_passes(self, ms: int) -> None:
        self.both.node.advance(ms)

    @invariant()
    def look(self) -> None:
        if not hasattr(self, "both"):
            return
        for key in KEYS:
            self.both.same("XPENDING", key, "g", "-", "+", 1000)
            ours, theirs = self.both.ask("XINFO", "GROUPS", key)
            assert [shown(group) for group in ours] == [shown(group) for group in theirs]


def number(id: bytes) -> int:
    return int(id.split(b"-")[0])


def shown(group: list[Any]) -> dict[bytes, Any]:
    """Of a group: what is pending, and how far it has read."""
    pairs = dict(zip(group[::2], group[1::2], strict=True))
    return {name: pairs[name] for name in (b"pending", b"last-delivered-id")}


TestAgainstFakeredis = AgainstFakeredis.TestCase
TestAgainstFakeredis.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, derandomize=True
)


# ── where they differ ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def both() -> Any:
    found = Both()
    for i in range(1, 4):
        found.same("XADD", "s", f"{i}-0", "f", "v")
    found.same("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    yield found
    found.close()


def ids(reply: Any) -> list[bytes]:
    return [] if reply is None else [row[0] for row in reply[0][1]]


def test_released_entries_are_claimed_in_the_order_of_their_release(both: Both) -> None:
    """Redis appends them to a list; fakeredis sorts them by ID."""
    both.same("XNACK", "s", "g", "FAIL", "IDS", 2, "3-0", "1-0")
    ours, theirs = both.ask("XREADGROUP", "GROUP", "g", "d", "CLAIM", 100, "STREAMS", "s", ">")
    assert ids(ours) == [b"3-0", b"1-0"]
    assert ids(theirs) == [b"1-0", b"3-0"]


def test_deleted_entries_take_nothing_of_the_count(both: Both) -> None:
    """Redis passes over them until it has as many as were asked for."""
    both.same("XDEL", "s", "1-0")
    words = ("XREADGROUP", "GROUP", "g", "d", "CLAIM", 0, "COUNT", 1, "STREAMS", "s", ">")
    ours, theirs = both.ask(*words)
    assert (ids(ours), ids(theirs)) == ([b"2-0"], [])


def test_a_history_read_renews_the_time_of_delivery(both: Both) -> None:
    both.node.advance(70)
    both.same("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", "2-0")
    ours, theirs = both.ask("XPENDING", "s", "g", "3-0", "+", 1)
    assert ours == [[b"3-0", b"c", 0, 2]]
    assert theirs == [[b"3-0", b"c", 70, 2]]


def test_a_reader_does_not_count_beyond_the_most_there_is(both: Both) -> None:
    both.same("XNACK", "s", "g", "FATAL", "IDS", 1, "1-0")
    both.same("XREADGROUP", "GROUP", "g", "d", "CLAIM", 100, "STREAMS", "s", ">")
    ours, theirs = both.ask("XPENDING", "s", "g", "1-0", "1-0", 1)
    assert ours == [[b"1-0", b"d", 0, COUNT_MAX]]
    assert theirs == [[b"1-0", b"d", 0, COUNT_MAX + 1]]


def test_refusals_of_xnack_name_what_is_wrong(both: Both) -> None:
    ours, theirs = both.ask("XNACK", "s", "g", "FAIL", "IDS", 2, "1-0")
    assert ours == "ERR number of IDs doesn't match numids"
    assert theirs == "ERR syntax error"
    both.same("XNACK", "s", "g", "LOUD", "IDS", 1, "1-0")
    both.same("XNACK", "s", "none", "FAIL", "IDS", 1, "1-0")


@pytest.mark.parametrize(
    "limits",
    ["MAXCOUNT 0", "MAXCOUNT -1", "MAXSIZE 0", "MAXSIZE -7", "COUNT 3 MAXCOUNT 2", "MAXCOUNT x"],
)
def test_refusals_of_limits_are_the_same(both: Both, limits: str) -> None:
    assert both.same("XREAD", *limits.split(), "STREAMS", "s", 0).startswith("ERR ")
    words = ("XREADGROUP", "GROUP", "g", "c", *limits.split(), "STREAMS", "s", ">")
    assert both.same(*words).startswith("ERR ")
    assert both.same(*words[:4], "CLAIM", -1, *words[-3:]).startswith("ERR ")
