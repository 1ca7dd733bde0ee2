"""The LIMIT that an approximate trim has when it names none: 100 nodes, a million at most.

Source: streamParseAddOrTrimArgsOrReply in Redis' t_stream.c.
"""

from __future__ import annotations

import pytest

from tests.respclient import encode
from tests.streams.node import Node

BATCH = 1000


def fill(node: Node, entries: int) -> None:
    add = encode([b"XADD", b"s", b"*", b"f", b"v"]) * BATCH
    node.begin_tick()
    for _ in range(entries // BATCH):
        node.kernel.feed(node.session, add)
        node.session.take_output()
        node.journal.committed()


@pytest.mark.parametrize(
    ("node_entries", "entries", "trimmed"),
    [(10, 2_000, 1_000), (15_000, 1_215_000, 990_000)],
)
def test_a_trim_without_limit_has_one_by_the_size_of_nodes(
    node_entries: int, entries: int, trimmed: int
) -> None:
    node = Node()
    node.set("stream-node-max-bytes", 0)
    node.set("stream-node-max-entries", node_entries)
    fill(node, entries)
    assert node.call("XTRIM", "s", "MAXLEN", "~", 0) == trimmed
    left = entries - trimmed
    assert node.call("XADD", "s", "MAXLEN", "~", 0, "*", "f", "v")
    assert node.call("XLEN", "s") == left + 1 - min(trimmed, left + 1)
