"""A store as it can be read: rows, runs and blocks of the files, and what the log has beyond them.

Rules of this file:

1. Nothing is ever written. ``StoreView.open`` shares the directory with others who only read, and
   keeps a process that would write (lsmstore/store.py) away as long as it is open.
2. A directory without ``LOCK`` was never opened to be written, as a checkpoint is; it needs none.
3. What is read is checked as it is read. Damage is ``Corruption``, with file and offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Self

from lsmstore import rows
from lsmstore.block import Block, Run
from lsmstore.cache import BlockCache
from lsmstore.errors import Corruption, Locked, translate
from lsmstore.files import Files
from lsmstore.fs import File, FileSystem
from lsmstore.health import Health
from lsmstore.manifest import CURRENT, read_current, read_manifest
from lsmstore.options import StoreOptions
from lsmstore.recovery import LogReader
from lsmstore.segment import Segment
from lsmstore.version import Version

LOCK: Final = "LOCK"


def _first_pos(run: Run) -> int:
    return run.first_pos


class StoreView:
    """An open store, as far as it is read. Made by ``open``."""

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        options: StoreOptions,
        lock: File | None,
        version: Version,
        manifest_number: int,
    ) -> None:
        self.path = path
        self.options = options
        self._fs = fs
        self._lock = lock
        self._wal_directory = f"{path}/wal"
        self._seg_directory = f"{path}/seg"
        self._health = Health()
        self._version = version
        self._manifest_number = manifest_number
        self.replayed_frames = 0
        self.replayed_bytes = 0
        self.replayed_percent = 0  # of the log
        self._files = Files(
            fs,
            self._seg_directory,
            options,
            self._health,
            version,
            BlockCache(options.block_cache_bytes),
            next_file=version.next_file,
        )

    @classmethod
    def open(cls, fs: FileSystem, path: str, options: StoreOptions | None = None) -> Self:
        """Open a directory, a checkpoint for example, to read it."""
        path = path.rstrip("/")
        lock: File | None = None
        try:
            lock = lock_to_read(fs, path)
            number = read_current(fs, path)
            if number is None:
                raise Corruption(f"{path}/{CURRENT}", 0, "there is no store here, or it is missing")
            version = read_manifest(fs, path, number)
            view = cls(fs, path, options or StoreOptions(), lock, version, number)
            view._open_files()
        except BaseException as error:
            if lock is not None:
                lock.close()
            if isinstance(error, OSError):
                raise translate(error, path) from error
            raise
        return view

    def _open_files(self) -> None:
        files = self._files
        for meta in self._version.segments.values():
            segment = files.open_segment(meta.number)
            if segment.size != meta.bytes:
                raise Corruption(
                    segment.path, segment.size, f"the manifest says {meta.bytes} bytes"
                )
            files.segments[meta.number] = segment
        for row_meta in self._version.rows_newest_first():
            rowfile = files.open_rows(row_meta.number)
            if rowfile.size != row_meta.bytes:
                raise Corruption(
                    rowfile.path, rowfile.size, f"the manifest says {row_meta.bytes} bytes"
                )
            files.row_files.append(rowfile)
        files.changed()

    def close(self) -> None:
        """Give everything back."""
        self._close_files()
        if self._lock is not None:
            self._lock.close()

    def _close_files(self) -> None:
        files = self._files
        files.segments.clear()
        files.row_files.clear()
        files.changed()
        while files.unread:
            files.unread.popleft().close()

    # -- reading --------------------------------------------------------------------------------

    @property
    def fs(self) -> FileSystem:
        """Where the store is."""
        return self._fs

    @property
    def version(self) -> Version:
        """What the store consists of; not to be changed."""
        return self._version

    @property
    def files(self) -> Files:
        """The open files; not to be changed."""
        return self._files

    @property
    def floor_lsn(self) -> int:
        """Records up to here are contained in segments and row files."""
        return self._version.floor_lsn

    def get_row(self, key: bytes) -> bytes | None:
        """The value of a row as of the last flush."""
        return rows.get(self._files.row_files, key)

    def scan_rows(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Rows with start <= key < end as of the last flush, ascending."""
        return rows.scan(tuple(self._files.row_files), start, end)

    def runs(self, sid: int) -> list[Run]:
        """The block indexes of a stream, ascending by position."""
        found: list[Run] = []
        dead = self._version.dead
        for segment in self._files.holders(sid):
            if sid not in dead.get(segment.number, ()):
                found += segment.runs(sid)
        return sorted(found, key=_first_pos)

    def read_block(self, run: Run, index: int) -> Block:
        """A block from the disk. May run on a thread."""
        segment: Segment = run.segment
        return segment.block(run, index)

    # -- the log --------------------------------------------------------------------------------

    def replay(self) -> Iterator[tuple[int, bytes]]:
        """(first position, payload) of each frame that holds a record above the floor.

        The first one may begin at or below the floor.
        """
        yield from self._frames(self._log_reader())

    def _log_reader(self) -> LogReader:
        return LogReader(
            self._fs,
            self._wal_directory,
            floor_lsn=self._version.floor_lsn,
            epoch=self._version.epoch,
            epoch_file=self._version.epoch_file,
            dictionaries=self._version.dictionaries,
        )

    def _frames(self, reader: LogReader) -> Iterator[tuple[int, bytes]]:
        try:
            for first_lsn, payload in reader.frames():
                self.replayed_frames += 1
                self.replayed_bytes += len(payload)
                self.replayed_percent = reader.percent
                yield first_lsn, payload
        except OSError as error:
            raise translate(error, self.path) from error


def lock_to_read(fs: FileSystem, path: str) -> File | None:
    """Keep those away who would write to a directory; ``Locked`` if somebody does already."""
    lock = f"{path}/{LOCK}"
    if not fs.exists(lock):
        return None
    try:
        return fs.lock(lock, shared=True)
    except BlockingIOError:
        raise Locked(path) from None
