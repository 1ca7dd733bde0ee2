"""The log as it is written: one frame for each group commit, in files that are reserved ahead.

Rules of this file:

1. A frame goes only where the disk has room already: files are filled with zeros before use and
   recycled after it, so a commit cannot meet a full disk, and its sync has no metadata to write.
   ``log_room`` says how large the next frame may be; ``make_room`` is where a full disk is found,
   before anything has changed.
2. Room is counted less a reserve, on which only records that free space draw.
3. ``sync`` may run on a thread while ``commit`` goes on. It covers what was written when it
   started. A file that was left behind unsynced is synced with the next sync, before any claim
   reaches past it.
4. A file is released (recycled or removed) when all its records are below the floor, it is synced,
   and the head of the file after it is durable: recovery always finds a place to start from.
5. The first failed write or sync poisons the store.

Frames: ``lsmstore/frame.py``. Files and heads: ``lsmstore/logfile.py``. Reading:
``lsmstore/recovery.py``.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import zstandard
from xxhash import xxh3_64_intdigest

from lsmstore import frame
from lsmstore.errors import FULL, DiskFull
from lsmstore.frame import HEADER_BYTES, LOG_MAGIC, LOW_32, VERSION, ZSTD
from lsmstore.fs import Bytes, File, FileSystem
from lsmstore.health import Health
from lsmstore.logfile import (
    HEAD_FRAME_BYTES,
    Head,
    live_path,
    make_zeroed,
    spare_path,
    write_head,
)
from lsmstore.options import StoreOptions
from lsmstore.synctimes import SyncTimes

PAGE_BYTES: Final = 4096
OVERHEAD_BYTES: Final = 2 * HEADER_BYTES  # of the frame itself and of a marker after it


class LogFile:
    """One file of the log that has been written and may still be needed."""

    __slots__ = ("capacity", "end", "file", "head_synced", "last_lsn", "number", "path", "synced")

    def __init__(self, number: int, path: str, file: File, capacity: int) -> None:
        self.number = number
        self.path = path
        self.file = file
        self.capacity = capacity
        self.last_lsn = 0  # known once the next file has begun
        self.end = capacity  # where the log ends in it, at the most
        self.synced = False
        self.head_synced = False


class LogPart(NamedTuple):
    """A part of a log file that somebody copies."""

    number: int
    file: File
    start: int
    """Where it begins: 0, or behind the last record below the floor."""
    end: int


class Spare:
    """A reserved file that is not part of the log yet."""

    __slots__ = ("capacity", "file", "path")

    def __init__(self, path: str, file: File, capacity: int) -> None:
        self.path = path
        self.file = file
        self.capacity = capacity

    @property
    def fits(self) -> int:
        """Payload bytes of the largest frame that may be its first."""
        return self.capacity - HEAD_FRAME_BYTES - OVERHEAD_BYTES


class Log:
    """The writing end of the log. One thread commits; one thread at a time syncs."""

    _current: LogFile
    _end: int
    _fits: int

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        options: StoreOptions,
        health: Health,
        *,
        epoch: int,
        head: Head,
        spares: Iterable[Spare],
        older: Iterable[LogFile],
        discard: Callable[[str], None],
    ) -> None:
        """Begin the epoch's first file, durably. ``head`` says where the log before it ends.

        ``discard`` is told of files that are to be removed when there is time for it.
        """
        self._fs = fs
        self._directory = directory
        self._options = options
        self._health = health
        self.epoch = epoch
        self.written_lsn = head.predecessor_last_lsn
        self.synced_lsn = head.predecessor_last_lsn
        self.log_room = 0
        self._discard = discard
        self._older: list[LogFile] = list(older)
        self._spares: list[Spare] = list(spares)
        self._spares_lock = threading.Lock()
        self._spare_fits = 0
        self._spare_numbers = itertools.count(head.number)
        self._sync_lock = threading.Lock()
        self._compressed_bytes_min = options.log_compressed_bytes_min or 1 << 62
        self._compressor = zstandard.ZstdCompressor(level=options.compression_level)
        self._directory_dirty = False
        self._spare_refused = False
        self._held = False
        self._floor_places: dict[int, tuple[int, int]] = {}  # file and offset behind a floor
        self._next_bytes = options.log_file_bytes_min
        self.frames = 0
        self.bytes_written = 0
        self.syncs = 0
        self.sync_times = SyncTimes()
        self._count_spares()
        self._begin_file(head, self._take_spare(0) or self._reserve(self._next_bytes))
        self._sync_everything()

    # -- writing --------------------------------------------------------------------------------

    def commit(self, payload: Bytes, count: int) -> int:
        """Append one frame of ``count`` records, not synced; returns the last one's position."""
        if self._health.failure is not None:
            self._health.check()
        size = len(payload)
        if size > self._fits:
            if count == 0 and self._end + HEADER_BYTES > self._current.capacity:
                return self.written_lsn  # a marker is worth no new file
            if count > 0:
                self._rotate(size)
        first = self.written_lsn + 1
        flags = 0
        raw_size = size
        if size >= self._compressed_bytes_min:
            packed = self._compressor.compress(payload)
            if len(packed) < size:
                flags, payload, size = ZSTD, packed, len(packed)
        header = self._pack(
            LOG_MAGIC,
            self._low_number,
            VERSION,
            flags,
            self._low_epoch,
            size,
            raw_size,
            count,
            first,
            self.synced_lsn,
        )
        digest = xxh3_64_intdigest(header, xxh3_64_intdigest(payload, self._seed))
        end = self._end
        try:
            self._pwritev((header + digest.to_bytes(8, "little"), payload), end)
        except OSError as error:
            raise self._health.fail(error, f"write to {self._current.path}") from error
        end += HEADER_BYTES + size
        self._end = end
        self._fits = fits = self._current.capacity - OVERHEAD_BYTES - end
        if fits < self._spare_fits:
            fits = self._spare_fits
        room = fits - self._reserve_bytes
        self.log_room = room if room > 0 else 0
        self.frames += 1
        self.bytes_written += HEADER_BYTES + size
        self.written_lsn = first + count - 1
        return self.written_lsn

    def sync(self) -> None:
        """Make everything written so far durable."""
        self._health.check()
        with self._sync_lock:
            if self.written_lsn != self.synced_lsn or self._directory_dirty:
                self._sync_everything()

    def close(self) -> None:
        """End cleanly: sync, then a marker that claims it, so that damage is told from a tear."""
        with self._sync_lock:
            if self._health.failure is None:
                self._sync_everything()
                self.commit(b"", 0)
                self._sync_everything()
        self.abandon()

    def abandon(self) -> None:
        """Give the descriptors back and nothing else."""
        for old in [*self._older, self._current]:
            old.file.close()
        for spare in self._spares:
            spare.file.close()

    @property
    def file_count(self) -> int:
        """Files of the log and spares."""
        return len(self._older) + 1 + len(self._spares)

    @property
    def bytes_on_disk(self) -> int:
        """What these files occupy."""
        return sum([file.capacity for file in [*self._older, self._current]]) + sum(
            [spare.capacity for spare in self._spares]
        )

    # -- room -----------------------------------------------------------------------------------

    def make_room(self, size: int, *, frees_space: bool) -> None:
        """See to it that a frame of ``size`` payload bytes can be committed, or ``DiskFull``."""
        self._health.check()
        if size <= self.log_room:
            return
        options = self._options
        wanted = size + options.log_reserve_bytes + HEAD_FRAME_BYTES + OVERHEAD_BYTES
        wanted = max(wanted, min(self._next_bytes, options.log_file_bytes_inline))
        try:
            self._add_spare(self._reserve(-(-wanted // PAGE_BYTES) * PAGE_BYTES))
        except DiskFull:
            if frees_space and size <= max(self._fits, self._spare_fits):
                return
            raise

    @property
    def spare_wanted(self) -> bool:
        """Should ``prepare_spare`` be called? True when the next rotation would have to wait."""
        if self._spare_refused:
            return False
        return not any(spare.capacity >= self._next_bytes for spare in self._spares)

    def prepare_spare(self) -> bool:
        """Reserve the next file. Meant for a thread; says whether there was room.

        If there was none, no spare is wanted until something was released or a file begun.
        """
        self._health.check()
        if not self.spare_wanted:
            return not self._spare_refused
        try:
            self._add_spare(self._reserve(self._next_bytes))
        except DiskFull:
            self._spare_refused = True
            return False
        if len(self._spares) > self._options.log_spares_max:
            self._drop_spare(min(self._spares, key=lambda spare: spare.capacity))
        return True

    def release(self, floor_lsn: int) -> None:
        """Recycle or discard the files whose records are all at or below ``floor_lsn``."""
        self._spare_refused = False
        for lsn in [lsn for lsn in self._floor_places if lsn < floor_lsn]:
            del self._floor_places[lsn]
        while self._older and not self._held:
            old = self._older[0]
            after = self._older[1] if len(self._older) > 1 else self._current
            if old.last_lsn > floor_lsn or not old.synced or not after.head_synced:
                return
            del self._older[0]
            try:
                self._recycle(old)
            except OSError as error:
                raise self._health.fail(error, f"release of {old.path}") from error

    def note_floor(self, floor_lsn: int) -> None:
        """A flush begins after which ``floor_lsn``, the last record, is the floor."""
        if floor_lsn == self.written_lsn:
            self._floor_places[floor_lsn] = self._current.number, self._end

    def hold(self, floor_lsn: int) -> list[LogPart]:
        """The parts of files that hold the records above ``floor_lsn``, oldest first.

        They stay as they are until ``let_go``: nothing is released.
        """
        self._held = True
        self._current.end = self._end
        held = [old for old in self._older if old.last_lsn > floor_lsn]
        number, start = self._floor_places.get(floor_lsn, (0, 0))
        if not held and number == self._current.number:
            return [LogPart(number, self._current.file, start, self._end)]
        return [LogPart(part.number, part.file, 0, part.end) for part in [*held, self._current]]

    def let_go(self) -> None:
        """What was held may be released, with the next ``release``."""
        self._held = False

    # -- inner parts ----------------------------------------------------------------------------

    def _begin_file(self, head: Head, spare: Spare) -> None:
        """Make ``spare`` the current file. Its name is durable only after the next sync."""
        path = live_path(self._directory, head.number)
        try:
            self._fs.rename(spare.path, path)
            write_head(spare.file, head, head.predecessor_last_lsn + 1, self.synced_lsn)
        except OSError as error:
            raise self._health.fail(error, f"begin of {path}") from error
        self._directory_dirty = True
        self._spare_refused = False
        self._current = LogFile(head.number, path, spare.file, spare.capacity)
        self._pwritev: Callable[[tuple[bytes, Bytes], int], None] = spare.file.pwritev
        self._pack = frame.HEADER.pack
        self._seed = frame.seed(head.epoch, head.number)
        self._low_number = head.number & LOW_32
        self._low_epoch = head.epoch & LOW_32
        self._reserve_bytes = self._options.log_reserve_bytes
        self._end = HEAD_FRAME_BYTES
        self._fits = spare.fits
        self._next_bytes = min(
            self._options.log_file_bytes_max, max(self._next_bytes, 2 * spare.capacity)
        )
        self._count_room()

    def _rotate(self, size: int) -> None:
        """Go on in another file, one in which a frame of ``size`` payload bytes fits."""
        spare = self._take_spare(size)
        if spare is None:
            self.make_room(size, frees_space=False)
            spare = self._take_spare(size)
            if spare is None:
                raise DiskFull(self._directory)
        old = self._current
        head = Head(self.epoch, old.number + 1, old.number, self.written_lsn, self._end)
        old.last_lsn = self.written_lsn
        old.end = self._end
        self._older.append(old)
        self._begin_file(head, spare)

    def _reserve(self, size: int) -> Spare:
        """A new file of ``size`` zeros."""
        if self._fs.free_bytes(self._directory) < size:
            raise DiskFull(self._directory)
        path = self._spare_name()
        try:
            return Spare(path, make_zeroed(self._fs, path, size), size)
        except OSError as error:
            if error.errno in FULL:
                raise DiskFull(path) from error
            raise self._health.fail(error, f"reserving {path}") from error

    def _spare_name(self) -> str:
        """A path that no spare has."""
        while True:
            path = spare_path(self._directory, next(self._spare_numbers))
            if not self._fs.exists(path):
                return path

    def _add_spare(self, spare: Spare) -> None:
        with self._spares_lock:
            self._spares.append(spare)
            self._count_spares()
        self._count_room()

    def _take_spare(self, size: int) -> Spare | None:
        """The largest spare, if a frame of ``size`` payload bytes fits in it."""
        with self._spares_lock:
            spare = max(self._spares, key=lambda spare: spare.capacity, default=None)
            if spare is None or spare.fits < size:
                return None
            self._spares.remove(spare)
            self._count_spares()
            return spare

    def _drop_spare(self, spare: Spare) -> None:
        with self._spares_lock:
            if spare not in self._spares:
                return  # it was taken meanwhile
            self._spares.remove(spare)
            self._count_spares()
        spare.file.close()
        self._discard(spare.path)

    def _count_spares(self) -> None:
        self._spare_fits = max((spare.fits for spare in self._spares), default=0)

    def _count_room(self) -> None:
        self.log_room = max(0, max(self._fits, self._spare_fits) - self._reserve_bytes)

    def _recycle(self, old: LogFile) -> None:
        """Keep a file for a later rotation, unless it is small or the spares are larger."""
        file = old.file
        options = self._options
        smallest = min(self._spares, key=lambda spare: spare.capacity, default=None)
        full = smallest is not None and len(self._spares) >= options.log_spares_max
        least = min(self._next_bytes, options.log_file_bytes_inline)
        if full and smallest is not None:
            least = max(least, smallest.capacity + 1)
        if old.capacity < least:
            file.close()
            self._discard(old.path)
            return
        if full and smallest is not None:
            self._drop_spare(smallest)
        path = self._spare_name()
        self._fs.rename(old.path, path)
        self._add_spare(Spare(path, file, old.capacity))

    def _sync_everything(self) -> None:
        """Sync what was written when this was called. REQUIRES: no other sync is under way."""
        target = self.written_lsn
        current = self._current  # before the older ones: a rotation must not slip between
        older = [old for old in self._older if not old.synced]
        started = time.perf_counter_ns()
        path = self._directory
        try:
            if self._directory_dirty:
                self._directory_dirty = False
                self._fs.fsync_dir(path)
            for old in [*older, current]:
                path = old.path
                old.file.fdatasync()
                self.syncs += 1
        except OSError as error:
            raise self._health.fail(error, f"sync of {path}") from error
        for old in older:
            old.synced = old.head_synced = True
        current.head_synced = True
        self.synced_lsn = max(self.synced_lsn, target)
        self.sync_times.add(time.perf_counter_ns() - started)
