"""CLAIM, XNACK, MAXCOUNT, MAXSIZE: the same commands to respq and fakeredis, the same replies.

No redis-server with them is at hand, and fakeredis was written by others from the same facts. Where
it differs from the reference the session keeps out of the way, and a test below says why:

    it differs in                            the session
    the order of released entries            releases in the order of IDs
    deleted entries among the pending        deletes what is not pending
    the time of a history read               puts the time right by XCLAIM ... JUSTID
    counting on from the most there is       acknowledges what FATAL has marked
    refusals of XNACK                        sends XNACK well formed
    the size of new rows with CLAIM          gives no MAXSIZE where they could come with CLAIM
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from unittest import mock

import fakeredis
import pytest
import redis

from tests.respclient import Reply
from tests.seeds import seeds
from tests.sim.node import SimNode

KEYS = ("s", "t")
CLOCKS = (
    "fakeredis.model._stream.current_time",
    "fakeredis.commands_mixins.streams_mixin.current_time",
)
CONSUMERS = ("x", "y", "z")
STEPS = 200
Words = list[str | int]
COUNT_MAX = (1 << 63) - 1


class Both:
    """A node of each kind, by one clock."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | int, ...]] = []
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
        self.asked.append(words)
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


class Session:
    """What clients do with two streams and their groups; each reply and each state is compared."""

    def __init__(self, both: Both, rng: random.Random) -> None:
        self.both = both
        self.rng = rng
        self.last = dict.fromkeys(KEYS, 0)
        self.given = 0
        self.actions: list[tuple[int, Callable[[str], None]]] = [
            (4, self.add),
            (1, self.delete),
            (2, self.set_id),
            (8, self.read),
            (2, self.read_history),
            (2, self.read_plainly),
            (4, self.release),
            (2, self.acknowledge),
            (2, self.claim),
            (1, self.delete_consumer),
            (4, self.time_passes),
        ]

    def step(self) -> None:
        weights, actions = zip(*self.actions, strict=True)
        (action,) = self.rng.choices(actions, weights)
        action(self.rng.choice(KEYS))
        for key in KEYS:
            self.both.same("XPENDING", key, "g", "-", "+", 1000)
            ours, theirs = self.both.ask("XINFO", "GROUPS", key)
            assert [shown(group) for group in ours] == [shown(group) for group in theirs]

    def some(self, known: list[str]) -> list[str]:
        """One to four of the IDs, in their order."""
        found = self.rng.sample(known, min(len(known), self.rng.randint(1, 4)))
        return sorted(found, key=lambda id: number(id.encode()))

    def up_to_last(self, key: str, start: int = 1) -> list[str]:
        """IDs from ``start`` on, one of them not there yet."""
        return [f"{id}-0" for id in range(start, self.last[key] + 2)]

    # Entries

    def add(self, key: str) -> None:
        for _ in range(self.rng.randint(1, 3)):
            self.last[key] += 1
            value = "v" * self.rng.choice([1, 9, 10, 40, 99, 100, 500])
            self.both.same("XADD", key, f"{self.last[key]}-0", "f", value)

    def delete(self, key: str) -> None:
        held = {row[0] for row in self.both.pending(key)}
        entries = self.both.node.call("XRANGE", key, "-", "+")
        free = [row[0].decode() for row in entries if row[0] not in held]
        if free:
            self.both.same("XDEL", key, *self.some(free))

    def set_id(self, key: str) -> None:
        last = self.rng.randint(max(self.last[key] - 6, 0), self.last[key])
        self.both.same("XGROUP", "SETID", key, "g", f"{last}-0")

    # Readers

    def limits(self) -> Words:
        words: Words = []
        for name, values in (
            ("COUNT", [0, 1, 2, 3, 5]),
            ("MAXCOUNT", [1, 2, 3, 4, 7]),
            ("MAXSIZE", [1, 42, 43, 52, 53, 60, 91, 92, 130, 200, 400, 1000]),
        ):
            if self.rng.random() < 0.4:
                words += [name, self.rng.choice(values)]
        return words

    def group_read(self) -> Words:
        return ["XREADGROUP", "GROUP", "g", self.rng.choice(CONSUMERS), *self.limits()]

    def read(self, key: str) -> None:
        words = self.group_read()
        keys = [key] if self.rng.random() < 0.5 else self.rng.sample(KEYS, 2)
        if self.rng.random() < 0.8:
            if "MAXSIZE" in words and any(self.has_new(each) for each in keys):
                del words[words.index("MAXSIZE") :]  # it stands last
            words += ["CLAIM", self.rng.choice([0, 50, 51, 400])]
        if self.rng.random() < 0.2:
            words.append("NOACK")
        reply = self.both.same(*words, "STREAMS", *keys, *">" * len(keys))
        if isinstance(reply, list):
            self.given += sum(len(rows) for _, rows in reply)

    def has_new(self, key: str) -> bool:
        (group,) = self.both.node.call("XINFO", "GROUPS", key)
        return number(shown(group)[b"last-delivered-id"]) < self.last[key]

    def read_history(self, _: str) -> None:
        words = self.group_read() + self.rng.choice([[], ["CLAIM", 0]])
        reply = self.both.same(*words, "STREAMS", *KEYS, *self.starts())
        for key, rows in reply if isinstance(reply, list) else ():
            held = [row[0].decode() for row in rows]
            if held:
                self.both.same("XCLAIM", key.decode(), "g", words[3], 0, *held, "JUSTID")

    def starts(self) -> list[str]:
        return [f"{self.rng.randint(0, self.last[key] + 1)}-0" for key in KEYS]

    def read_plainly(self, _: str) -> None:
        self.both.same("XREAD", *self.limits(), "STREAMS", *KEYS, *self.starts())

    # What becomes of the pending

    def release(self, key: str) -> None:
        held = self.both.pending(key)
        latest = max((number(row[0]) for row in held if row[1] == b""), default=0)
        ids = self.some(self.up_to_last(key, latest + 1))
        mode = self.rng.choice(["SILENT", "FAIL", "FAIL", "FATAL"])
        words: Words = ["XNACK", key, "g", mode, "IDS", len(ids), *ids]
        retry: Words = self.rng.choice([[], [], ["RETRYCOUNT", 0], ["RETRYCOUNT", 5]])
        force: Words = self.rng.choice([[], ["FORCE"]])
        self.both.same(*words, *retry, *force)
        self.both.same("XPENDING", key, "g", "-", "+", 1000)
        if mode == "FATAL" and not retry:
            self.both.same("XACK", key, "g", *ids)

    def acknowledge(self, key: str) -> None:
        self.both.same("XACK", key, "g", *self.some(self.up_to_last(key)))

    def claim(self, key: str) -> None:
        held = [row[0].decode() for row in self.both.pending(key)]
        if held:
            consumer, idle_min_ms = self.rng.choice(CONSUMERS), self.rng.choice([0, 50, 10**6])
            self.both.same("XCLAIM", key, "g", consumer, idle_min_ms, *self.some(held))

    def delete_consumer(self, key: str) -> None:
        self.both.same("XGROUP", "DELCONSUMER", key, "g", self.rng.choice(CONSUMERS))

    def time_passes(self, _: str) -> None:
        self.both.node.advance(self.rng.choice([1, 49, 50, 51, 399, 400]))


def number(id: bytes) -> int:
    return int(id.split(b"-")[0])


def shown(group: list[Any]) -> dict[bytes, Any]:
    """Of a group: what is pending, and how far it has read."""
    pairs = dict(zip(group[::2], group[1::2], strict=True))
    return {name: pairs[name] for name in (b"pending", b"last-delivered-id")}


@pytest.mark.parametrize("seed", seeds(4))
def test_both_answer_the_same(seed: int) -> None:
    print(f"seed {seed}")
    both = Both()
    try:
        session = Session(both, random.Random(seed))
        for _ in range(STEPS):
            session.step()
        assert session.given > STEPS / 4
    finally:
        print("\n".join(" ".join(map(str, words)) for words in both.asked[-60:]))
        both.close()


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


def test_maxsize_counts_the_integers_of_new_rows(both: Both) -> None:
    """Redis counts the bytes of the reply; fakeredis adds the integers when it has counted."""
    both.same("XACK", "s", "g", "1-0", "2-0", "3-0")
    both.same("XGROUP", "SETID", "s", "g", 0)
    words = ("XREADGROUP", "GROUP", "g", "d", "CLAIM", 0, "MAXSIZE", 43, "STREAMS", "s", ">")
    ours, theirs = both.ask(*words)
    assert (ids(ours), ids(theirs)) == ([b"1-0"], [b"1-0", b"2-0"])


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
