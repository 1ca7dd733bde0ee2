"""The directory bytes of one stream in one segment (layout: lsmstore/block.py)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from lsmstore.block import Block


def directory_bytes(
    blocks: Sequence[Block],
    places: Sequence[tuple[int, int, int]],
    node_positions: Sequence[int],
) -> bytes:
    """The directory of a stream's ``blocks`` in a segment.

    ``places`` gives (frame offset, frame length, raw offset) of each block; ``node_positions`` are absolute.
    """
    first_pos = blocks[0].first_pos
    ordinals = [block.first_pos - first_pos for block in blocks]
    ordinals.append(ordinals[-1] + blocks[-1].count)
    last_ms, last_seq = blocks[-1].last
    head = b"".join(
        [
            len(blocks).to_bytes(4, "little"),
            len(node_positions).to_bytes(4, "little"),
            first_pos.to_bytes(8, "little"),
            last_ms.to_bytes(8, "little"),
            last_seq.to_bytes(8, "little"),
        ]
    )
    columns = [
        array("Q", [block.first[0] for block in blocks]),
        array("Q", [block.first[1] for block in blocks]),
        array("I", ordinals),
        array("Q", [place[0] for place in places]),
        array("I", [place[1] for place in places]),
        array("I", [place[2] for place in places]),
        array("I", [block.wire_bytes for block in blocks]),
        array("I", [pos - first_pos for pos in node_positions]),
    ]
    return head + b"".join(column.tobytes() for column in columns)
