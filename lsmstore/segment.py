"""A segment: blocks of many streams as a flush or a merge wrote them, and where each stream's are.

    segment := container (lsmstore/container.py) with magic "RSPQSEG1"
    frames  := block frame... page... origin index
    block frame := the wire bytes of one or more blocks, one after the other
    page    := n u32 | zero u32 | sid u64[n] | end u32[n] | directory...
    index   := n u32 | zero u32 | first_sid u64[n] | offset u64[n] | length u32[n] | filter
    counts  := pages, streams, blocks, entries, frames, raw bytes

``end`` counts from the first directory; ``directory`` is what ``lsmstore/block.py`` describes.
Pages are sorted by sid, of about 16 KiB before compression; a stream with larger directories has a
page for itself. A stream whose positions have a hole here has a directory for each part. The
``filter`` (lsmstore/sidfilter.py) knows all sids of the segment.

Rules of this file:

1. Blocks of one stream ascend, and streams ascend by sid, so small streams that share a frame are
   neighbours. Frames and pages may stand in any order.
2. A segment is pinned by whoever holds a ``Run`` of it. With the last reference its descriptor is
   handed over to be closed: the file may have been unlinked before, and freeing it takes time.
"""

from __future__ import annotations

import struct
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from lsmstore import sidfilter
from lsmstore.block import Block, Run
from lsmstore.cache import BlockCache
from lsmstore.container import Container, ContainerWriter, Footer, FrameHead, How
from lsmstore.dictionaries import DictionaryChooser
from lsmstore.directory import directory_bytes
from lsmstore.errors import Corruption
from lsmstore.fs import File, FileSystem
from lsmstore.health import Health
from lsmstore.options import StoreOptions
from lsmstore.origin import Origin
from lsmstore.version import LargeRun, SegmentMeta

MAGIC: Final = b"RSPQSEG1"
COUNT: Final = struct.Struct("<II")
BREATHE_STREAMS: Final = 32  # directories between two chances for the event loop
SIDS_END: Final = 1 << 64
LARGE_BLOCKS_MIN: Final = 2  # a stream with fewer blocks cannot take much of a segment

PlannedRun = tuple[list[Block], list[int]]


class _FramePlan:
    """Which blocks share which frame, in the order in which they are written."""

    def __init__(self, options: StoreOptions) -> None:
        self._frame_bytes = options.frame_bytes
        self.frames: list[list[Block]] = []
        self.block_frames: list[tuple[int, int]] = []  # of each block: frame, offset within it
        self.owners: list[tuple[int, int]] = []  # (first frame, sid) of those with a choice apart
        self._filled = 0
        self._shared = False

    def add_run(self, blocks: Sequence[Block], *, small: bool) -> None:
        """Place the blocks of one stream; a small one may go on in the frame of a small one."""
        open_frame = bool(self.frames) and self._shared and small
        for block in blocks:
            size = block.wire_bytes
            if not open_frame or self._filled + size > self._frame_bytes:
                self.frames.append([])
                self._filled = 0
                open_frame = True
            self.block_frames.append((len(self.frames) - 1, self._filled))
            self.frames[-1].append(block)
            self._filled += size
        self._shared = small


def write_segment(
    fs: FileSystem,
    path: str,
    number: int,
    interval: tuple[int, int],
    runs: Mapping[int, PlannedRun],
    options: StoreOptions,
    health: Health,
    chooser: DictionaryChooser,
) -> SegmentMeta:
    """Write the planned runs as segment ``number``; the file is durable, its name is not yet."""
    sids = sorted(runs)
    plan = _FramePlan(options)
    total = 0
    for sid in sids:
        blocks = runs[sid][0]
        size = sum([block.wire_bytes for block in blocks])
        total += size
        large_enough = size >= options.dictionary_run_bytes
        owner = sid if large_enough else 0
        if not plan.owners or plan.owners[-1][1] != owner:
            plan.owners.append((len(plan.frames), owner))
        plan.add_run(blocks, small=size < options.small_run_bytes)
    hurried = total > options.hurried_segment_bytes
    level = options.compression_level
    writer = ContainerWriter(fs, path, MAGIC, number, interval, level, health, hurried=hurried)
    places = _write_frames(writer, plan, options.compress_batch_bytes, chooser)
    frames = writer.frames
    raw_bytes = writer.raw_bytes
    share = (writer.offset / raw_bytes) if raw_bytes else 0.0  # of a raw byte, on the disk
    large: list[LargeRun] = []
    pages = PageWriter(writer, options)
    at = 0
    entries = 0
    for i, sid in enumerate(sids):
        blocks, node_positions = runs[sid]
        located = [
            (*places[frame], offset) for frame, offset in plan.block_frames[at : at + len(blocks)]
        ]
        at += len(blocks)
        entries += sum([block.count for block in blocks])
        pages.add(sid, [directory_bytes(blocks, located, node_positions)])
        if len(blocks) >= LARGE_BLOCKS_MIN:
            size = int(share * sum([block.wire_bytes for block in blocks]))
            if size >= options.large_run_bytes:
                large.append(LargeRun(sid, size, 0))
        if i % BREATHE_STREAMS == 0:
            time.sleep(0)
    index, n_pages = pages.finish()
    counts = (n_pages, len(sids), at, entries, frames, raw_bytes)
    size = writer.finish(index, counts, Origin(age=number, large=tuple(large)))
    return SegmentMeta(number, size, *interval, len(sids), entries, 0, tuple(large))


def _joined(blocks: Sequence[Block]) -> bytes:
    return blocks[0].data if len(blocks) == 1 else b"".join([block.data for block in blocks])


def _write_frames(
    writer: ContainerWriter, plan: _FramePlan, batch_bytes: int, chooser: DictionaryChooser
) -> list[tuple[int, int]]:
    """Compress and write in batches; returns (offset, length) of each frame."""
    places: list[tuple[int, int]] = []
    chooser.begin()
    ends = [first for first, _ in plan.owners[1:]] + [len(plan.frames)]
    small: list[Sequence[Block]] = []
    for (first, owner), end in zip(plan.owners, ends, strict=True):
        if owner == 0:
            small += plan.frames[first:end]
    shared = chooser.choose(0, len(small), lambda i: _joined(small[i]))
    for (first, owner), end in zip(plan.owners, ends, strict=True):
        frames = plan.frames[first:end]
        how = shared
        if owner:
            how = chooser.choose(owner, len(frames), lambda i, of=frames: _joined(of[i]))  # type: ignore[misc]
        places += _write_alike(writer, frames, batch_bytes, chooser, how)
    return places


def _write_alike(
    writer: ContainerWriter,
    frames: Sequence[Sequence[Block]],
    batch_bytes: int,
    chooser: DictionaryChooser,
    how: How,
) -> list[tuple[int, int]]:
    """Write frames that are compressed in one way."""
    compressors = chooser.compressors(how)
    places: list[tuple[int, int]] = []
    batch: list[bytes] = []
    size = 0
    for blocks in frames:
        batch.append(_joined(blocks))
        size += len(batch[-1])
        if size >= batch_bytes:
            places += writer.put(batch, compressors, how)
            batch = []
            size = 0
    if batch:
        places += writer.put(batch, compressors, how)
    return places


class PageWriter:
    """Gathers directories into pages and pages into the index."""

    def __init__(self, writer: ContainerWriter, options: StoreOptions) -> None:
        self._writer = writer
        self._page_bytes = options.directory_page_bytes
        self._batch_bytes = options.compress_batch_bytes
        self._sids = array("Q")
        self._ends = array("I")
        self._directories: list[bytes] = []
        self._filled = 0
        self._pages: list[bytes] = []
        self._pages_bytes = 0
        self._first_sids = array("Q")
        self._offsets = array("Q")
        self._lengths = array("I")
        self._all_sids = array("Q")

    def add(self, sid: int, directories: Sequence[bytes]) -> None:
        """The directories of a stream, which stay in one page. Streams come in ascending order."""
        size = sum([len(directory) for directory in directories])
        if self._filled and self._filled + size > self._page_bytes:
            self._close_page()
        if not self._sids:
            self._first_sids.append(sid)
        self._all_sids.append(sid)
        for directory in directories:
            self._sids.append(sid)
            self._filled += len(directory)
            self._ends.append(self._filled)
            self._directories.append(directory)

    def finish(self) -> tuple[bytes, int]:
        """The index, and how many pages there are."""
        if self._sids:
            self._close_page()
        self._write_pages()
        n = len(self._first_sids)
        columns = (self._first_sids, self._offsets, self._lengths)
        bits = sidfilter.build(self._all_sids.tobytes())
        return b"".join([COUNT.pack(n, 0), *[column.tobytes() for column in columns], bits]), n

    def _close_page(self) -> None:
        head = COUNT.pack(len(self._sids), 0) + self._sids.tobytes() + self._ends.tobytes()
        self._pages.append(head + b"".join(self._directories))
        self._pages_bytes += len(self._pages[-1])
        self._sids = array("Q")
        self._ends = array("I")
        self._directories = []
        self._filled = 0
        if self._pages_bytes >= self._batch_bytes:
            self._write_pages()

    def _write_pages(self) -> None:
        if self._pages:
            for offset, length in self._writer.put(self._pages):
                self._offsets.append(offset)
                self._lengths.append(length)
        self._pages = []
        self._pages_bytes = 0


class Page:
    """A page as read: the directories of some neighbouring streams."""

    __slots__ = ("_data", "_ends", "_start", "sids")

    def __init__(self, data: bytes) -> None:
        n = COUNT.unpack_from(data)[0]
        self._start = COUNT.size + 12 * n
        if len(data) < self._start:
            raise ValueError("a directory page is cut short")
        self.sids = array("Q", data[COUNT.size : COUNT.size + 8 * n])
        self._ends = array("I", data[COUNT.size + 8 * n : self._start])
        if n == 0 or self._start + self._ends[-1] != len(data):
            raise ValueError("a directory page has the wrong length")
        self._data = data

    def directory(self, i: int) -> bytes:
        """Directory bytes of the page's stream ``i``."""
        start = self._start + (self._ends[i - 1] if i else 0)
        return self._data[start : self._start + self._ends[i]]


class Segment:
    """A segment that is read. ``block`` may be called from any thread."""

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        number: int,
        dictionaries: Mapping[int, bytes],
        cache: BlockCache,
        unread: Callable[[File], None] | None = None,
    ) -> None:
        """``unread`` gets the open file when nobody reads it any more; else it is closed then."""
        self._unread = unread
        self.number = number
        self.path = path
        self._cache = cache
        self._container = Container(fs, path, MAGIC, number, dictionaries)
        footer = self._container.footer
        self.streams = footer.counts[1]
        self.entries = footer.counts[3]
        self.raw_bytes = footer.counts[5]
        index = self._container.index()
        n = COUNT.unpack_from(index)[0] if len(index) >= COUNT.size else 0
        end = COUNT.size + 20 * n
        if len(index) < end + sidfilter.BYTES_MIN or n != footer.counts[0]:
            raise Corruption(path, footer.index_offset, "the index has the wrong length")
        self._first_sids = array("Q", index[COUNT.size : COUNT.size + 8 * n])
        self._offsets = array("Q", index[COUNT.size + 8 * n : COUNT.size + 16 * n])
        self._lengths = array("I", index[COUNT.size + 16 * n : end])
        self.filter = index[end:]

    def __del__(self) -> None:
        """With the last reference; one that was never opened has nothing to close."""
        container: Container | None = getattr(self, "_container", None)
        if container is None:
            return
        if self._unread is None:
            container.close()
        else:
            self._unread(container.file)

    @property
    def size(self) -> int:
        return self._container.size

    @property
    def index_bytes(self) -> int:
        """What the open segment holds in memory."""
        return 600 + 20 * len(self._offsets) + len(self.filter)

    @property
    def stored_share(self) -> float:
        """What a byte of an entry takes on the disk."""
        return self.size / max(self.raw_bytes, 1)

    def runs(self, sid: int) -> list[Run]:
        """The indexes of a stream's blocks here, ascending by position; none if it is not here."""
        i = bisect_right(self._first_sids, sid) - 1
        if i < 0:
            return []
        page = self._page(i)
        first = bisect_left(page.sids, sid)
        return [self._run(page, at, i) for at in range(first, bisect_right(page.sids, sid))]

    def stored_frame(self, offset: int, length: int) -> bytes:
        """A frame of blocks as it lies in the file, checked."""
        return self._container.stored(offset, length)

    def decompress(self, frame: bytes, offset: int) -> bytes:
        """The wire bytes in a frame that ``stored_frame`` gave."""
        return self._container.decompress(frame, offset)

    def all_runs(self) -> Iterator[tuple[int, Run]]:
        """Every stream and the index of its blocks, ascending by sid."""
        for i in range(len(self._offsets)):
            yield from self.page_runs(i)

    @property
    def footer(self) -> Footer:
        """What the end of the file says."""
        return self._container.footer

    @property
    def page_places(self) -> list[tuple[int, int]]:
        """(offset, length) of each page."""
        return list(zip(self._offsets, self._lengths, strict=True))

    def page_sids(self, i: int) -> tuple[int, int]:
        """Between which sids those of page ``i`` lie: [first, end)."""
        last = i + 1 == len(self._first_sids)
        return self._first_sids[i], SIDS_END if last else self._first_sids[i + 1]

    def page_runs(self, i: int) -> Iterator[tuple[int, Run]]:
        """The streams of page ``i`` and the indexes of their blocks."""
        page = self._page(i)
        for at, sid in enumerate(page.sids):
            yield sid, self._run(page, at, i)

    def frame_head(self, offset: int) -> FrameHead:
        """How the frame at ``offset`` is compressed."""
        return self._container.frame_head(offset)

    def origin(self) -> Origin:
        """Whence the file comes."""
        return self._container.origin()

    def read_frame(self, offset: int, length: int) -> bytes:
        """What is in a frame, checked."""
        return self._container.read(offset, length)

    def block(self, run: Run, index: int) -> Block:
        """Block ``index`` of a run, read from the file."""
        frame_offset, frame_len, raw_offset, raw_len, first_pos = run.place(index)
        raw = self._container.read(frame_offset, frame_len)
        data = raw[raw_offset : raw_offset + raw_len]
        if len(data) != raw_len:
            raise Corruption(self.path, frame_offset, "a block lies outside its frame")
        try:
            block = Block.sealed(data, first_pos)
        except ValueError as error:
            raise Corruption(self.path, frame_offset, str(error)) from None
        if block.count != run.block_count(index):
            raise Corruption(self.path, frame_offset, "a block has another count than its index")
        return block

    def _page(self, i: int) -> Page:
        key = (self.number, self._offsets[i])
        data = self._cache.get(key)
        if data is None:
            data = self._container.read(self._offsets[i], self._lengths[i])
            self._cache.put(key, data)
        try:
            return Page(data)
        except ValueError as error:
            raise Corruption(self.path, self._offsets[i], str(error)) from None

    def _run(self, page: Page, at: int, i: int) -> Run:
        try:
            return Run(self, page.directory(at))
        except ValueError as error:
            raise Corruption(self.path, self._offsets[i], str(error)) from None
