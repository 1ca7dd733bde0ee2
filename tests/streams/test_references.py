"""KEEPREF, DELREF, ACKED against a list of entries and sets of pending IDs.

Trims are those of the newest Redis: approximate ones look at the entries of whole nodes, one by
one. After each the log so far is replayed into another node, which must hold the same rows.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.streams.node import Node

ENTRIES = 40
NODE_ENTRIES = 4


class Model:
    """One stream with its groups, naively."""

    def __init__(self) -> None:
        self.nodes: list[list[int]] = []
        self.added: list[int] = []
        self.last: dict[str, int] = {}
        self.pending: dict[str, set[int]] = {}

    @property
    def entries(self) -> list[int]:
        return [ms for node in self.nodes for ms in node]

    def add(self, ms: int) -> None:
        if len(self.added) == NODE_ENTRIES or not self.nodes:
            self.nodes.append([])
            self.added = []
        self.nodes[-1].append(ms)
        self.added.append(ms)

    def delete(self, ms: int) -> None:
        for node in self.nodes:
            if ms in node:
                node.remove(ms)
        if self.nodes and not self.nodes[-1] and len(self.nodes) > 1:
            self.added = [0] * NODE_ENTRIES  # none here fills an emptied node's predecessor
        self.nodes = [node for node in self.nodes if node]

    def referenced(self, ms: int) -> bool:
        return any(ms > last for last in self.last.values()) or any(
            ms in rows for rows in self.pending.values()
        )

    def forget(self, ms: int) -> None:
        for rows in self.pending.values():
            rows.discard(ms)

    def trim(self, how: str, threshold: int, tilde: bool, limit: int, references: str) -> int:
        gone = 0
        for node in [list(node) for node in self.nodes]:
            left = len(self.entries)
            if tilde:
                if limit and gone + len(node) > limit:
                    break
                if how == "MAXLEN" and (left <= threshold or left - len(node) < threshold):
                    break
                if how == "MINID" and node[-1] >= threshold:
                    break
            for ms in node:
                if len(self.entries) <= threshold if how == "MAXLEN" else ms >= threshold:
                    break
                if references == "ACKED" and self.referenced(ms):
                    continue
                if references == "DELREF":
                    self.forget(ms)
                self.delete(ms)
                gone += 1
        return gone


some_ids = st.lists(st.integers(1, ENTRIES), max_size=12)


def build(cursors: dict[str, int], acked: list[int], deleted: list[int]) -> tuple[Node, Model]:
    node, model = Node(presents="8.10.0"), Model()
    node.set("stream-node-max-entries", NODE_ENTRIES)
    for ms in range(1, ENTRIES + 1):
        node.call("XADD", "s", f"{ms}-0", "f", "v")
        model.add(ms)
    for name, last in cursors.items():
        node.call("XGROUP", "CREATE", "s", name, 0)
        if last:
            node.call("XREADGROUP", "GROUP", name, "c", "COUNT", last, "STREAMS", "s", ">")
        model.last[name] = last
        model.pending[name] = set(range(1, last + 1))
    for at, ms in enumerate(acked):
        name = "gh"[at % 2]
        if name in cursors:
            node.call("XACK", "s", name, f"{ms}-0")
            model.pending[name].discard(ms)
    for ms in deleted:
        node.call("XDEL", "s", f"{ms}-0")
        model.delete(ms)
    return node, model


def compare(node: Node, model: Model) -> None:
    node.check()
    found = [int(entry[0].split(b"-")[0]) for entry in node.call("XRANGE", "s", "-", "+")]
    assert found == model.entries
    for name, rows in model.pending.items():
        shown = node.call("XPENDING", "s", name, "-", "+", 1000)
        assert [int(row[0].split(b"-")[0]) for row in shown] == sorted(rows)
    info = node.call("XINFO", "STREAM", "s")
    assert info[info.index(b"radix-tree-keys") + 1] == len(model.nodes)
    assert node.replayed().rows() == node.rows()


groups = st.dictionaries(st.sampled_from("gh"), st.integers(0, ENTRIES), max_size=2)


@settings(max_examples=300, deadline=None)
@given(
    cursors=groups,
    acked=some_ids,
    deleted=some_ids.map(lambda ids: [ms for ms in ids if ms <= ENTRIES - NODE_ENTRIES]),
    how=st.sampled_from(["MAXLEN", "MINID"]),
    threshold=st.integers(0, ENTRIES - 1),
    tilde=st.booleans(),
    limit=st.sampled_from([0, 0, 3, 8, 20]),
    references=st.sampled_from(["KEEPREF", "DELREF", "ACKED", "ACKED"]),
    adds=st.booleans(),
)
def test_trims(
    cursors: dict[str, int],
    acked: list[int],
    deleted: list[int],
    how: str,
    threshold: int,
    tilde: bool,
    limit: int,
    references: str,
    adds: bool,
) -> None:
    node, model = build(cursors, acked, deleted)
    words = [how, "~" if tilde else "=", str(threshold), *(["LIMIT", str(limit)] if tilde else [])]
    before = node.stream(b"s").max_deleted_id
    if adds:
        node.call("XADD", "s", references, *words, f"{ENTRIES + 1}-0", "f", "v")
        model.add(ENTRIES + 1)
        model.trim(how, threshold, tilde, limit, references)
    else:
        gone = model.trim(how, threshold, tilde, limit, references)
        assert node.call("XTRIM", "s", *words, references) == gone
    assert node.stream(b"s").max_deleted_id == before
    compare(node, model)


@settings(max_examples=200, deadline=None)
@given(
    cursors=groups,
    acked=some_ids,
    deleted=some_ids,
    wanted=st.lists(st.integers(1, ENTRIES + 2), min_size=1, max_size=12),
    references=st.sampled_from(["KEEPREF", "DELREF", "ACKED"]),
    acknowledges=st.booleans(),
)
def test_deletions(
    cursors: dict[str, int],
    acked: list[int],
    deleted: list[int],
    wanted: list[int],
    references: str,
    acknowledges: bool,
) -> None:
    node, model = build(cursors, acked, deleted)
    expected = []
    for ms in wanted:
        if acknowledges and ms not in model.pending.get("g", ()):
            expected.append(-1)
            continue
        if acknowledges:
            model.pending["g"].discard(ms)
        if references == "ACKED" and model.referenced(ms):
            expected.append(2)
            continue
        if references == "DELREF":
            model.forget(ms)
        expected.append(1 if acknowledges or ms in model.entries else -1)
        model.delete(ms)
    command = ["XACKDEL", "s", "g"] if acknowledges else ["XDELEX", "s"]
    words = [*command, references, "IDS", str(len(wanted)), *[f"{ms}-0" for ms in wanted]]
    assert node.call(*words) == expected
    compare(node, model)


@pytest.mark.parametrize("references", ["DELREF", "ACKED"])
def test_the_record_of_a_long_trim_is_short(references: str) -> None:
    """Neither the number of entries nor that of pending rows is in it."""
    node = Node(presents="8.10.0")
    for ms in range(1, 5001):
        node.call("XADD", "s", f"{ms}-0", "f", "v")
    node.call("XGROUP", "CREATE", "s", "g", 0)
    node.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 4000, "STREAMS", "s", ">")
    if references == "ACKED":
        node.call("XACK", "s", "g", *(f"{ms}-0" for ms in range(1, 4001) if ms != 7))
    before = node.journal.log.length
    assert node.call("XTRIM", "s", "MINID", 3500, references) == 3499 - (references == "ACKED")
    assert node.journal.log.length - before < 60
    assert node.replayed().rows() == node.rows()
