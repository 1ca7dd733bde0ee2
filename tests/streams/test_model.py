"""A stream and its journal against a list: appends, deletions, trims, ranges, nodes.

The model keeps every entry in a list of nodes, as Redis would. Now and then thousands of entries
come at once, so that blocks, pages of deleted positions and their borders are met; and the log so
far is replayed into another node, which goes on in place of the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.respclient import encode
from tests.streams.node import Node

ID = tuple[int, int]
MAX_ID = ((1 << 64) - 1, (1 << 64) - 1)


@dataclass
class ModelNode:
    """What Redis keeps in one listpack."""

    ids: list[ID] = field(default_factory=list)
    live: set[ID] = field(default_factory=set)


class Model:
    """A stream, naively."""

    def __init__(self, node_entries: int) -> None:
        self.node_entries = node_entries
        self.nodes: list[ModelNode] = []
        self.open: ModelNode | None = None
        self.entries: dict[ID, bytes] = {}
        self.last_id: ID = (0, 0)
        self.max_deleted: ID = (0, 0)
        self.added = 0

    def add(self, at: ID, wire: bytes) -> None:
        if self.open is None or (self.node_entries and len(self.open.ids) >= self.node_entries):
            self.open = ModelNode()
            self.nodes.append(self.open)
        self.open.ids.append(at)
        self.open.live.add(at)
        self.entries[at] = wire
        self.last_id = at
        self.added += 1

    def remove(self, at: ID) -> None:
        del self.entries[at]
        for node in self.nodes:
            if at in node.live:
                node.live.discard(at)
                if not node.live:
                    self.nodes.remove(node)
                    if node is self.open:
                        self.open = None
                return
        raise AssertionError("every entry is in a node")

    def delete(self, ids: list[ID]) -> int:
        gone = [at for at in dict.fromkeys(ids) if at in self.entries]
        for at in gone:
            self.remove(at)
            self.max_deleted = max(self.max_deleted, at)
        return len(gone)

    def trim(self, *, keep: int | None, low: ID | None) -> int:
        if keep is not None:
            gone = sorted(self.entries)[: max(0, len(self.entries) - keep)]
        else:
            assert low is not None
            gone = [at for at in self.entries if at < low]
        for at in gone:
            self.remove(at)
        return len(gone)

    def trim_nodes(self, *, keep: int | None, low: ID | None, limit: int) -> int:
        gone = 0
        for node in list(self.nodes):
            if limit and gone + len(node.live) > limit:
                break
            if keep is not None and len(self.entries) - len(node.live) < keep:
                break
            if low is not None and node.ids[-1] >= low:
                break
            gone += len(node.live)
            for at in list(node.live):
                self.remove(at)
        return gone

    def slice(self, start: ID, end: ID, count: int, *, reverse: bool) -> list[bytes]:
        found = sorted([at for at in self.entries if start <= at <= end], reverse=reverse)
        return [self.entries[at] for at in (found if count < 0 else found[:count])]


class StreamMachine(RuleBasedStateMachine):
    """Does the same to both."""

    def __init__(self) -> None:
        super().__init__()
        self.node = Node()
        self.frames = 0

    @initialize(node_entries=st.sampled_from([0, 1, 3, 10, 100]))
    def begin(self, node_entries: int) -> None:
        self.node.set("stream-node-max-entries", node_entries)
        self.node.set("stream-node-max-bytes", 0)
        self.node_entries = node_entries
        self.model = Model(node_entries)
        self.add(n=1, step=1, value=b"v")

    @rule(
        n=st.one_of(st.integers(1, 5), st.sampled_from([30, 500, 3000])),
        step=st.integers(1, 3),
        value=st.binary(max_size=30),
    )
    def add(self, n: int, step: int, value: bytes) -> None:
        commands = []
        for i in range(n):
            ms, seq = self.model.last_id
            at = (ms + step, i % 2) if i % 3 else (ms, seq + 1)
            text = b"%d-%d" % at
            wire = b"*2\r\n$%d\r\n%b\r\n*2\r\n$1\r\nf\r\n$%d\r\n%b\r\n" % (
                len(text),
                text,
                len(value),
                value,
            )
            self.model.add(at, wire)
            commands.append(encode([b"XADD", b"s", text, b"f", value]))
        self.node.kernel.feed(self.node.session, b"".join(commands))
        assert self.node.session.take_output().count(b"\r\n$") == n - 1

    @rule(
        picks=st.lists(st.floats(0, 0.999), min_size=1, max_size=40),
        absent=st.booleans(),
        run=st.sampled_from([0, 0, 0, 5, 2000]),
    )
    def delete(self, picks: list[float], absent: bool, run: int) -> None:
        known = sorted(self.model.entries)
        ids = [known[int(pick * len(known))] for pick in picks if known]
        if run and known:
            first = int(picks[0] * len(known))
            ids += known[first : first + run]
        if absent:
            ids += [(1 << 40, 0), (0, 7)]
        if not ids:
            return
        words = [b"%d-%d" % at for at in ids]
        assert self.node.call("XDEL", "s", *words) == self.model.delete(ids)

    @rule(share=st.floats(0, 1.1), approximate=st.booleans(), limit=st.integers(0, 60))
    def trim_to_length(self, share: float, approximate: bool, limit: int) -> None:
        keep = int(share * len(self.model.entries))
        if approximate:
            gone = self.node.call("XTRIM", "s", "MAXLEN", "~", keep, "LIMIT", limit)
            assert gone == self.model.trim_nodes(keep=keep, low=None, limit=limit)
        else:
            gone = self.node.call("XTRIM", "s", "MAXLEN", keep)
            assert gone == self.model.trim(keep=keep, low=None)

    @rule(share=st.floats(0, 1.1), approximate=st.booleans(), limit=st.integers(0, 60))
    def trim_to_id(self, share: float, approximate: bool, limit: int) -> None:
        low = self.some_id(share)
        text = f"{low[0]}-{low[1]}"
        if approximate:
            gone = self.node.call("XTRIM", "s", "MINID", "~", text, "LIMIT", limit)
            assert gone == self.model.trim_nodes(keep=None, low=low, limit=limit)
        else:
            gone = self.node.call("XTRIM", "s", "MINID", text)
            assert gone == self.model.trim(keep=None, low=low)

    @rule(
        start=st.floats(-0.1, 1.1),
        end=st.floats(-0.1, 1.1),
        count=st.one_of(st.just(-1), st.integers(0, 50)),
        reverse=st.booleans(),
    )
    def slice(self, start: float, end: float, count: int, reverse: bool) -> None:
        first = (0, 0) if start < 0 else self.some_id(start)
        last = MAX_ID if end < 0 else self.some_id(end)
        n, data = self.node.stream().slice(first, last, count, reverse)
        expected = self.model.slice(first, last, count, reverse=reverse)
        assert n == len(expected)
        assert data == b"".join(expected)

    @rule(share=st.floats(0, 1.1))
    def find(self, share: float) -> None:
        at = self.some_id(share)
        stream = self.node.stream()
        assert stream.contains(*at) == (at in self.model.entries)
        assert stream.entry(*at) == self.model.entries.get(at)

    @rule()
    def replay(self) -> None:
        note("replayed")
        before, self.node = self.node, self.node.replayed()
        self.node.log = before.log
        self.node.journal.base_lsn = before.journal.base_lsn
        self.node.set("stream-node-max-entries", self.node_entries)
        self.node.set("stream-node-max-bytes", 0)
        stream = self.node.stream()
        assert stream.slice((0, 0), MAX_ID, -1, False)[1] == b"".join(
            self.model.slice((0, 0), MAX_ID, -1, reverse=False)
        )

    def some_id(self, share: float) -> ID:
        known = sorted(self.model.entries)
        at = int(share * len(known))
        if at < len(known):
            return known[at]
        return (self.model.last_id[0] + at - len(known), 1)

    @invariant()
    def same_figures(self) -> None:
        if not hasattr(self, "model"):
            return
        stream, model = self.node.stream(), self.model
        stream.check()
        known = sorted(model.entries)
        assert stream.length == len(known)
        assert stream.node_count == len(model.nodes)
        assert stream.entries_added == model.added
        assert stream.last_id == model.last_id
        assert stream.max_deleted_id == model.max_deleted
        assert stream.first_id == (known[0] if known else (0, 0))
        assert stream.edge(True) == (model.entries[known[0]] if known else None)
        assert stream.edge(False) == (model.entries[known[-1]] if known else None)


TestStream = StreamMachine.TestCase
TestStream.settings = settings(stateful_step_count=25)
