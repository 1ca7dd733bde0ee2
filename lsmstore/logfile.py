"""Files of the log: their names, their heads, and how they are made ahead of use.

    wal/<number>.wal     part of the log, or no longer needed
    wal/<number>.spare   zero-filled or recycled, waiting to become the next file
    wal/<number>.spare.fill   being filled; of no use to anyone after a crash

The first frame of a file, its head, carries HEAD, has count 0, is seeded with epoch 0 so that it
can be read before the epoch is known, and says what came before::

    head := epoch u64 | file u64 | predecessor u64 | predecessor_last_lsn u64
            | predecessor_bytes u64

``predecessor`` 0 means none. ``predecessor_bytes`` is where the log of that file ends: what lies
beyond is no part of the log, whatever it looks like. Numbers only go up; a file that is recycled
gets a new one.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from lsmstore import frame
from lsmstore.fs import File, FileSystem

HEAD: Final = struct.Struct("<QQQQQ")
HEAD_FRAME_BYTES: Final = frame.HEADER_BYTES + HEAD.size
FILL_BYTES: Final = 1 << 20
LIVE_SUFFIX: Final = ".wal"
SPARE_SUFFIX: Final = ".spare"
FILL_SUFFIX: Final = ".fill"


class Head(NamedTuple):
    """What the first frame of a log file says."""

    epoch: int
    number: int
    predecessor: int
    predecessor_last_lsn: int
    predecessor_bytes: int


def live_path(directory: str, number: int) -> str:
    return f"{directory}/{number:08d}{LIVE_SUFFIX}"


def spare_path(directory: str, number: int) -> str:
    return f"{directory}/{number:08d}{SPARE_SUFFIX}"


def numbers(names: list[str], suffix: str) -> list[int]:
    """The numbers of the files among ``names`` that end in ``suffix``, ascending."""
    stems = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def head_frame(head: Head, next_lsn: int, synced_upto: int) -> bytes:
    """The first frame of a log file."""
    payload = HEAD.pack(*head)
    header = frame.encode(
        frame.LOG_MAGIC,
        0,
        head.number,
        frame.HEAD,
        payload,
        raw_len=len(payload),
        count=0,
        first_lsn=next_lsn,
        synced_upto=synced_upto,
    )
    return header + payload


def write_head(file: File, head: Head, next_lsn: int, synced_upto: int) -> None:
    """Put the first frame of a log file."""
    file.pwrite(head_frame(head, next_lsn, synced_upto), 0)


def marker(epoch: int, number: int, last_lsn: int) -> bytes:
    """A frame without records, which says that all up to ``last_lsn`` is durable."""
    return frame.encode(
        frame.LOG_MAGIC,
        epoch,
        number,
        0,
        b"",
        raw_len=0,
        count=0,
        first_lsn=last_lsn + 1,
        synced_upto=last_lsn,
    )


def read_head(data: bytes, number: int) -> Head | None:
    """The head of log file ``number``, whose first bytes are ``data``; None if it is not whole."""
    found = frame.parse(data, 0, frame.LOG_MAGIC, 0, number)
    if found is None or found.flags != frame.HEAD or len(found.payload) != HEAD.size:
        return None
    head = Head(*HEAD.unpack(found.payload))
    return head if head.number == number else None


def make_zeroed(fs: FileSystem, path: str, size: int) -> File:
    """A new file of ``size`` zeros on the disk. On an error nothing is left behind.

    It has its name only once it is whole, so a spare found after a crash is a whole one.
    """
    filling = path + FILL_SUFFIX
    file = fs.create(filling)
    try:
        zeros = bytes(min(size, FILL_BYTES))
        for offset in range(0, size, FILL_BYTES):
            file.pwrite(zeros[: size - offset], offset)
        file.fdatasync()
        fs.rename(filling, path)
    except OSError:
        file.close()
        fs.unlink(filling)
        raise
    return file
