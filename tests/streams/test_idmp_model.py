"""Idempotent production against a naive model, and against fakeredis where it has it.

fakeredis knows neither expiry nor capacity, and Redis' reference wins where they differ: fakeredis
hashes fields in their order for IDMPAUTO, its XCFGSET sets the duration whatever it is told and
clears nothing, and its XIDMPRECORD refuses in other words. The last test names these, so that a
fakeredis that has learned is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import fakeredis
import redis
import xxhash
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.respclient import Reply
from tests.streams.node import Node

VERSION = "8.10.0"
PIDS = st.sampled_from(["p", "q", "r"])
IIDS = st.integers(0, 9).map(str)
FIELDS = st.lists(st.sampled_from(["a", "b", ""]), min_size=2, max_size=4).filter(
    lambda words: len(words) % 2 == 0
)
ID = tuple[int, int]


def content_iid(fields: list[str]) -> bytes:
    """The iid of IDMPAUTO, from the description alone."""
    low = high = 0
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        text = name.encode() + len(name).to_bytes(8, "little") + value.encode()
        digest = xxhash.xxh3_128_intdigest(text)
        low = (low + digest) % (1 << 64)
        high ^= digest >> 64
    return low.to_bytes(8, "little") + high.to_bytes(8, "little")


@dataclass
class Model:
    """What a stream remembers, naively."""

    duration_s: int = 100
    maxsize: int = 100
    added: int = 0
    duplicates: int = 0
    known: dict[str, dict[bytes, ID]] = field(default_factory=dict)

    def sweep(self, now_ms: int) -> None:
        limit_ms = now_ms // 1000 * 1000 - 1000 * self.duration_s
        for iids in self.known.values():
            for iid, (ms, _) in list(iids.items()):
                if ms > limit_ms:
                    break
                del iids[iid]
        self.known = {pid: iids for pid, iids in self.known.items() if iids}

    def record(self, pid: str, iid: bytes, at: ID) -> None:
        iids = self.known.setdefault(pid, {})
        if len(iids) == self.maxsize:
            del iids[next(iter(iids))]
        iids[iid] = at

    def shown(self) -> list[int]:
        tracked = sum(len(iids) for iids in self.known.values())
        return [
            self.duration_s,
            self.maxsize,
            len(self.known),
            tracked,
            self.added,
            self.duplicates,
        ]


def parse(text: bytes) -> ID:
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)


class Streams(RuleBasedStateMachine):
    """A node, its log, and a model."""

    @initialize(duration_s=st.sampled_from([1, 2, 100]), maxsize=st.sampled_from([1, 3, 100]))
    def begin(self, duration_s: int, maxsize: int) -> None:
        self.node = Node(presents=VERSION)
        self.node.set("stream-idmp-duration", duration_s)
        self.node.set("stream-idmp-maxsize", maxsize)
        self.model = Model(duration_s, maxsize)
        first = parse(self.node.call("XADD", "s", "*", "f", "v"))
        self.live = [first]

    def add(self, pid: str, iid: bytes, words: list[Any]) -> None:
        reply = parse(self.node.call("XADD", "s", *words))
        self.model.sweep(self.node.now_ms)
        known = self.model.known.get(pid, {}).get(iid)
        if known is None:
            assert reply > self.live[-1] if self.live else True
            self.live.append(reply)
            self.model.record(pid, iid, reply)
            self.model.added += 1
        else:
            assert reply == known
            self.model.duplicates += 1
        self.look()

    @rule(pid=PIDS, iid=IIDS)
    def idmp(self, pid: str, iid: str) -> None:
        self.add(pid, iid.encode(), ["IDMP", pid, iid, "*", "f", "v"])

    @rule(pid=PIDS, fields=FIELDS)
    def idmpauto(self, pid: str, fields: list[str]) -> None:
        self.add(pid, content_iid(fields), ["IDMPAUTO", pid, "*", *fields])

    @rule(ms=st.sampled_from([1, 300, 999, 1000, 1001, 50_000]))
    def time_passes(self, ms: int) -> None:
        self.node.now_ms += ms
        self.look()

    @rule(pid=PIDS, iid=IIDS, data=st.data())
    def xidmprecord(self, pid: str, iid: str, data: st.DataObject) -> None:
        ms, seq = data.draw(st.sampled_from(self.live))
        reply = self.node.call("XIDMPRECORD", "s", pid, iid, f"{ms}-{seq}")
        self.model.sweep(self.node.now_ms)
        known = self.model.known.get(pid, {}).get(iid.encode())
        if known is None:
            self.model.record(pid, iid.encode(), (ms, seq))
        assert isinstance(reply, Reply) == (known not in (None, (ms, seq)))
        self.look()

    @rule(duration_s=st.sampled_from([1, 2, 100]), maxsize=st.sampled_from([1, 3, 100]))
    def xcfgset(self, duration_s: int, maxsize: int) -> None:
        model = self.model
        self.node.call("XCFGSET", "s", "IDMP-DURATION", duration_s, "IDMP-MAXSIZE", maxsize)
        if (duration_s, maxsize) != (model.duration_s, model.maxsize):
            model.duration_s, model.maxsize, model.known = duration_s, maxsize, {}
        self.look()

    @rule()
    def replay(self) -> None:
        other = self.node.replayed()
        assert other.rows() == self.node.rows()
        other.check()
        other.set("stream-idmp-duration", self.node.config.stream_idmp_duration)

    def look(self) -> None:
        names = self.node.call("XINFO", "STREAM", "s")
        at = names.index(b"idmp-duration") + 1
        swept = Model(self.model.duration_s, self.model.maxsize, self.model.added)
        swept.duplicates = self.model.duplicates
        swept.known = {pid: dict(iids) for pid, iids in self.model.known.items()}
        swept.sweep(self.node.now_ms)
        assert names[at : at + 12 : 2] == swept.shown()
        self.node.check()


class AgainstFakeredis(RuleBasedStateMachine):
    """The same calls to fakeredis; IDs are compared by the number of the entry they name."""

    @initialize()
    def begin(self) -> None:
        self.node = Node(presents=VERSION)
        server = fakeredis.FakeServer(version=(8, 8), server_type="redis")
        self.other = fakeredis.FakeRedis(server=server)
        self.numbers: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
        self.ids: list[tuple[bytes, bytes]] = []
        self.same_add("*", "f", "v")

    def ask_other(self, *words: str | bytes) -> Any:
        try:
            return self.other.execute_command(*words)
        except redis.ResponseError as error:
            return str(error)

    def same_add(self, *words: str) -> None:
        ours = self.node.call("XADD", "s", *words)
        theirs = self.ask_other("XADD", "s", *words)
        if isinstance(theirs, str):
            assert isinstance(ours, Reply)
            assert ours.value.decode().removeprefix("ERR ") == theirs
            return
        numbers = [
            known.setdefault(at, len(known))
            for known, at in zip(self.numbers, (ours, theirs), strict=True)
        ]
        assert numbers[0] == numbers[1]
        if numbers[0] == len(self.ids):
            self.ids.append((ours, theirs))
        self.look()

    def look(self) -> None:
        ours = self.node.call("XINFO", "STREAM", "s")
        theirs = self.other.execute_command("XINFO", "STREAM", "s")
        if isinstance(theirs, dict):
            theirs = [word for pair in theirs.items() for word in pair]
        shown = [
            {bytes(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
            for flat in (
                ours,
                [w.encode() if isinstance(w, str) else w for w in theirs],
            )
        ]
        for name in (
            b"length",
            b"pids-tracked",
            b"iids-tracked",
            b"iids-added",
            b"iids-duplicates",
        ):
            assert shown[0][name] == shown[1][name], name

    @rule(pid=st.sampled_from(["p", "q", ""]), iid=st.sampled_from(["1", "2", "3", ""]))
    def idmp(self, pid: str, iid: str) -> None:
        self.same_add("IDMP", pid, iid, "*", "f", "v")

    @rule(pid=st.sampled_from(["p", "q", ""]), value=st.sampled_from(["1", "2"]))
    def idmpauto(self, pid: str, value: str) -> None:
        self.same_add("IDMPAUTO", pid, "*", "f", value)

    @rule(
        words=st.lists(
            st.sampled_from(["IDMP", "idmpauto", "p", "i", "*", "1-1", "NOMKSTREAM"]), max_size=6
        )
    )
    def words(self, words: list[str]) -> None:
        self.same_add(*words, "f", "v")

    @rule(data=st.data())
    def xdel(self, data: st.DataObject) -> None:
        ours, theirs = data.draw(st.sampled_from(self.ids))
        assert self.node.call("XDEL", "s", ours) == self.ask_other("XDEL", "s", theirs)

    @rule(pid=PIDS, iid=IIDS, data=st.data())
    def xidmprecord(self, pid: str, iid: str, data: st.DataObject) -> None:
        ours, theirs = data.draw(st.sampled_from(self.ids))
        mine = self.node.call("XIDMPRECORD", "s", pid, iid, ours)
        other = self.ask_other("XIDMPRECORD", "s", pid, iid, theirs)
        assert isinstance(mine, Reply) == isinstance(other, str)
        self.look()


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=40, stateful_step_count=30)
TestAgainstFakeredis = AgainstFakeredis.TestCase
TestAgainstFakeredis.settings = settings(max_examples=25, stateful_step_count=20)


def test_where_fakeredis_differs_the_reference_is_followed() -> None:
    other = fakeredis.FakeRedis(server=fakeredis.FakeServer(version=(8, 8), server_type="redis"))
    node = Node(presents=VERSION)

    def ask(*words: str) -> tuple[Any, Any]:
        try:
            theirs = other.execute_command(*words)
        except redis.ResponseError as error:
            theirs = f"ERR {error}"
        ours = node.call(*words)
        return ours.value.decode() if isinstance(ours, Reply) else ours, theirs

    first = ask("XADD", "s", "IDMPAUTO", "p", "*", "a", "1", "b", "2")
    again = ask("XADD", "s", "IDMPAUTO", "p", "*", "b", "2", "a", "1")
    assert first[0] == again[0] and first[1] != again[1]

    assert ask("XCFGSET", "s", "IDMP-MAXSIZE", "7") == (b"OK", b"OK")
    shown = node.call("XINFO", "STREAM", "s")
    assert shown[shown.index(b"idmp-maxsize") + 1] == 7
    theirs = other.xinfo_stream("s")
    assert theirs["idmp-maxsize"] == 100 and theirs["idmp-duration"] == 7

    ours, theirs = ask("XIDMPRECORD", "s", "p", "i", "9-9")
    assert ours == "ERR No such message in stream"
    assert theirs == "ERR The specified stream ID was deleted or doesn't exist"
    assert ask("XCFGSET", "none", "IDMP-MAXSIZE", "7")[0] == "ERR no such key"
