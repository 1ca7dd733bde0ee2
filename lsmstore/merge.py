"""A merge: files in, files out. It runs in a process of its own and knows nothing of the store.

Rules of this file:

1. Only live entries are taken over. What lives is asked of ``Survivors``, which reads the state
   rows of the last flush; marks and deletions only ever grow, so an old answer keeps too much,
   never too little.
2. Positions do not change. What lies below a stream's marks leaves block by block. A deleted entry
   between live ones is blanked: it keeps its ID and its shape, and loses its values. Runs that
   follow on each other become one, but for where what a copy of the stream shares ends.
3. A frame is copied as it is stored where it is the stream's alone, well filled, and nothing in it
   is deleted. Other blocks are decompressed, blanked and joined. A stream that graduates is
   decompressed once and put into blocks of ``own_frame_bytes``.
4. Outputs are durable when this returns; their names are not, and nothing names them. Where it
   fails, who asked for it removes them (``remove_outputs``).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple, Protocol

from lsmstore import rows
from lsmstore.block import Block, Run
from lsmstore.builder import Piece, SegmentBuilder
from lsmstore.cache import BlockCache
from lsmstore.compaction import Kind
from lsmstore.container import FRAME
from lsmstore.files import row_path, segment_path
from lsmstore.fs import FileSystem
from lsmstore.health import Health
from lsmstore.marks import Marks, is_alive, low_water
from lsmstore.options import StoreOptions
from lsmstore.origin import Origin
from lsmstore.rowfile import RowFile, write_row_file
from lsmstore.segment import Segment
from lsmstore.version import RowFileMeta, SegmentMeta

CACHE_BYTES: Final = 1 << 20


class Survivors(Protocol):
    """What of a stream is alive, as of the last flush."""

    def marks(self, sid: int) -> Marks:
        """Which positions are dead; sids are asked for in ascending order."""

    def deleted(self, sid: int, start: int, end: int) -> list[int]:
        """Positions of [start, end) that are deleted for whoever shares them, ascending."""

    def blank(self, entry: bytes) -> bytes:
        """A deleted entry without its values."""


class MergeRequest(NamedTuple):
    """What to merge."""

    directory: str
    kind: Kind
    inputs: tuple[int, ...]
    """Segments; of row files newest first."""
    outputs: tuple[int, ...]
    """Numbers that the outputs may take."""
    sid: int
    interval: tuple[int, int]
    rows: tuple[int, ...]
    """All row files, newest first."""
    dead: Mapping[int, Sequence[int]]
    """By segment: streams of which nothing there is alive."""
    cuts: Mapping[int, Sequence[int]]
    """By sid: end positions of what is shared; no run may go on beyond one."""
    dictionaries: Mapping[int, bytes]
    keep_tombstones: bool
    options: StoreOptions
    age: int = 0
    """Of the row file that is made."""


class MergeResult(NamedTuple):
    """What came of it."""

    segments: tuple[SegmentMeta, ...] = ()
    rows: RowFileMeta | None = None
    memory_bytes: int = 0
    """What the process took at most."""


MakeSurvivors = Callable[[Sequence[RowFile]], Survivors]


def merge(
    fs: FileSystem, request: MergeRequest, make_survivors: MakeSurvivors, pace: Callable[[], None]
) -> MergeResult:
    """Do it. ``pace`` is called now and then. Raises StorageError."""
    row_files = [_row_file(fs, request, number) for number in request.rows]
    if request.kind is Kind.ROWS:
        return MergeResult(rows=_merge_rows(fs, request, pace))
    work = _Segments(fs, request, make_survivors(row_files), pace)
    return MergeResult(segments=tuple(work.run()))


def remove_outputs(fs: FileSystem, request: MergeRequest) -> None:
    """Remove whatever a merge that is of no use has left; ``OSError`` if that cannot be done."""
    for number in request.outputs:
        for path in (segment_path(request.directory, number), row_path(request.directory, number)):
            if fs.exists(path):
                fs.unlink(path)


def _row_file(fs: FileSystem, request: MergeRequest, number: int) -> RowFile:
    path = row_path(request.directory, number)
    return RowFile(fs, path, number, request.dictionaries, BlockCache(CACHE_BYTES))


def _merge_rows(
    fs: FileSystem, request: MergeRequest, pace: Callable[[], None]
) -> RowFileMeta | None:
    files = [_row_file(fs, request, number) for number in request.inputs]
    sources = [file.scan(b"", None, cached=False) for file in files]
    number = request.outputs[0]
    pace()
    return write_row_file(
        fs,
        row_path(request.directory, number),
        number,
        request.age,
        request.interval,
        rows.merge(sources, keep_tombstones=request.keep_tombstones),
        request.options,
        Health(),
        request.inputs,
    )


@dataclass(slots=True)
class _Frame:
    """Neighbouring blocks of a run that lie in one frame."""

    run: Run
    first: int
    end: int
    offset: int
    length: int


class _Segments:
    """Merges segments."""

    def __init__(
        self,
        fs: FileSystem,
        request: MergeRequest,
        survivors: Survivors,
        pace: Callable[[], None],
    ) -> None:
        self._fs = fs
        self._request = request
        self._options = request.options
        self._survivors = survivors
        self._pace = pace
        self._health = Health()
        cache = BlockCache(CACHE_BYTES)
        self._inputs = [
            Segment(
                fs, segment_path(request.directory, number), number, request.dictionaries, cache
            )
            for number in request.inputs
        ]
        self._numbers = list(request.outputs)
        self._raw: dict[int, tuple[int, bytes]] = {}  # by segment: its last decompressed frame
        self._blanked = 0

    def run(self) -> list[SegmentMeta]:
        """Write the outputs."""
        done: list[SegmentMeta] = []
        out: SegmentBuilder | None = None
        for sid, runs in self._streams():
            marks = self._survivors.marks(sid)
            alive = sorted(
                [run for run in runs if is_alive(marks, run)], key=lambda run: run.first_pos
            )
            if not alive:
                continue
            cuts = {end for end, _ in marks}.union(self._request.cuts.get(sid, ()))
            for chain in _chains(alive, cuts):
                if out is None:
                    out = self._begin()
                out = self._take(out, sid, chain, low_water(marks, chain[0].first_pos), done)
            assert out is not None
            out.end_stream(sid, self._blanked)
            self._blanked = 0
            self._pace()
        if out is not None:
            done.append(out.finish(last=True))
        return done

    # -- inner parts ----------------------------------------------------------------------------

    def _begin(self) -> SegmentBuilder:
        request = self._request
        part = len(request.outputs) - len(self._numbers)
        number = self._numbers.pop(0)
        return SegmentBuilder(
            self._fs,
            segment_path(request.directory, number),
            number,
            request.interval,
            self._options,
            self._health,
            Origin(request.sid, number, part, inputs=request.inputs),
            request.dictionaries,
        )

    def _streams(self) -> Iterator[tuple[int, list[Run]]]:
        """Each stream with its runs in all inputs, ascending by sid."""
        sid = self._request.sid
        if sid:
            yield sid, [run for segment in self._inputs for run in segment.runs(sid)]
            return
        sources = [self._living(segment) for segment in self._inputs]
        merged = heapq.merge(*sources, key=lambda pair: pair[0])
        for sid, pairs in groupby(merged, key=lambda pair: pair[0]):
            yield sid, [run for _, run in pairs]

    def _living(self, segment: Segment) -> Iterator[tuple[int, Run]]:
        dead = set(self._request.dead.get(segment.number, ()))
        for sid, run in segment.all_runs():
            if sid not in dead:
                yield sid, run

    def _take(
        self,
        out: SegmentBuilder,
        sid: int,
        chain: list[Run],
        low: int,
        done: list[SegmentMeta],
    ) -> SegmentBuilder:
        """Put runs that follow on each other into ``out``, as one; returns where to go on."""
        options = self._options
        raw_bytes = sum([run.raw_bytes for run in chain])
        small = not self._request.sid and raw_bytes < options.small_run_bytes
        nodes = [pos for run in chain for pos in run.node_positions()]
        out.begin_run(small=small)
        start: int | None = None
        before: _Frame | None = None
        for frame in _frames(chain, low):
            at = frame.run.place(frame.first)[4]
            if (
                self._request.sid
                and start is not None
                and before is not None
                and self._numbers
                and out.size >= options.own_segment_bytes_max
            ):
                out.end_run(self._last_id(before), [pos for pos in nodes if start <= pos < at])
                out.end_stream(sid, self._blanked)
                self._blanked = 0
                done.append(out.finish(last=False))
                out = self._begin()
                out.begin_run(small=small)
                start = None
            if start is None:
                start = at
            self._take_frame(out, sid, frame)
            before = frame
            self._pace()
        assert start is not None
        out.end_run(chain[-1].last, [pos for pos in nodes if pos >= start])
        return out

    def _take_frame(self, out: SegmentBuilder, sid: int, frame: _Frame) -> None:
        """Take over blocks that lie in one frame."""
        run = frame.run
        blocks = range(frame.first, frame.end)
        places = [run.place(i) for i in blocks]
        end_pos = places[-1][4] + run.block_count(frame.end - 1)
        deleted = self._survivors.deleted(sid, places[0][4], end_pos)
        self._blanked += len(deleted)
        segment: Segment = run.segment
        if self._request.kind is not Kind.GRADUATE and not deleted:
            stored = self._worth_copying(segment, frame, sum([place[3] for place in places]))
            if stored is not None:
                out.copy(
                    stored,
                    [
                        Piece(run.first_id(i), place[4], run.block_count(i), place[3], 0, place[2])
                        for i, place in zip(blocks, places, strict=True)
                    ],
                )
                return
        raw = self._decompressed(segment, frame)
        for i, (_, _, raw_offset, raw_len, first_pos) in zip(blocks, places, strict=True):
            data = raw[raw_offset : raw_offset + raw_len]
            count = run.block_count(i)
            if deleted:
                inside = [pos for pos in deleted if first_pos <= pos < first_pos + count]
                data = self._blank(data, first_pos, inside)
            out.put(data, run.first_id(i), first_pos, count)

    def _last_id(self, frame: _Frame) -> tuple[int, int]:
        """The ID of the last entry of a frame."""
        if frame.end == frame.run.n_blocks:
            return frame.run.last
        _, _, raw_offset, raw_len, _ = frame.run.place(frame.end - 1)
        raw = self._decompressed(frame.run.segment, frame)
        return Block.sealed(raw[raw_offset : raw_offset + raw_len], 0).last

    def _worth_copying(self, segment: Segment, frame: _Frame, raw_bytes: int) -> bytes | None:
        """The stored frame, if it holds these blocks alone and is well filled."""
        held = self._raw.get(segment.number)
        if held is not None and held[0] == frame.offset:
            return None  # others have blocks in it
        stored = segment.stored_frame(frame.offset, frame.length)
        raw_len = FRAME.unpack_from(stored)[0]
        full = self._options.own_frame_bytes if self._request.sid else self._options.frame_bytes
        if raw_len == raw_bytes and 2 * raw_len >= full:
            return stored
        self._raw[segment.number] = frame.offset, segment.decompress(stored, frame.offset)
        return None

    def _decompressed(self, segment: Segment, frame: _Frame) -> bytes:
        held = self._raw.get(segment.number)
        if held is None or held[0] != frame.offset:
            stored = segment.stored_frame(frame.offset, frame.length)
            held = frame.offset, segment.decompress(stored, frame.offset)
            self._raw[segment.number] = held
        return held[1]

    def _blank(self, data: bytes, first_pos: int, positions: Sequence[int]) -> bytes:
        block = Block.sealed(data, first_pos)
        parts: list[bytes] = []
        at = 0
        for pos in positions:
            start, end = block.span(pos - first_pos)
            parts += (data[at:start], self._survivors.blank(data[start:end]))
            at = end
        return b"".join([*parts, data[at:]])


def _chains(runs: list[Run], cuts: Container[int]) -> Iterator[list[Run]]:
    """Runs, ascending, cut wherever positions have a hole, and at ``cuts``."""
    chain: list[Run] = []
    for run in runs:
        if chain and (chain[-1].end_pos != run.first_pos or run.first_pos in cuts):
            yield chain
            chain = []
        chain.append(run)
    yield chain


def _frames(chain: list[Run], low: int) -> Iterator[_Frame]:
    """The blocks that hold a position from ``low`` on, frame by frame."""
    for run in chain:
        frame: _Frame | None = None
        for i in range(run.n_blocks):
            offset, length, _, _, first_pos = run.place(i)
            if first_pos + run.block_count(i) <= low:
                continue
            if frame is not None and frame.offset == offset:
                frame.end = i + 1
                continue
            if frame is not None:
                yield frame
            frame = _Frame(run, i, i + 1, offset, length)
        if frame is not None:
            yield frame
