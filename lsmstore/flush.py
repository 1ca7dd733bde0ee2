"""A flush: what the memtable holds goes into one segment and one row file, and the floor moves.

    begin_flush, add_run, add_row, add_marks    on the loop, in slices
    write                                       on a thread
    install                                     on the loop

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
5. Marks say which positions of a stream are dead (lsmstore/marks.py), holes how many entries among
   living ones are. What that leaves of a segment decides when it is dropped or merged
   (lsmstore/compaction.py).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from lsmstore.block import Block, Run
from lsmstore.dictfile import dictionary_path, write_dictionary
from lsmstore.errors import DiskFull
from lsmstore.files import Files, row_path, segment_path
from lsmstore.marks import GONE, Marks, dead_entries, is_alive
from lsmstore.rowfile import Row, RowFile, write_row_file
from lsmstore.segment import PlannedRun, Segment, write_segment
from lsmstore.version import Edit

WASTE_STEPS: Final = 16  # waste is noted when it has changed by such a part of the run
SORT_ROWS: Final = 1024  # sorted by one call, which the event loop has to wait for


def _ascending(unsorted: dict[bytes, bytes | None]) -> Iterator[Row]:
    """Rows in the order of their keys; sorting all in one call would hold the event loop up."""
    keys = list(unsorted)
    parts: list[list[bytes]] = []
    for start in range(0, len(keys), SORT_ROWS):
        parts.append(sorted(keys[start : start + SORT_ROWS]))
        time.sleep(0)
    for key in heapq.merge(*parts):
        yield key, unsorted[key]


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
        self.edit = Edit()
        self.dropped: list[int] = []
        self.bytes_written = 0
        self._runs: dict[int, PlannedRun] = {}
        self._rows: dict[bytes, bytes | None] = {}
        self._dictionaries: list[str] = []
        self._marks: dict[int, Marks] = {}
        self._holes: dict[tuple[int, int], int] = {}
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

    def add_marks(self, sid: int, marks: Marks) -> None:
        """What of the stream is dead."""
        self._marks[sid] = marks

    def add_holes(self, sid: int, segment: int, count: int) -> None:
        """So many entries of a stream in a segment are dead that are not below its marks.

        ``add_marks`` was called for the stream.
        """
        self._holes[sid, segment] = self._holes.get((sid, segment), 0) + count

    def run(self, sid: int) -> Run | None:
        """What of a stream was written. REQUIRES: installed."""
        runs = [] if self.segment is None or sid not in self._runs else self.segment.runs(sid)
        return runs[0] if runs else None

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
            *self._dictionaries,
        )
        self.segment = self.row_file = None
        for path in written:
            if files.fs.exists(path):
                try:
                    files.fs.unlink(path)
                except OSError as error:
                    raise files.health.fail(error, f"removal of {path}") from error
        self._ended()

    # -- inner parts ----------------------------------------------------------------------------

    def _write_segment(self) -> None:
        if not self._runs:
            return
        files = self._files
        number = self._numbers[0]
        path = segment_path(files.directory, number)
        meta = write_segment(
            files.fs,
            path,
            number,
            self._interval,
            self._runs,
            files.options,
            files.health,
            files.chooser,
        )
        for dictionary, content in files.chooser.fresh.items():
            write_dictionary(files.fs, files.directory, dictionary, content, files.health)
            self._dictionaries.append(dictionary_path(files.directory, dictionary))
            self.edit.dictionary(dictionary, content)
        self.segment = Segment(files.fs, path, number, files.version.dictionaries, files.cache)
        self.edit.add_segment(meta)
        self.bytes_written += meta.bytes

    def _write_rows(self) -> None:
        if not self._rows:
            return
        files = self._files
        number = self._numbers[1]
        path = row_path(files.directory, number)
        rows = _ascending(self._rows)
        if not files.row_files:
            rows = ((key, value) for key, value in rows if value is not None)
        meta = write_row_file(
            files.fs, path, number, number, self._interval, rows, files.options, files.health
        )
        if meta is not None:
            self.row_file = RowFile(files.fs, path, number, files.version.dictionaries, files.cache)
            self.edit.add_rows(meta)
            self.bytes_written += meta.bytes

    def _find_dead(self) -> None:
        """Turn marks into streams that are dead in a segment, and segments that are dead."""
        files = self._files
        version = files.version
        newly_dead: dict[int, dict[int, int]] = {}
        for sid, marks in self._marks.items():
            if len(marks) == 1 and marks[0][1] < files.oldest_end.get(sid, 1):
                continue  # nothing more of it has died whole
            oldest_end = GONE
            for segment in files.holders(sid):
                if sid in version.dead.get(segment.number, ()):
                    continue
                runs = segment.runs(sid)
                if not runs:
                    continue
                if any(is_alive(marks, run) for run in runs):
                    oldest_end = min(oldest_end, runs[-1].end_pos)
                    continue
                size = int(segment.stored_share * sum([run.raw_bytes for run in runs]))
                newly_dead.setdefault(segment.number, {})[sid] = size
            files.note_oldest(sid, oldest_end)
            time.sleep(0)
        for number, sizes in newly_dead.items():
            dead = len(version.dead.get(number, ())) + len(sizes)
            if dead == files.segments[number].streams:
                self.edit.drop_segment(number)
                self.dropped.append(number)
            else:
                self.edit.dead(number, sum(sizes.values()), sizes)
        self._find_waste(newly_dead)

    def _find_waste(self, newly_dead: dict[int, dict[int, int]]) -> None:
        """Note what of large runs is dead, where that has changed by much."""
        version = self._files.version
        for number, meta in version.segments.items():
            if number in self.dropped:
                continue
            gone = version.dead.get(number, set()) | newly_dead.get(number, {}).keys()
            for run in meta.large:
                if run.sid not in self._marks or run.sid in gone:
                    continue
                runs = self._files.segments[number].runs(run.sid)
                dead = dead_entries(self._marks[run.sid], runs)
                dead += max(0, self._holes.get((run.sid, number), 0) - run.blanked)
                size = run.bytes * dead // sum([each.count for each in runs])
                known = version.waste.get(number, {}).get(run.sid, 0)
                if abs(size - known) * WASTE_STEPS > run.bytes:
                    self.edit.waste(number, run.sid, size)
                time.sleep(0)
