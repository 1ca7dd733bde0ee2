"""The filesystem as an argument: the protocols the store is written against, and the real one.

Rules of this file:

1. A write either puts down every byte or raises ``OSError``; short writes are continued here, once.
2. A read returns fewer bytes than asked only at the end of the file.
3. Nothing is durable before ``fdatasync`` (bytes) or ``fsync_dir`` (names). Callers say both. New
   directories alone are durable at once: they are made once in the life of a store.
4. Errors of the operating system pass through as ``OSError``; the layers above name them.

``lsmstore/simfs.py`` is the second implementation, which forgets what was not made durable.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from typing import Protocol

Bytes = bytes | bytearray | memoryview

IOV_MAX = 1024  # buffers that one pwritev takes on Linux


class File(Protocol):
    """An open file, addressed by offset."""

    def pwrite(self, data: Bytes, offset: int) -> None: ...
    def pwritev(self, buffers: Sequence[Bytes], offset: int) -> None: ...
    def pread(self, length: int, offset: int) -> bytes: ...
    def fdatasync(self) -> None: ...
    def truncate(self, size: int) -> None: ...
    def size(self) -> int: ...
    def close(self) -> None: ...


class FileSystem(Protocol):
    """Files and directories by path."""

    def create(self, path: str) -> File: ...
    def open(self, path: str, *, write: bool = False) -> File: ...
    def exists(self, path: str) -> bool: ...
    def mkdir(self, path: str) -> None: ...
    def listdir(self, path: str) -> list[str]: ...
    def rename(self, old: str, new: str) -> None: ...
    def link(self, old: str, new: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def fsync_dir(self, path: str) -> None: ...
    def lock(self, path: str, *, shared: bool = False) -> File: ...
    def free_bytes(self, path: str) -> int: ...


def remainder(buffers: Sequence[Bytes], done: int) -> list[Bytes]:
    """The buffers of a write that stopped after ``done`` bytes, without those bytes."""
    rest: list[Bytes] = []
    for buffer in buffers:
        view = memoryview(buffer)
        size = view.nbytes
        if done >= size:
            done -= size
            continue
        rest.append(view.cast("B")[done:])
        done = 0
    return rest


class OsFile:
    """A file descriptor of the real filesystem."""

    __slots__ = ("_fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self.path = path

    def pwrite(self, data: Bytes, offset: int) -> None:
        self.pwritev((data,), offset)

    def pwritev(self, buffers: Sequence[Bytes], offset: int) -> None:
        """Write all buffers one after the other, starting at ``offset``."""
        if len(buffers) > IOV_MAX:
            for start in range(0, len(buffers), IOV_MAX):
                part = buffers[start : start + IOV_MAX]
                self.pwritev(part, offset)
                offset += sum(memoryview(buffer).nbytes for buffer in part)
            return
        done = os.pwritev(self._fd, buffers, offset)
        rest = remainder(buffers, done)
        while rest:
            offset += done
            done = os.pwritev(self._fd, rest, offset)
            if done == 0:
                raise OSError(errno.EIO, "a write made no progress", self.path)
            rest = remainder(rest, done)

    def pread(self, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the file."""
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        got = len(data)
        while got < length:
            data = os.pread(self._fd, length - got, offset + got)
            if not data:
                break
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def fdatasync(self) -> None:
        os.fdatasync(self._fd)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Give the descriptor back; closing twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        """A file that nobody closed is closed with the last reference."""
        self.close()


class OsFS:
    """The real filesystem."""

    def create(self, path: str) -> File:
        """A new file, which must not exist."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return OsFile(os.open(path, flags, 0o644), path)

    def open(self, path: str, *, write: bool = False) -> File:
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
        return OsFile(os.open(path, flags), path)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def mkdir(self, path: str) -> None:
        """Make a directory and those above it, durably; one that exists is left alone."""
        if os.path.isdir(path):
            return
        above = os.path.dirname(path.rstrip("/")) or "."
        self.mkdir(above)
        os.mkdir(path)
        self.fsync_dir(above)

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def link(self, old: str, new: str) -> None:
        os.link(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rmdir(self, path: str) -> None:
        """Remove a directory, which must be empty."""
        os.rmdir(path)

    def fsync_dir(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str, *, shared: bool = False) -> File:
        """Hold ``path`` for this process until the file is closed; ``BlockingIOError`` if taken.

        ``shared``: hold it with others who do so; the file must exist and is not written to.
        """
        flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
        fd = os.open(path, flags | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return OsFile(fd, path)

    def free_bytes(self, path: str) -> int:
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize
