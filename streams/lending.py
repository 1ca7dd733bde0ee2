"""What is alive of the segments of a stream that was copied.

Rules: a position of a stream is needed by the stream itself, from its mark on, and by each copy
that shares it: from the copy's mark on up to the end position in the row ``R`` of the two
(streams/rowkeys.py). A stream that is gone needs nothing, and its segments go when no copy needs
them. Marks only rise, so those of an old row keep too much, never too little.
"""

from __future__ import annotations

from collections.abc import Iterable

from lsmstore.marks import GONE, Marks

Copy = tuple[int, int]
"""A copy: the end position of what it shares, and its mark."""


def marks(own: int, copies: Iterable[Copy]) -> Marks:
    """What is dead of a stream with the mark ``own`` (``GONE``: deleted) and these copies."""
    found = [(GONE, own)]
    low = own
    for end, mark in sorted(copies, reverse=True):
        low = min(low, mark)
        if found[-1][0] == end:
            found[-1] = (end, low)
        else:
            found.append((end, low))
    return found[::-1]


def lent_end(found: Marks) -> int:
    """Below which position entries are not the stream's alone."""
    return found[-2][0] if len(found) > 1 else 0


def fresh_lends(bases: Iterable[list[tuple[int, int]]]) -> dict[int, list[int]]:
    """By sid: up to where copies with these ``bases`` share a stream, told by no row yet."""
    found: dict[int, list[int]] = {}
    for one in bases:
        for sid, end_pos in one:
            found.setdefault(sid, []).append(end_pos)
    return found
