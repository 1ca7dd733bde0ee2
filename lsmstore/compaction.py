"""What to merge next: a pure function of what the manifest says.

    DROP       segments in which nothing is alive
    ROWS       neighbours in age among the row files, where there are too many
    REWRITE    one segment of which more than half is dead
    GRADUATE   a stream with much data in shared segments gets segments of its own
    JOIN       shared segments of about one size become one

Rules of this file:

1. They are chosen in this order: what gives space back without work comes first.
2. A choice changes what it was made for. A dropped segment is gone, a rewritten one has no garbage,
   a stream that graduated has nothing large in shared segments, joined ones are fewer. So a store
   that nobody writes to comes to rest.
3. Segments of one stream are left alone once they are full, except where they are more than half
   dead.
4. Doing it is dull (lsmstore/merge.py), and installing it is one edit (lsmstore/compactor.py).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from lsmstore.options import StoreOptions
from lsmstore.version import SegmentMeta, Version


class Kind(Enum):
    """What is done."""

    DROP = "drop"
    ROWS = "rows"
    REWRITE = "rewrite"
    GRADUATE = "graduate"
    JOIN = "join"


class Choice(NamedTuple):
    """What to do next, with these files."""

    kind: Kind
    files: tuple[int, ...]
    """Numbers of segments, ascending; of row files, newest first."""
    sid: int = 0
    """The one stream that the result is for; 0 for shared segments and rows."""


def choose(version: Version, options: StoreOptions) -> Choice | None:
    """The next thing to do; None if there is nothing."""
    return (
        _dead(version)
        or _many_rows(version, options)
        or _wasteful(version)
        or _graduate(version, options)
        or _alike(version, options)
    )


def debt_bytes(version: Version, options: StoreOptions) -> int:
    """What the next choice would read."""
    choice = choose(version, options)
    if choice is None or choice.kind is Kind.DROP:
        return 0
    if choice.kind is Kind.ROWS:
        return sum([version.row_files[number].bytes for number in choice.files])
    return sum([version.segments[number].bytes for number in choice.files])


def tier(size: int, options: StoreOptions) -> int:
    """Which size class a shared segment belongs to: each is ``merge_width`` times the one below."""
    found = 0
    while size > options.tier_bytes:
        size //= options.merge_width
        found += 1
    return found


def choose_rows(sizes_newest_first: list[int], files_max: int) -> tuple[int, int]:
    """(first, end) of the row files to merge, by place in the list; (0, 0) while there is room.

    The newest is always among them. Another joins if it is at most twice what was gathered before
    it, so that sizes grow geometrically and a row is rewritten a logarithmic number of times. More
    join if that would leave more than ``files_max`` files.
    """
    count = len(sizes_newest_first)
    if count <= files_max:
        return 0, 0
    gathered = taken = 0
    for size in sizes_newest_first:
        if taken > 1 and size > 2 * gathered and taken > count - files_max:
            break
        gathered += size
        taken += 1
    return 0, taken


def _dead(version: Version) -> Choice | None:
    dead = [
        number
        for number, sids in version.dead.items()
        if len(sids) == version.segments[number].streams
    ]
    return Choice(Kind.DROP, tuple(sorted(dead))) if dead else None


def _many_rows(version: Version, options: StoreOptions) -> Choice | None:
    files = version.rows_newest_first()
    first, end = choose_rows([meta.bytes for meta in files], options.row_files_max)
    if end == 0:
        return None
    return Choice(Kind.ROWS, tuple([meta.number for meta in files[first:end]]))


def _wasteful(version: Version) -> Choice | None:
    """The segment with the most garbage, if that is more than half of it."""
    worst = 0
    found: SegmentMeta | None = None
    for number in {*version.dead_bytes, *version.waste}:
        meta = version.segments[number]
        garbage = version.garbage_bytes(number)
        if 2 * garbage > meta.bytes and garbage > worst:
            worst, found = garbage, meta
    return Choice(Kind.REWRITE, (found.number,), found.sid) if found else None


def _graduate(version: Version, options: StoreOptions) -> Choice | None:
    """The stream with the most in shared segments, if that is enough for a segment of its own."""
    held: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for number in sorted(version.segments):
        meta = version.segments[number]
        if meta.sid:
            continue
        dead = version.dead.get(number, ())
        for run in meta.large:
            if run.sid not in dead:
                held.setdefault(run.sid, []).append(number)
                sizes[run.sid] = sizes.get(run.sid, 0) + run.bytes
    if not sizes:
        return None
    sid = max(sizes, key=lambda sid: (sizes[sid], sid))
    if sizes[sid] < options.graduate_bytes:
        return None
    return Choice(Kind.GRADUATE, tuple(held[sid]), sid)


def _alike(version: Version, options: StoreOptions) -> Choice | None:
    """As many shared segments of one size class as are merged at once, the smallest class first."""
    classes: dict[int, list[int]] = {}
    for number in sorted(version.segments):
        meta = version.segments[number]
        if not meta.sid and meta.bytes <= options.shared_segment_bytes_max:
            classes.setdefault(tier(meta.bytes, options), []).append(number)
    for size_class in sorted(classes):
        numbers = classes[size_class]
        if len(numbers) >= options.merge_width:
            return Choice(Kind.JOIN, tuple(numbers[: options.merge_width]))
    return None
