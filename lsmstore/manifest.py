"""The manifest: a log of edits, of which CURRENT names the one that counts.

    CURRENT          the name of a manifest and a newline, replaced by rename
    MANIFEST-<n>     frames (lsmstore/frame.py) with MANIFEST_MAGIC, epoch 0 and file number n

The first frame holds a whole state; each later one an edit (lsmstore/version.py). Edits are
numbered from 1 within a file; the number stands where a log frame has its position.

Rules of this file:

1. An edit is durable before ``append`` returns; a marker that claims it follows, so that damage to
   the last edit is told from a torn write.
2. Only the last frame may be torn. The first may not: CURRENT is switched after it is durable.
3. A manifest is never appended to by another process than the one that began it: opening a store
   begins a new one.
"""

from __future__ import annotations

from typing import Final

from lsmstore import frame
from lsmstore.errors import FULL, Corruption, DiskFull
from lsmstore.frame import MANIFEST_MAGIC
from lsmstore.fs import File, FileSystem
from lsmstore.health import Health
from lsmstore.version import Edit, Version

CURRENT: Final = "CURRENT"
CURRENT_NEW: Final = "CURRENT.new"
PREFIX: Final = "MANIFEST-"
CURRENT_BYTES_MAX: Final = 64


def manifest_name(number: int) -> str:
    return f"{PREFIX}{number:08d}"


def read_current(fs: FileSystem, directory: str) -> int | None:
    """The number of the manifest that counts; None if there is no CURRENT."""
    path = f"{directory}/{CURRENT}"
    if not fs.exists(path):
        return None
    file = fs.open(path)
    try:
        text = file.pread(CURRENT_BYTES_MAX, 0)
    finally:
        file.close()
    digits = text.removeprefix(PREFIX.encode()).removesuffix(b"\n")
    if not digits.isdigit() or text != manifest_name(int(digits)).encode() + b"\n":
        raise Corruption(path, 0, "it does not name a manifest")
    return int(digits)


def read_manifest(fs: FileSystem, directory: str, number: int) -> Version:
    """The state that the frames of manifest ``number`` add up to."""
    path = f"{directory}/{manifest_name(number)}"
    if not fs.exists(path):
        raise Corruption(path, 0, "CURRENT names this manifest and it is missing")
    file = fs.open(path)
    try:
        return _read_edits(file, path, number)
    finally:
        file.close()


def _read_edits(file: File, path: str, number: int) -> Version:
    data = file.pread(file.size(), 0)
    version = Version()
    offset = 0
    expected = 1
    while True:
        found = frame.parse(data, offset, MANIFEST_MAGIC, 0, number)
        if found is None or found.first_lsn != expected:
            break
        try:
            version.apply(frame.unpack(found, {}))
        except ValueError as error:
            raise Corruption(path, offset, str(error)) from None
        expected += found.records
        offset = found.end
    if expected == 1:
        raise Corruption(path, 0, "its first frame is damaged")
    for found in frame.frames_anywhere(file, offset, MANIFEST_MAGIC, number):
        if found.synced_upto >= expected:
            raise Corruption(path, offset, f"edit {expected} is damaged, and it had been durable")
    return version


class Manifest:
    """The writing end of the manifest."""

    _file: File
    _path: str
    _end: int
    _edits: int

    def __init__(
        self, fs: FileSystem, directory: str, number: int, version: Version, health: Health
    ) -> None:
        """Begin manifest ``number`` with the state ``version`` and make CURRENT name it."""
        self._fs = fs
        self._directory = directory
        self._health = health
        self.version = version
        self.number = number
        self.syncs = 0
        self.bytes_written = 0
        self._begin()

    @property
    def size(self) -> int:
        return self._end

    def append(self, edit: Edit) -> None:
        """Apply an edit, durably. A full disk is refused with nothing changed."""
        self._health.check()
        before = self._end
        try:
            self._put(bytes(edit.data), 1)
        except DiskFull:
            self._cut(before)
            raise
        self._sync(self._file)
        self._edits += 1
        self.version.apply(bytes(edit.data))
        try:
            self._put(b"", 0)
        except DiskFull:
            self._cut(self._end)

    def roll(self) -> None:
        """Replace the manifest by a new one that holds the present state alone."""
        self._health.check()
        old_file, old_number = self._file, self.number
        old_end, old_edits = self._end, self._edits
        self.number += 1
        try:
            self._begin()
        except DiskFull:
            self._file, self.number = old_file, old_number
            self._end, self._edits = old_end, old_edits
            raise
        old_file.close()
        self._unlink(manifest_name(old_number))

    def close(self) -> None:
        """Sync the last marker and give the descriptor back."""
        if self._health.failure is None:
            self._sync(self._file)
        self.abandon()

    def abandon(self) -> None:
        """Give the descriptor back and nothing else."""
        self._file.close()

    # -- inner parts ----------------------------------------------------------------------------

    def _begin(self) -> None:
        name = manifest_name(self.number)
        new = f"{self._directory}/{CURRENT_NEW}"
        for leftover in (name, CURRENT_NEW):
            if self._fs.exists(f"{self._directory}/{leftover}"):
                self._unlink(leftover)
        pointer: File | None = None
        self._file = self._create(name)
        self._path = f"{self._directory}/{name}"
        self._end = 0
        self._edits = 0
        try:
            self._put(bytes(self.version.snapshot().data), 1)
            self._edits = 1
            self._put(b"", 0)
            pointer = self._create(CURRENT_NEW)
            self._write(pointer, (name.encode() + b"\n",), 0)
        except DiskFull:
            self._file.close()
            self._unlink(name)
            if pointer is not None:
                pointer.close()
                self._unlink(CURRENT_NEW)
            raise
        self._sync(self._file)
        self._sync(pointer)
        pointer.close()
        try:
            self._fs.fsync_dir(self._directory)
            self._fs.rename(new, f"{self._directory}/{CURRENT}")
            self._fs.fsync_dir(self._directory)
        except OSError as error:
            raise self._health.fail(error, f"switch of {CURRENT}") from error

    def _put(self, payload: bytes, count: int) -> None:
        header = frame.encode(
            MANIFEST_MAGIC,
            0,
            self.number,
            0,
            payload,
            raw_len=len(payload),
            count=count,
            first_lsn=self._edits + 1,
            synced_upto=self._edits,
        )
        self._write(self._file, (header, payload), self._end)
        self._end += len(header) + len(payload)

    def _write(self, file: File, buffers: tuple[bytes, ...], offset: int) -> None:
        size = sum(len(buffer) for buffer in buffers)
        if self._fs.free_bytes(self._directory) < size:
            raise DiskFull(self._directory)
        try:
            file.pwritev(buffers, offset)
        except OSError as error:
            if error.errno in FULL:
                raise DiskFull(self._directory) from error
            raise self._health.fail(error, f"write to {self._directory}") from error
        self.bytes_written += size

    def _create(self, name: str) -> File:
        path = f"{self._directory}/{name}"
        try:
            return self._fs.create(path)
        except OSError as error:
            if error.errno in FULL:
                raise DiskFull(path) from error
            raise self._health.fail(error, f"creating {path}") from error

    def _cut(self, size: int) -> None:
        """Take back a write that met a full disk."""
        try:
            self._file.truncate(size)
        except OSError as error:
            raise self._health.fail(error, f"cut of {self._path}") from error

    def _sync(self, file: File) -> None:
        try:
            file.fdatasync()
        except OSError as error:
            raise self._health.fail(error, f"sync of {self._path}") from error
        self.syncs += 1

    def _unlink(self, name: str) -> None:
        try:
            self._fs.unlink(f"{self._directory}/{name}")
        except OSError as error:
            raise self._health.fail(error, f"removal of {name}") from error
