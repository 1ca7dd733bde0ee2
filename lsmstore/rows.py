"""State rows over several row files: the newest file that knows a key decides.

Rules of this file:

1. Files are given newest first. A tombstone hides what older files say.
2. A merge takes neighbours in age only, always with the newest among them, so the age of the
   result is that of the newest file it replaces. Tombstones are dropped only when the oldest file
   is part of it.
3. What to merge is decided by sizes alone (``choose_merge`` is pure); merging is dull.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

from lsmstore.bloom import key_hash
from lsmstore.rowfile import Row, RowFile

Ranked = tuple[bytes, int, bytes | None]


def get(files: Sequence[RowFile], key: bytes) -> bytes | None:
    """The value of ``key``; None if it is absent or deleted."""
    digest = key_hash(key)
    for file in files:
        found, value = file.find(key, digest)
        if found:
            return value
    return None


def _ranked(rows: Iterable[Row], rank: int) -> Iterator[Ranked]:
    for key, value in rows:
        yield key, rank, value


def merge(sources: Sequence[Iterable[Row]], *, keep_tombstones: bool) -> Iterator[Row]:
    """One ascending sequence of the newest row of each key; ``sources`` are newest first."""
    if len(sources) == 1 and keep_tombstones:
        yield from sources[0]
        return
    last: bytes | None = None
    for key, _, value in heapq.merge(*[_ranked(rows, i) for i, rows in enumerate(sources)]):
        if key == last:
            continue
        last = key
        if value is not None or keep_tombstones:
            yield key, value


def scan(
    files: Sequence[RowFile], start: bytes, end: bytes | None
) -> Iterator[tuple[bytes, bytes]]:
    """Live rows with start <= key < end, ascending."""
    sources = [file.scan(start, end) for file in files]
    for key, value in merge(sources, keep_tombstones=False):
        if value is not None:
            yield key, value


def choose_merge(sizes_newest_first: Sequence[int], new_bytes: int, files_max: int) -> int:
    """How many of the newest files a flush of ``new_bytes`` merges with; 0 while there is room.

    A file joins if it is at most twice what was gathered before it, so that sizes grow
    geometrically and a row is rewritten a logarithmic number of times. More join if that would
    leave more than ``files_max`` files.
    """
    count = len(sizes_newest_first)
    if count < files_max:
        return 0
    gathered = new_bytes
    taken = 0
    for size in sizes_newest_first:
        if size > 2 * gathered and taken > count - files_max:
            break
        gathered += size
        taken += 1
    return taken
