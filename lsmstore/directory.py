"""The directory bytes of one run in one segment (layout: lsmstore/block.py)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lsmstore.block import Block

Place = tuple[int, int, int]
"""Frame offset, length of the frame, where the block begins in it once decompressed."""


def directory_bytes(
    blocks: Sequence[Block], places: Sequence[Place], node_positions: Sequence[int]
) -> bytes:
    """The directory of a stream's ``blocks`` in a segment; ``node_positions`` are absolute."""
    last = blocks[-1]
    return pack_directory(
        [block.first for block in blocks],
        [block.first_pos for block in blocks] + [last.first_pos + last.count],
        last.last,
        places,
        [block.wire_bytes for block in blocks],
        node_positions,
    )


def pack_directory(
    firsts: Sequence[tuple[int, int]],
    positions: Sequence[int],
    last: tuple[int, int],
    places: Sequence[Place],
    raw_lens: Sequence[int],
    node_positions: Sequence[int],
) -> bytes:
    """The same from its columns; ``positions`` has one more: where the run ends."""
    n = len(firsts)
    m = len(node_positions)
    first_pos = positions[0]
    # One call: a flush makes a directory for each of perhaps a hundred thousand small streams.
    return struct.pack(
        f"<IIQQQ{2 * n}Q{n + 1}I{n}Q{3 * n + m}I",
        n,
        m,
        first_pos,
        *last,
        *[first[0] for first in firsts],
        *[first[1] for first in firsts],
        *[pos - first_pos for pos in positions],
        *[place[0] for place in places],
        *[place[1] for place in places],
        *[place[2] for place in places],
        *raw_lens,
        *[pos - first_pos for pos in node_positions],
    )
