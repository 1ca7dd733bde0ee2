"""Which cold blocks stay in memory.

A block that was read, or that a flush has just written, sits in its slot of ``Run.blocks``, where
compiled readers find it without asking anybody. This cache only decides which slots to empty: the
oldest first, once the blocks hold more than their share of the memory budget.
"""

from __future__ import annotations

from collections import deque

from lsmstore.block import Block, Run


class BlockCache:
    """First in, first out, by bytes."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0
        self.loads = 0
        self._held: deque[tuple[Run, int, int]] = deque()

    def add(self, run: Run, index: int, block: Block) -> None:
        """Keep a block that was just read, at least until ``make_room``."""
        run.blocks[index] = block
        self.loads += 1
        self._keep(run, index, block.memory_bytes)

    def keep(self, wanted: list[tuple[Run, int]], blocks: list[Block] | None) -> None:
        """Keep blocks that were read on a thread, unless somebody else was faster."""
        for (run, index), block in zip(wanted, blocks or (), strict=False):
            if run.blocks[index] is None:
                self.add(run, index, block)

    def adopt(self, run: Run) -> None:
        """Keep the blocks that a flush left in the slots of a new run."""
        for index, block in enumerate(run.blocks):
            if block is not None:
                self._keep(run, index, block.memory_bytes)
        self.make_room()

    def _keep(self, run: Run, index: int, size: int) -> None:
        self._held.append((run, index, size))
        self.held_bytes += size

    def make_room(self) -> None:
        """Let go of the oldest blocks until the others fit; the youngest stays."""
        while self.held_bytes > self.capacity_bytes and len(self._held) > 1:
            old, at, freed = self._held.popleft()
            old.blocks[at] = None
            self.held_bytes -= freed
