"""What the state of a node was at each position of its log.

A reference node has no disk to speak of and never flushes. It takes in the frames that the node
under test commits, in the moment they are handed to the store, and remembers a dump after each.
"""

from __future__ import annotations

from lsmstore.fs import Bytes
from streams.replay import Replay
from tests.sim.dump import dump
from tests.sim.node import SimNode


class Reference:
    """The states of one node, by log position."""

    def __init__(self) -> None:
        self._plain = SimNode()
        self._replay = Replay(self._plain.engine.keyspace)
        self.states: dict[int, dict[str, bytes]] = {0: dump(self._plain)}
        self.last_lsn = 0

    def follow(self, node: SimNode) -> None:
        """Take in every frame that the node commits from now on."""
        commit = node.store.commit

        def noted(payload: Bytes, count: int) -> int:
            self.take(node.store.next_lsn, bytes(payload), count)
            return commit(payload, count)

        node.store.commit = noted  # type: ignore[method-assign]

    def take(self, first_lsn: int, payload: bytes, count: int) -> None:
        """Apply a frame."""
        if count == 0:
            return
        assert first_lsn == self.last_lsn + 1
        assert self._replay.apply(first_lsn, payload) == count
        self.last_lsn += count
        self.states[self.last_lsn] = dump(self._plain)
