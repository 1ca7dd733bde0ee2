"""A flush: what the memtable holds goes into one segment and one row file, and the floor moves.

    begin_flush, add_run, add_row, add_mark    on the loop, in slices
    write                                      on a thread
    install                                    on the loop

Rules of this file:

1. ``write`` touches nothing that the loop reads: it makes files that nothing names. ``install``
   names them, in one durable edit of the manifest, and only then are old log files released and
   old row files removed.
2. A full disk in ``write`` or ``install`` leaves no file and no change behind; the same state can
   be flushed again.
3. The thread spends its time in calls that leave the interpreter free (zstd, pwritev, fdatasync);
   what is Python between them gives way every fraction of a millisecond.
4. What is added may already hold effects of records above the floor (each stream is written as it
   is when its turn comes). So the log is synced before anything names the files: a crash must not
   keep a part of a record's effects and lose the record.
5. A mark says which positions of a stream are dead. A segment in which nothing is alive is dropped
   whole.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from lsmstore import rows
from lsmstore.block import Block
from lsmstore.cache import BlockCache
from lsmstore.errors import DiskFull
from lsmstore.fs import FileSystem
from lsmstore.health import Health
from lsmstore.options import StoreOptions
from lsmstore.rowfile import Row, RowFile, write_row_file
from lsmstore.segment import PlannedRun, Segment, write_segment
from lsmstore.version import Edit, Version

GONE: Final = 0xFFFFFFFFFFFFFFFF
"""The mark of a stream that was deleted: all its positions are dead."""

MARKS_MAX: Final = 1 << 16
SORT_ROWS: Final = 1024  # sorted by one call, which the event loop has to wait for


def segment_path(directory: str, number: int) -> str:
    return f"{directory}/{number:08d}.seg"


def row_path(directory: str, number: int) -> str:
    return f"{directory}/{number:08d}.row"


def _ascending(unsorted: dict[bytes, bytes | None]) -> Iterator[Row]:
    """Rows in the order of their keys; sorting all in one call would hold the event loop up."""
    keys = list(unsorted)
    parts: list[list[bytes]] = []
    for start in range(0, len(keys), SORT_ROWS):
        parts.append(sorted(keys[start : start + SORT_ROWS]))
        time.sleep(0)
    for key in heapq.merge(*parts):
        yield key, unsorted[key]


@dataclass
class Files:
    """What the store reads from: shared by store and flush, changed on the loop only."""

    fs: FileSystem
    directory: str
    options: StoreOptions
    health: Health
    version: Version
    cache: BlockCache
    segments: dict[int, Segment] = field(default_factory=dict)
    row_files: list[RowFile] = field(default_factory=list)  # newest first
    next_file: int = 1
    obsolete: list[str] = field(default_factory=list)
    """Files that nothing names any more, to be removed where it holds nobody up."""
    marked_upto: dict[int, int] = field(default_factory=dict)
    """By sid: nothing of the stream is alive in segments up to this one."""

    def remove_obsolete(self) -> None:
        """Remove what nothing names any more. Freeing a large file takes the disk some time."""
        while self.obsolete:
            path = self.obsolete.pop()
            try:
                self.fs.unlink(path)
            except OSError as error:
                raise self.health.fail(error, f"removal of {path}") from error

    def take_number(self) -> int:
        """A file number that was never used."""
        number = self.next_file
        self.next_file += 1
        return number


class Flush:
    """One flush. There is at most one at a time."""

    def __init__(
        self,
        files: Files,
        floor_lsn: int,
        sync_log: Callable[[], None],
        install: Callable[[Flush], None],
        ended: Callable[[], None],
    ) -> None:
        self._files = files
        self._sync_log = sync_log
        self._install = install
        self._ended = ended
        self.floor_lsn = floor_lsn
        self.segment: Segment | None = None
        self.row_file: RowFile | None = None
        self.merged: list[RowFile] = []
        self.edit = Edit()
        self.dropped: list[int] = []
        self.bytes_written = 0
        self._runs: dict[int, PlannedRun] = {}
        self._rows: dict[bytes, bytes | None] = {}
        self._rows_bytes = 0
        self._marks: dict[int, int] = {}
        self._marked_upto: dict[int, int] = {}
        self._numbers = (files.take_number(), files.take_number())
        self._interval = (files.version.floor_lsn, floor_lsn)

    def add_run(self, sid: int, blocks: Sequence[Block], node_positions: Sequence[int]) -> None:
        """Sealed blocks of a stream, ascending; a later call goes on from the earlier one."""
        known = self._runs.get(sid)
        if known is None:
            self._runs[sid] = (list(blocks), list(node_positions))
        else:
            known[0].extend(blocks)
            known[1].extend(node_positions)

    def add_row(self, key: bytes, value: bytes | None) -> None:
        """The state of a row as of the floor; None deletes it."""
        self._rows[key] = value
        self._rows_bytes += len(key) + len(value or b"")

    def add_mark(self, sid: int, low_water: int) -> None:
        """Positions of the stream below ``low_water`` are dead; ``GONE`` for all of them."""
        self._marks[sid] = low_water

    def write(self) -> None:
        """Write the files. Blocking; meant for a thread."""
        files = self._files
        files.health.check()
        try:
            self._write_segment()
            self._write_rows()
        except DiskFull:
            self.abort()
            raise
        if self.segment is not None or self.row_file is not None:
            try:
                files.fs.fsync_dir(files.directory)
            except OSError as error:
                raise files.health.fail(error, f"sync of {files.directory}") from error
        self._sync_log()
        self._find_dead()
        self.edit.floor(*self._interval)
        self.edit.next_file(files.next_file)

    def install(self) -> None:
        """Make the store see what was written, durably. On the loop."""
        try:
            self._install(self)
        except DiskFull:
            self.abort()
            raise
        self._ended()

    def abort(self) -> None:
        """Remove what was written; the store stays as it is."""
        files = self._files
        written = (
            segment_path(files.directory, self._numbers[0]),
            row_path(files.directory, self._numbers[1]),
        )
        self.segment = self.row_file = None
        for path in written:
            if files.fs.exists(path):
                try:
                    files.fs.unlink(path)
                except OSError as error:
                    raise files.health.fail(error, f"removal of {path}") from error
        self._ended()

    def remember_marks(self) -> None:
        """After install: the next flush need not look at these segments again."""
        marked = self._files.marked_upto
        if len(marked) > MARKS_MAX:
            marked.clear()
        marked.update(self._marked_upto)

    # -- inner parts ----------------------------------------------------------------------------

    def _write_segment(self) -> None:
        if not self._runs:
            return
        files = self._files
        number = self._numbers[0]
        path = segment_path(files.directory, number)
        meta = write_segment(
            files.fs, path, number, self._interval, self._runs, files.options, files.health
        )
        self.segment = Segment(files.fs, path, number, files.version.dictionaries, files.cache)
        self.edit.add_segment(meta)
        self.bytes_written += meta.bytes

    def _write_rows(self) -> None:
        if not self._rows:
            return
        files = self._files
        number = self._numbers[1]
        path = row_path(files.directory, number)
        sizes = [file.size for file in files.row_files]
        taken = rows.choose_merge(sizes, self._rows_bytes, files.options.row_files_max)
        self.merged = files.row_files[:taken]
        keep_tombstones = taken < len(files.row_files)
        sources: list[Iterable[Row]] = [_ascending(self._rows)]
        sources += [file.scan(b"", None, cached=False) for file in self.merged]
        after_lsn = min(
            [files.version.row_files[file.number].after_lsn for file in self.merged],
            default=self._interval[0],
        )
        interval = (after_lsn, self._interval[1])
        meta = write_row_file(
            files.fs,
            path,
            number,
            number,
            interval,
            rows.merge(sources, keep_tombstones=keep_tombstones),
            files.options,
            files.health,
        )
        for file in self.merged:
            self.edit.drop_rows(file.number)
        if meta is not None:
            self.row_file = RowFile(files.fs, path, number, files.version.dictionaries, files.cache)
            self.edit.add_rows(meta)
            self.bytes_written += meta.bytes

    def _find_dead(self) -> None:
        """Turn marks into streams that are dead in a segment, and segments that are dead."""
        files = self._files
        newly_dead: dict[int, list[int]] = {}
        for sid, low_water in self._marks.items():
            known = files.marked_upto.get(sid, 0)
            for number in sorted(files.segments):
                if number <= known:
                    continue
                run = files.segments[number].run(sid)
                if run is not None and run.end_pos > low_water:
                    break
                if run is not None and sid not in files.version.dead.get(number, ()):
                    newly_dead.setdefault(number, []).append(sid)
                known = number
            if low_water != GONE:
                self._marked_upto[sid] = known
            time.sleep(0)
        for number, sids in newly_dead.items():
            dead = len(files.version.dead.get(number, ())) + len(sids)
            if dead == files.segments[number].streams:
                self.edit.drop_segment(number)
                self.dropped.append(number)
            else:
                self.edit.dead(number, sids)
