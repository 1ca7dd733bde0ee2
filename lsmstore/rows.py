"""State rows over several row files: the newest file that knows a key decides.

Rules of this file:

1. Files are given newest first. A tombstone hides what older files say.
2. A merge takes neighbours in age only; the age of the result is that of the newest file it
   replaces. Tombstones are dropped only when the oldest file is part of it.
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
