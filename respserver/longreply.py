"""A range reply too long to be built at once: sent block by block as the socket drains.

Rules: the number of entries was counted and sent first, so the reply is pinned to what the stream
was then: a snapshot shares blocks and runs with the stream and has its own mark and deleted
positions.
"""

from __future__ import annotations

from lsmstore.block import Run
from streams.stream import Stream

PIECE_BYTES = 1 << 18
PREFETCH_BLOCKS = 32


class LongReply:
    """The rest of a reply to XRANGE or XREVRANGE."""

    def __init__(
        self, stream: Stream, first_pos: int, stop_pos: int, count: int, reverse: bool
    ) -> None:
        self._snapshot = stream.snapshot()
        self._first = first_pos
        self._stop = stop_pos
        self._reverse = reverse
        self.header = b"*%d\r\n" % count
        self.begun = False
        """Whether the header has been sent: it may have to wait for the log to be durable."""

    @property
    def done(self) -> bool:
        """Whether everything was taken."""
        return self._first >= self._stop

    def cold(self) -> list[tuple[Run, int]]:
        """Blocks that the next pieces need and that are not in memory."""
        return self._snapshot.cold_blocks(self._first, self._stop, PREFETCH_BLOCKS, self._reverse)

    def piece(self) -> bytes:
        """The next part of the reply. REQUIRES: not done."""
        data, at = self._snapshot.piece(self._first, self._stop, self._reverse, PIECE_BYTES)
        if self._reverse:
            self._stop = at
        else:
            self._first = at
        return data
