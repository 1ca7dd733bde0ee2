"""What can go wrong in the store: one root, and one class for each thing a caller treats
differently.

Rules of this file:

1. ``DiskFull`` means "refused, nothing changed, ask again later". It is the only error after which
   a store goes on.
2. ``Poisoned`` is sticky: after a failed write or sync nobody can know what the disk holds, so
   nothing more is written and the failed call is never repeated.
3. ``Corruption`` names the file and the offset. It is never turned into a missing key, a shorter
   stream or a deleted file.
"""

from __future__ import annotations

import errno


class StorageError(Exception):
    """Root of everything the store raises on its own account."""


class Corruption(StorageError):
    """Bytes that were once made durable do not read back as they were written."""

    def __init__(self, path: str, offset: int, why: str) -> None:
        super().__init__(f"{path} is damaged at offset {offset}: {why}")
        self.path = path
        self.offset = offset
        self.why = why


class DiskFull(StorageError):
    """No room for what was asked; nothing was changed."""

    def __init__(self, path: str) -> None:
        super().__init__(f"no space left on the device for {path}")
        self.path = path


class Poisoned(StorageError):
    """A write or a sync failed earlier; the store takes nothing more until it is opened again."""


class Locked(StorageError):
    """Another process has the directory open."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is in use by another process")
        self.path = path


class ReadOnlyDir(StorageError):
    """The directory cannot be written by this process."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} cannot be written: {why}")
        self.path = path


class InputOutputError(StorageError):
    """The operating system refused an operation for another reason."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # EFBIG: a limit on file sizes
READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def translate(error: OSError, path: str) -> StorageError:
    """The store's own name for an error of the operating system on ``path``."""
    why = error.strerror or str(error)
    if error.errno in FULL:
        return DiskFull(path)
    if error.errno in READ_ONLY:
        return ReadOnlyDir(path, why)
    return InputOutputError(path, why)
