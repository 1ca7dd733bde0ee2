"""The directory bytes of one stream in one segment (layout: lsmstore/block.py)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lsmstore.block import Block


def directory_bytes(
    blocks: Sequence[Block],
    places: Sequence[tuple[int, int, int]],
    node_positions: Sequence[int],
) -> bytes:
    """The directory of a stream's ``blocks`` in a segment.

    ``places`` gives (frame offset, frame length, raw offset) of each block; ``node_positions`` are
    absolute.
    """
    n = len(blocks)
    m = len(node_positions)
    first_pos = blocks[0].first_pos
    last = blocks[-1]
    firsts = [block.first for block in blocks]
    # One call: a flush makes a directory for each of perhaps a hundred thousand small streams.
    return struct.pack(
        f"<IIQQQ{2 * n}Q{n + 1}I{n}Q{3 * n + m}I",
        n,
        m,
        first_pos,
        *last.last,
        *[first[0] for first in firsts],
        *[first[1] for first in firsts],
        *[block.first_pos - first_pos for block in blocks],
        last.first_pos + last.count - first_pos,
        *[place[0] for place in places],
        *[place[1] for place in places],
        *[place[2] for place in places],
        *[block.wire_bytes for block in blocks],
        *[pos - first_pos for pos in node_positions],
    )
