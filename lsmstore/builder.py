"""Writes the segment of a merge piece by piece: frames as they come, directories behind them.

Rules of this file:

1. Memory does not grow with the segment but for the places of its frames: frames are written in
   batches, and a stream's directories as soon as its last frame is.
2. A frame that is handed over compressed is copied; blocks that are handed over raw are joined
   while they fit into one block, and blocks of small neighbouring streams share frames.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lsmstore.container import ContainerWriter
from lsmstore.dictionaries import DictionaryChooser
from lsmstore.directory import pack_directory
from lsmstore.fs import FileSystem
from lsmstore.health import Health
from lsmstore.options import StoreOptions
from lsmstore.origin import Origin
from lsmstore.segment import MAGIC, PageWriter
from lsmstore.version import LargeRun, SegmentMeta


class Piece(NamedTuple):
    """A block as it is written: what its index says, and where it is."""

    first: tuple[int, int]
    first_pos: int
    entries: int
    raw_len: int
    frame: int
    raw_offset: int


@dataclass(slots=True)
class BuiltRun:
    """A run without holes, as far as it was written."""

    last: tuple[int, int] = (0, 0)
    pieces: list[Piece] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)


class SegmentBuilder:
    """One segment under construction. A full disk is refused with nothing left behind."""

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        number: int,
        interval: tuple[int, int],
        options: StoreOptions,
        health: Health,
        origin: Origin,
        dictionaries: Mapping[int, bytes],
    ) -> None:
        """``origin`` lacks what is known at the end. No dictionary is trained here."""
        sid = origin.sid
        self._origin = origin
        self._options = options
        self._number = number
        self._interval = interval
        self._sid = sid
        self._frame_bytes = options.own_frame_bytes if sid else options.frame_bytes
        levels = options.own_compression_levels if sid else (options.compression_level,)
        sync_bytes = options.merge_sync_bytes
        self._writer = ContainerWriter(
            fs, path, MAGIC, number, interval, levels[0], health, sync_bytes=sync_bytes
        )
        known = replace(options, dictionaries_max=0)
        by_column = sid != 0 and options.own_columns
        self._chooser = DictionaryChooser(dictionaries, known, levels, by_column=by_column)
        self._pages = PageWriter(self._writer, options)
        self._offsets = array("Q")
        self._lengths = array("I")
        self._frames = 0
        self._raw: list[bytes] = []
        self._copied: list[bytes] = []
        self._queued_bytes = 0
        self._open: list[bytes] = []
        self._open_bytes = 0
        self._shared = False
        self._runs: list[BuiltRun] = []
        self._whole: deque[tuple[int, list[BuiltRun]]] = deque()
        self._large: list[LargeRun] = []
        self._streams = self._blocks = self._entries = self._raw_bytes = 0

    @property
    def size(self) -> int:
        """What the file has by now, less what still waits to be compressed."""
        return self._writer.offset

    def begin_run(self, *, small: bool) -> None:
        """Blocks that follow belong to one run; a small one may go on in an open frame."""
        if self._open and not (self._shared and small):
            self._close_frame()
        self._shared = small
        self._runs.append(BuiltRun())

    def copy(self, frame: bytes, pieces: Sequence[Piece]) -> None:
        """A whole compressed frame; its pieces say all but which frame it is."""
        self._close_frame()
        if self._raw:
            self._write_queue()
        self._copied.append(frame)
        self._queued_bytes += len(frame)
        run = self._runs[-1]
        run.pieces += [piece._replace(frame=self._frames) for piece in pieces]
        self._frames += 1
        self._write_if_much()

    def put(self, data: bytes, first: tuple[int, int], first_pos: int, count: int) -> None:
        """A block in wire bytes."""
        pieces = self._runs[-1].pieces
        if self._open and self._open_bytes + len(data) > self._frame_bytes:
            self._close_frame()
        if self._open and pieces and pieces[-1].frame == self._frames:
            before = pieces[-1]
            joined = before.entries + count
            pieces[-1] = before._replace(entries=joined, raw_len=before.raw_len + len(data))
        else:
            pieces.append(Piece(first, first_pos, count, len(data), self._frames, self._open_bytes))
        self._open.append(data)
        self._open_bytes += len(data)

    def end_run(self, last: tuple[int, int], nodes: list[int]) -> None:
        """The run is complete: ID of its last entry, where virtual nodes start in it."""
        run = self._runs[-1]
        run.last = last
        run.nodes = nodes
        if not self._shared:
            self._close_frame()

    def end_stream(self, sid: int, blanked: int) -> None:
        """All runs of a stream are complete; ``blanked`` of its entries have lost their values."""
        runs, self._runs = self._runs, []
        self._streams += 1
        self._blocks += sum([len(run.pieces) for run in runs])
        self._entries += sum([piece.entries for run in runs for piece in run.pieces])
        raw = sum([piece.raw_len for run in runs for piece in run.pieces])
        self._raw_bytes += raw
        if raw >= self._options.large_run_bytes:
            self._large.append(LargeRun(sid, raw, blanked))
        self._whole.append((sid, runs))

    def finish(self, *, last: bool) -> SegmentMeta:
        """Complete the file; it is durable then, its name is not yet. ``last``: of its merge."""
        self._close_frame()
        self._write_queue()
        writer = self._writer
        share = writer.offset / max(writer.raw_bytes, 1)
        index, n_pages = self._pages.finish()
        large = tuple(
            [
                run._replace(bytes=size)
                for run in self._large
                if (size := int(run.bytes * share)) >= self._options.large_run_bytes
            ]
        )
        counts = (
            n_pages,
            self._streams,
            self._blocks,
            self._entries,
            self._frames,
            self._raw_bytes,
        )
        size = writer.finish(index, counts, self._origin._replace(large=large, last=last))
        return SegmentMeta(
            self._number,
            size,
            *self._interval,
            self._streams,
            self._entries,
            self._sid,
            large,
        )

    # -- inner parts ----------------------------------------------------------------------------

    def _close_frame(self) -> None:
        if not self._open:
            return
        if self._copied:
            self._write_queue()
        self._raw.append(self._open[0] if len(self._open) == 1 else b"".join(self._open))
        self._queued_bytes += self._open_bytes
        self._open = []
        self._open_bytes = 0
        self._frames += 1
        self._write_if_much()

    def _write_if_much(self) -> None:
        if self._queued_bytes >= self._options.compress_batch_bytes:
            self._write_queue()

    def _write_queue(self) -> None:
        """Write the frames that wait; then the directories of streams that have all of theirs."""
        places: list[tuple[int, int]] = []
        if self._raw:
            raw = self._raw
            how = self._chooser.choose(self._sid, len(raw), lambda i: raw[i])
            places += self._writer.put(raw, self._chooser.compressors(how), how)
        places += self._writer.copy(self._copied) if self._copied else []
        for offset, length in places:
            self._offsets.append(offset)
            self._lengths.append(length)
        self._raw = []
        self._copied = []
        self._queued_bytes = 0
        while self._whole and self._whole[0][1][-1].pieces[-1].frame < len(self._offsets):
            sid, runs = self._whole.popleft()
            self._pages.add(sid, [self._directory(run) for run in runs])

    def _directory(self, run: BuiltRun) -> bytes:
        pieces = run.pieces
        last = pieces[-1]
        return pack_directory(
            [piece.first for piece in pieces],
            [piece.first_pos for piece in pieces] + [last.first_pos + last.entries],
            run.last,
            [
                (self._offsets[piece.frame], self._lengths[piece.frame], piece.raw_offset)
                for piece in pieces
            ],
            [piece.raw_len for piece in pieces],
            run.nodes,
        )
