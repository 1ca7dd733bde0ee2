"""The door to the store: open, replay, commit, sync, read, flush, close.

    <path>/LOCK             held by flock while the store is open
    <path>/CURRENT          which manifest counts
    <path>/MANIFEST-<n>     what the store consists of            lsmstore/manifest.py
    <path>/wal/             the log                               lsmstore/wal.py, recovery.py
    <path>/seg/<n>.seg      blocks of streams                     lsmstore/segment.py
    <path>/seg/<n>.row      state rows                            lsmstore/rowfile.py
    <path>/seg/<n>.dict     dictionaries, a second time           lsmstore/dictfile.py
    <path>/checkpoints/     copies                                lsmstore/checkpoint.py

Rules of this file:

1. One thread, the loop, calls everything; ``sync``, ``Flush.write``, ``prepare_spare`` and
   ``read_block`` may each run on another thread beside it.
2. Nothing is written before the log was replayed to its end: until then a store that is opened and
   dropped again is the store it was. Then what was replayed is made durable, a new epoch begins,
   and files that nothing names are removed.
3. ``DiskFull`` leaves everything as it was. Any other failure of a write or a sync poisons the
   store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from lsmstore.checkpoint import Checkpoint
from lsmstore.compaction import Choice, Kind, choose, debt_bytes
from lsmstore.compactor import Compaction
from lsmstore.dictfile import dictionary_path
from lsmstore.errors import Corruption, DiskFull, Locked, StorageError, translate
from lsmstore.files import row_path, segment_path
from lsmstore.flush import Flush
from lsmstore.fs import Bytes, File, FileSystem
from lsmstore.health import Health
from lsmstore.logfile import FILL_SUFFIX, SPARE_SUFFIX, Head, live_path, numbers, spare_path
from lsmstore.manifest import (
    CURRENT,
    CURRENT_NEW,
    PREFIX,
    Manifest,
    manifest_name,
    read_current,
    read_manifest,
)
from lsmstore.options import StoreOptions
from lsmstore.recovery import LogReader
from lsmstore.version import Edit, Version
from lsmstore.view import LOCK, StoreView
from lsmstore.wal import Log, LogFile, Spare


class Store(StoreView):
    """An open store. Made by ``Store.open``."""

    _log: Log
    _manifest: Manifest
    _lock: File

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        options: StoreOptions,
        lock: File | None,
        version: Version,
        manifest_number: int,
    ) -> None:
        super().__init__(fs, path, options, lock, version, manifest_number)
        self._flush: Flush | None = None
        self._replayed = False
        self.flushes = 0
        self.flush_bytes = 0
        self._compaction: Compaction | None = None
        self.compactions = dict.fromkeys(Kind, 0)
        self.compaction_read_bytes = 0
        self.compaction_written_bytes = 0
        self.compaction_memory_bytes = 0
        self._checkpoint: Checkpoint | None = None
        self.checkpoints = 0
        self.checkpoint_bytes = 0

    # -- opening and closing --------------------------------------------------------------------

    @classmethod
    def open(cls, fs: FileSystem, path: str, options: StoreOptions | None = None) -> Self:
        """Open the directory ``path``, making it if need be. ``replay`` must be exhausted next."""
        path = path.rstrip("/")
        try:
            fs.mkdir(path)
            try:
                lock = fs.lock(f"{path}/{LOCK}")
            except BlockingIOError:
                raise Locked(path) from None
            try:
                return cls._open(fs, path, options or StoreOptions(), lock)
            except BaseException:
                lock.close()
                raise
        except OSError as error:
            raise translate(error, path) from error

    @classmethod
    def _open(cls, fs: FileSystem, path: str, options: StoreOptions, lock: File) -> Self:
        fs.mkdir(f"{path}/wal")
        fs.mkdir(f"{path}/seg")
        number = read_current(fs, path)
        if number is None:
            if fs.listdir(f"{path}/wal") or fs.listdir(f"{path}/seg"):
                raise Corruption(f"{path}/{CURRENT}", 0, "it is missing, though there is data")
            number = 1
            Manifest(fs, path, number, Version(), Health()).close()
        store = cls(fs, path, options, lock, read_manifest(fs, path, number), number)
        store._open_files()
        return store

    def replay(self) -> Iterator[tuple[int, bytes]]:
        """(first position, payload) of each frame that holds a record above the floor.

        The first one may begin at or below the floor. When this is exhausted, what was read is
        durable and the store takes commits.
        """
        reader = self._log_reader()
        try:
            yield from self._frames(reader)
            reader.sync()
            self._begin_epoch(reader)
        except StorageError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise translate(error, self.path) from error

    def _begin_epoch(self, reader: LogReader) -> None:
        """Begin the log of a new epoch and the manifest that knows it; then tidy up."""
        version = self._version
        numbers_seen = reader.numbers_seen
        head = Head(
            epoch=reader.epoch_seen + 1,
            number=max([0, version.epoch_file, *numbers_seen]) + 1,
            predecessor=reader.chain[-1].number if reader.chain else 0,
            predecessor_last_lsn=max(reader.last_lsn, version.floor_lsn),
            predecessor_bytes=reader.end_offset,
        )
        self._log = Log(
            self._fs,
            self._wal_directory,
            self.options,
            self._health,
            epoch=head.epoch,
            head=head,
            spares=self._find_spares(),
            older=self._older_files(reader),
            discard=self._files.obsolete.append,
        )
        version.epoch, version.epoch_file = head.epoch, head.number
        number = self._manifest_number + 1
        self._manifest = Manifest(self._fs, self.path, number, version, self._health)
        self._replayed = True
        self._remove_leftovers()
        self._log.release(version.floor_lsn)
        self._files.tidy(len(self._files.obsolete))

    def _find_spares(self) -> list[Spare]:
        """Whole spares of a useful size; other files that wait for use are removed."""
        spares: list[Spare] = []
        names = self._fs.listdir(self._wal_directory)
        for name in names:
            if name.endswith(FILL_SUFFIX):
                self._fs.unlink(f"{self._wal_directory}/{name}")
        for number in numbers(names, SPARE_SUFFIX):
            path = spare_path(self._wal_directory, number)
            file = self._fs.open(path, write=True)
            size = file.size()
            if size < self.options.log_file_bytes_min or len(spares) >= self.options.log_spares_max:
                file.close()
                self._fs.unlink(path)
            else:
                spares.append(Spare(path, file, size))
        return spares

    def _older_files(self, reader: LogReader) -> list[LogFile]:
        """The log files there are, with the floor at which each may be released."""
        last_lsn = {head.number: head.predecessor_last_lsn for head in reader.chain[1:]}
        ends = {
            head.number: last_lsn[after.number]
            for head, after in zip(reader.chain, reader.chain[1:], strict=False)
        }
        first = reader.chain[0].number if reader.chain else 0
        older: list[LogFile] = []
        for number in reader.numbers_seen:
            path = live_path(self._wal_directory, number)
            file = self._fs.open(path, write=True)
            old = LogFile(number, path, file, file.size())
            old.last_lsn = 0 if number < first else ends.get(number, reader.last_lsn)
            old.synced = old.head_synced = True
            older.append(old)
        return older

    def _remove_leftovers(self) -> None:
        """Remove what nothing names: files of flushes not installed, older manifests."""
        kept = {manifest_name(self._manifest.number)}
        for name in self._fs.listdir(self.path):
            if (name.startswith(PREFIX) and name not in kept) or name == CURRENT_NEW:
                self._fs.unlink(f"{self.path}/{name}")
        named = {segment_path(self._seg_directory, number) for number in self._version.segments}
        named |= {row_path(self._seg_directory, number) for number in self._version.row_files}
        named |= {
            dictionary_path(self._seg_directory, number) for number in self._version.dictionaries
        }
        for name in self._fs.listdir(self._seg_directory):
            path = f"{self._seg_directory}/{name}"
            if path not in named:
                with contextlib.suppress(IsADirectoryError):  # not ours
                    self._fs.unlink(path)

    def close(self) -> None:
        """End cleanly: the log synced and marked. A store that failed only gives its files back."""
        try:
            if self._replayed:
                self._log.close()
                self._manifest.close()
                if self._health.failure is None:
                    if self._compaction is not None:
                        self._compaction.abandon()
                    self._files.tidy(len(self._files.obsolete))
        finally:
            if self._replayed:
                self._log.abandon()
                self._manifest.abandon()
            self._compaction = None
            super().close()

    # -- the log --------------------------------------------------------------------------------

    @property
    def next_lsn(self) -> int:
        """The position the next record gets."""
        return self._log.written_lsn + 1

    @property
    def written_lsn(self) -> int:
        return self._log.written_lsn

    @property
    def synced_lsn(self) -> int:
        return self._log.synced_lsn

    @property
    def epoch(self) -> int:
        return self._log.epoch

    @property
    def log_room(self) -> int:
        """Payload bytes that the next frame may have without more space being reserved."""
        return self._log.log_room

    def commit(self, payload: Bytes, count: int) -> int:
        """Append ``count`` records as one frame, not synced; returns the position of the last.

        An empty payload with count 0 writes a marker, which makes it certain that what was synced
        before is recognised as such.
        """
        return self._log.commit(payload, count)

    def sync(self) -> None:
        """Make what is written durable. May run on a thread."""
        self._log.sync()

    def make_room(self, size: int, *, frees_space: bool = False) -> None:
        """Reserve room for a frame of ``size`` payload bytes in all; refusing changes nothing."""
        self._log.make_room(size, frees_space=frees_space)

    @property
    def spare_wanted(self) -> bool:
        """Whether ``prepare_spare`` should be called soon."""
        return self._log.spare_wanted or self._files.is_untidy

    @property
    def is_untidy(self) -> bool:
        """Whether files wait to be removed; ``prepare_spare`` removes a few."""
        return self._files.is_untidy

    def prepare_spare(self) -> bool:
        """Remove files that are no longer needed and reserve the next log file. For a thread."""
        self._files.tidy()
        return self._log.prepare_spare()

    # -- flushing -------------------------------------------------------------------------------

    def begin_flush(self, floor_lsn: int) -> Flush:
        """Begin a flush after which records up to ``floor_lsn`` are no longer needed."""
        self._health.check()
        if self._flush is not None:
            raise StorageError("a flush is under way")
        if not self._version.floor_lsn <= floor_lsn <= self._log.written_lsn:
            raise StorageError(
                f"floor {floor_lsn} is not between the old one and the end of the log"
            )
        self._log.note_floor(floor_lsn)
        self._flush = Flush(
            self._files, floor_lsn, self._log.sync, self._install, self._flush_ended
        )
        return self._flush

    def _flush_ended(self) -> None:
        self._flush = None

    def _install(self, flush: Flush) -> None:
        """Name the files of a flush in the manifest, then let go of what they replace."""
        files = self._files
        self._manifest.append(flush.edit)
        if flush.segment is not None:
            files.segments[flush.segment.number] = flush.segment
        if flush.row_file is not None:
            files.row_files.insert(0, flush.row_file)
        files.obsolete += [files.segments.pop(number).path for number in flush.dropped]
        files.changed()
        self.flushes += 1
        self.flush_bytes += flush.bytes_written
        self._log.release(flush.floor_lsn)
        self._roll_manifest()

    def _roll_manifest(self) -> None:
        if self._manifest.size > self.options.manifest_bytes_max:
            with contextlib.suppress(DiskFull):  # the longer one goes on serving
                self._manifest.roll()

    # -- compaction -----------------------------------------------------------------------------

    @property
    def is_flushing(self) -> bool:
        """Whether a flush has begun: a merge is not installed then."""
        return self._flush is not None

    def begin_compaction(
        self, cuts: Mapping[int, Sequence[int]] | None = None
    ) -> Compaction | None:
        """What is to be merged next, ready to run; None if there is nothing, or no room for it.

        Segments in which nothing is alive are dropped here and now. ``cuts``: by sid, positions at
        which runs must end (lsmstore/merge.py). REQUIRES: no flush is under way.
        """
        self._health.check()
        if self._compaction is not None or self._flush is not None:
            raise StorageError("a flush or a merge is under way")
        choice = choose(self._version, self.options)
        while choice is not None and choice.kind is Kind.DROP:
            self._drop(choice)
            choice = choose(self._version, self.options)
        if choice is None or not self._has_room(choice):
            return None
        self._compaction = Compaction(
            self._files, choice, cuts or {}, self._install_merge, self._compaction_ended
        )
        return self._compaction

    def _has_room(self, choice: Choice) -> bool:
        """Whether a merge leaves the log room: writers are not refused for what it holds twice."""
        wanted = debt_bytes(self._version, self.options)
        if choice.kind in {Kind.GRADUATE, Kind.JOIN}:  # the others are small, or give space back
            wanted += self.options.log_file_bytes_max
        return self._files.fs.free_bytes(self._files.directory) >= wanted

    def _compaction_ended(self) -> None:
        self._compaction = None

    def _drop(self, choice: Choice) -> None:
        edit = Edit()
        for number in choice.files:
            edit.drop_segment(number)
        self._manifest.append(edit)
        files = self._files
        files.obsolete += [files.segments.pop(number).path for number in choice.files]
        files.changed()
        self.compactions[Kind.DROP] += len(choice.files)

    def _install_merge(self, merge: Compaction) -> None:
        """Name the files of a merge in the manifest, then let go of what they replace."""
        if self._flush is not None:
            raise StorageError("a flush is under way")
        files, choice = self._files, merge.choice
        self._manifest.append(merge.edit)
        if choice.kind is Kind.ROWS:
            at = [file.number for file in files.row_files].index(choice.files[0])
            end = at + len(choice.files)
            files.obsolete += [file.path for file in files.row_files[at:end]]
            files.row_files[at:end] = [] if merge.row_file is None else [merge.row_file]
        else:
            for segment in merge.segments:
                files.segments[segment.number] = segment
            for number in choice.files:
                if number in files.segments and number not in self._version.segments:
                    files.obsolete.append(files.segments.pop(number).path)
            files.oldest_end.clear()
            files.changed()
        self.compactions[choice.kind] += 1
        self.compaction_memory_bytes = max(self.compaction_memory_bytes, merge.result.memory_bytes)
        self.compaction_read_bytes += merge.input_bytes
        self.compaction_written_bytes += merge.output_bytes
        self._roll_manifest()

    # -- checkpoints ----------------------------------------------------------------------------

    @property
    def checkpoint_directory(self) -> str:
        """Where checkpoints are that have a name and no place of their own."""
        return f"{self.path}/checkpoints"

    def begin_checkpoint(self, path: str) -> Checkpoint:
        """A copy of the store as it is after the last commit, to be written into ``path``."""
        self._health.check()
        if self._checkpoint is not None:
            raise StorageError("a checkpoint is under way")
        self._checkpoint = Checkpoint(self._files, self._log, path, self._checkpoint_ended)
        return self._checkpoint

    def _checkpoint_ended(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = None
        self.checkpoints += checkpoint.is_whole
        self.checkpoint_bytes += checkpoint.bytes_written
        self._log.release(self._version.floor_lsn)

    # -- looking at it --------------------------------------------------------------------------

    @property
    def bytes_written(self) -> int:
        """By the log, flushes, merges, manifests and checkpoints."""
        return (
            self._log.bytes_written
            + self.flush_bytes
            + self.compaction_written_bytes
            + self._manifest.bytes_written
            + self.checkpoint_bytes
        )

    def amplification(self) -> tuple[float, float]:
        """(bytes written for each byte of the log, bytes of segments for each that is alive)."""
        log_bytes = max(self._log.bytes_written, 1)
        stored = sum([meta.bytes for meta in self._version.segments.values()])
        garbage = sum(map(self._version.garbage_bytes, self._version.segments))
        return self.bytes_written / log_bytes, stored / max(stored - garbage, 1)

    def sync_histogram(self) -> list[tuple[int, int]]:
        """(microseconds, syncs that took no longer, and longer than the one before)."""
        return list(self._log.sync_times.counts())

    def stats(self) -> dict[str, int]:
        """Figures for INFO."""
        log, files, segments = self._log, self._files, self._version.segments
        return {
            "epoch": log.epoch,
            "floor_lsn": self._version.floor_lsn,
            "written_lsn": log.written_lsn,
            "synced_lsn": log.synced_lsn,
            "log_frames": log.frames,
            "log_bytes_written": log.bytes_written,
            "log_files": log.file_count,
            "log_bytes_on_disk": log.bytes_on_disk,
            "log_room": log.log_room,
            "log_syncs": log.syncs,
            "log_sync_us": log.sync_times.total_ns // 1000,
            "log_sync_p50_us": log.sync_times.percentile_us(50),
            "log_sync_p99_us": log.sync_times.percentile_us(99),
            "log_sync_max_us": log.sync_times.most_us,
            "replayed_frames": self.replayed_frames,
            "replayed_bytes": self.replayed_bytes,
            "flushes": self.flushes,
            "flush_bytes_written": self.flush_bytes,
            **{f"compactions_{kind.value}": n for kind, n in self.compactions.items()},
            "compaction_bytes_read": self.compaction_read_bytes,
            "compaction_bytes_written": self.compaction_written_bytes,
            "compaction_memory_bytes": self.compaction_memory_bytes,
            "compaction_debt_bytes": debt_bytes(self._version, self.options),
            "manifest_bytes_written": self._manifest.bytes_written,
            "checkpoints": self.checkpoints,
            "checkpoint_bytes_written": self.checkpoint_bytes,
            "bytes_written": self.bytes_written,
            "manifest_syncs": self._manifest.syncs,
            "dictionaries": len(self._version.dictionaries),
            "segments": len(files.segments),
            "segments_of_one_stream": len([meta for meta in segments.values() if meta.sid]),
            "segment_garbage_bytes": sum(map(self._version.garbage_bytes, segments)),
            "segment_bytes": sum([segment.size for segment in files.segments.values()]),
            "segment_entries": sum([segment.entries for segment in files.segments.values()]),
            "row_files": len(files.row_files),
            "row_bytes": sum([file.size for file in files.row_files]),
            "rows": sum([file.rows for file in files.row_files]),
            "index_bytes": sum([segment.index_bytes for segment in files.segments.values()])
            + sum([file.index_bytes for file in files.row_files]),
            "cache_bytes": files.cache.bytes_used,
            "cache_hits": files.cache.hits,
            "cache_misses": files.cache.misses,
        }
