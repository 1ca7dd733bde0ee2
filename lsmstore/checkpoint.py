"""A checkpoint: a directory that holds the store as it was at one moment, and is itself a store.

    begin     on the loop, between two commits: this is the moment
    write     on a thread, while commits, flushes and merges go on
    end       on the loop: what was held is let go

Segments and row files never change, so they are linked and take no room; where that cannot be (the
directory is on another filesystem) they are copied. Of the log what is above the floor is copied,
and a marker behind it says that all of it is durable. A manifest with the state of that moment
comes last, and CURRENT after it: a directory without CURRENT is no checkpoint.

Rules of this file:

1. A checkpoint goes into a directory that is new or empty. One that fails leaves nothing behind,
   and nothing of the store is changed by it, not even its health.
2. Files that are to be linked keep their names until ``end``, files of the log are not recycled.
3. When ``write`` returns, all of it is durable.
4. What rows have of effects above the floor is at or below the end of the log at that moment
   (lsmstore/flush.py), so the copied log completes them.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lsmstore.dictfile import OVERHEAD_BYTES, dictionary_path
from lsmstore.errors import DiskFull, InputOutputError, Poisoned, StorageError, translate
from lsmstore.files import Files, row_path, segment_path
from lsmstore.fs import File, FileSystem
from lsmstore.health import Health
from lsmstore.logfile import Head, head_frame, live_path, marker
from lsmstore.manifest import CURRENT, CURRENT_NEW, Manifest, manifest_name
from lsmstore.version import Version

if TYPE_CHECKING:
    from lsmstore.wal import Log

FIRST_MANIFEST: Final = 1
COPY_BYTES: Final = 1 << 20
NO_LINKS: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS})


class Refused(StorageError):
    """A checkpoint cannot go where it was asked to."""


def checkpoint_path(fs: FileSystem, store_path: str, name: str) -> str:
    """Where a checkpoint of that name goes: an absolute path, or one below ``checkpoints/``.

    Raises Refused where it may not go.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if not parts or "\0" in name:
        raise Refused("a checkpoint needs the name of a directory")
    if ".." in parts:
        raise Refused("the directory of a checkpoint must be named without '..'")
    inside = f"{store_path}/checkpoints"
    path = "/" + "/".join(parts) if name.startswith("/") else f"{inside}/{'/'.join(parts)}"
    if f"{path}/".startswith(f"{store_path}/") and not path.startswith(f"{inside}/"):
        raise Refused(f"{path} is within the data directory, and not below its checkpoints/")
    try:
        if fs.exists(path) and fs.listdir(path):
            raise Refused(f"{path} is not empty")
        above = os.path.dirname(path)
        while len(above) > 1 and above not in {inside, store_path}:
            if fs.exists(f"{above}/{CURRENT}"):
                raise Refused(f"{above}, which {path} is in, is a store itself")
            above = os.path.dirname(above)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}") from None
    return path


class Checkpoint:
    """One checkpoint. There is at most one at a time."""

    def __init__(
        self, files: Files, log: Log, path: str, ended: Callable[[Checkpoint], None]
    ) -> None:
        """``path``: as ``checkpoint_path`` gave it. REQUIRES: on the loop, between two commits."""
        self.path = path
        self.lsn = log.written_lsn
        """The last record that is part of it."""
        self.linked = 0
        self.copied = 0
        self.bytes_linked = 0
        self.bytes_written = 0
        self.is_whole = False
        self._files = files
        self._fs = files.fs
        self._log = log
        self._ended = ended
        self._version = Version()
        self._version.apply(bytes(files.version.snapshot().data))
        self._tail = log.hold(self._version.floor_lsn)
        self._sizes = {
            segment_path("", meta.number): meta.bytes for meta in self._version.segments.values()
        }
        for meta in self._version.row_files.values():
            self._sizes[row_path("", meta.number)] = meta.bytes
        for number, content in self._version.dictionaries.items():
            self._sizes[dictionary_path("", number)] = len(content) + OVERHEAD_BYTES
        self._made: list[str] = []
        self._directories: list[str] = []
        self._links = True
        files.held = frozenset([f"{files.directory}{name}" for name in self._sizes])

    def write(self) -> None:
        """Write all of it, durably. Blocking; meant for a thread.

        Raises StorageError, with nothing left behind.
        """
        try:
            self._make_directories()
            self._take_files()
            self._copy_log()
            self._write_manifest()
            self.is_whole = True
        except (StorageError, OSError) as error:
            self._remove()
            if isinstance(error, OSError):
                raise translate(error, self.path) from error
            if isinstance(error, Poisoned):  # the health of the checkpoint, not of the store
                raise InputOutputError(self.path, str(error)) from error
            raise

    def end(self) -> None:
        """Let go of what was held. On the loop, whether it was written or not."""
        self._files.held = frozenset()
        self._log.let_go()
        self._ended(self)

    # -- inner parts ----------------------------------------------------------------------------

    def _make_directories(self) -> None:
        missing: list[str] = []
        above = self.path
        while len(above) > 1 and not self._fs.exists(above):
            missing.append(above)
            above = os.path.dirname(above)
        for directory in [*reversed(missing), f"{self.path}/wal", f"{self.path}/seg"]:
            self._fs.mkdir(directory)
            self._directories.append(directory)

    def _take_files(self) -> None:
        """Link or copy the files that never change."""
        fs = self._fs
        for name, size in self._sizes.items():
            source, target = f"{self._files.directory}{name}", f"{self.path}/seg{name}"
            if self._links:
                try:
                    fs.link(source, target)
                except OSError as error:
                    if error.errno not in NO_LINKS:
                        raise
                    self._links = False
            if self._links:
                self._made.append(target)
                self.linked += 1
                self.bytes_linked += size
            else:
                file = fs.open(source)
                try:
                    self._copy(file, target, 0, size)
                finally:
                    file.close()
                self.copied += 1
            time.sleep(0)
        fs.fsync_dir(f"{self.path}/seg")

    def _copy_log(self) -> None:
        """Copy what of the log is above the floor, and say behind it that this is durable."""
        version = self._version
        for part in self._tail:
            path = live_path(f"{self.path}/wal", part.number)
            before, behind = b"", b""
            if part.start:  # whatever is below the floor is left out: a head says so
                head = Head(version.epoch, part.number, 0, version.floor_lsn, 0)
                before = head_frame(head, version.floor_lsn + 1, version.floor_lsn)
            if part is self._tail[-1]:
                behind = marker(version.epoch, part.number, self.lsn)
            self._copy(part.file, path, part.start, part.end, before, behind)
        self._fs.fsync_dir(f"{self.path}/wal")

    def _copy(
        self,
        file: File,
        path: str,
        start: int,
        end: int,
        before: bytes = b"",
        behind: bytes = b"",
    ) -> None:
        """A new file of ``before``, bytes [start, end) of another, and ``behind``; durable."""
        if self._fs.free_bytes(self.path) < end - start:
            raise DiskFull(self.path)
        copy = self._fs.create(path)
        self._made.append(path)
        try:
            copy.pwrite(before, 0)
            at = len(before)
            for offset in range(start, end, COPY_BYTES):
                wanted = min(COPY_BYTES, end - offset)
                data = file.pread(wanted, offset)
                if len(data) < wanted:
                    raise InputOutputError(path, "what was to be copied is shorter than it was")
                copy.pwrite(data, at)
                at += len(data)
            copy.pwrite(behind, at)
            copy.fdatasync()
        finally:
            copy.close()
        self.bytes_written += at + len(behind)

    def _write_manifest(self) -> None:
        self._made += [
            f"{self.path}/{name}" for name in (manifest_name(FIRST_MANIFEST), CURRENT_NEW, CURRENT)
        ]
        manifest = Manifest(self._fs, self.path, FIRST_MANIFEST, self._version, Health())
        manifest.close()
        self.bytes_written += manifest.bytes_written

    def _remove(self) -> None:
        """Remove what was written, as far as the disk lets us."""
        fs = self._fs
        try:
            for path in reversed(self._made):
                if fs.exists(path):
                    fs.unlink(path)
            for directory in reversed(self._directories):
                fs.rmdir(directory)
        except OSError as error:
            raise translate(error, self.path) from error
