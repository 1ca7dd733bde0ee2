"""Where the blocks of a stream lie in segments, and how they are compressed.

A frame that several streams share counts for each of them by its part of the raw bytes. What is
read are the sixteen bytes at the head of each frame, no content.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lsmstore.block import Run
from lsmstore.container import COLUMNS, RAW, FrameHead
from lsmstore.segment import Segment


class Part(NamedTuple):
    """A run of a stream: what of it is in one segment without a hole."""

    segment: int
    first_pos: int
    end_pos: int
    first_id: tuple[int, int]
    last_id: tuple[int, int]
    blocks: int
    raw_bytes: int
    stored_bytes: int
    frames: int
    shared_frames: int
    """Frames that hold blocks of other streams, too, or other runs."""
    codecs: dict[str, int]
    """Frames by how they are compressed."""


def codec_name(head: FrameHead) -> str:
    """How a frame is compressed, in words."""
    if head.codec == RAW:
        return "none"
    name = f"zstd-{head.level}" if head.level else "zstd"
    if head.codec == COLUMNS:
        name = f"columns {name}"
    return f"{name} dictionary {head.dictionary}" if head.dictionary else name


def anatomy(runs: Iterable[Run]) -> list[Part]:
    """Each run, in order. Blocking: it reads. Raises StorageError."""
    return [_part(run) for run in runs]


def _part(run: Run) -> Part:
    segment: Segment = run.segment
    raw_by_frame: dict[tuple[int, int], int] = {}
    for index in range(run.n_blocks):
        offset, length, _, raw_len, _ = run.place(index)
        raw_by_frame[offset, length] = raw_by_frame.get((offset, length), 0) + raw_len
    stored = shared = 0
    codecs: dict[str, int] = {}
    for (offset, length), raw_bytes in raw_by_frame.items():
        head = segment.frame_head(offset)
        shared += head.raw_len != raw_bytes
        stored += length * raw_bytes // max(head.raw_len, 1)
        name = codec_name(head)
        codecs[name] = codecs.get(name, 0) + 1
    return Part(
        segment.number,
        run.first_pos,
        run.end_pos,
        run.first_id(0),
        run.last,
        run.n_blocks,
        run.raw_bytes,
        stored,
        len(raw_by_frame),
        shared,
        codecs,
    )
