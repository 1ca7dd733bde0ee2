"""Two heads of a stream, and windows of its entries, compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import xxhash

from streams.rdb.heads import GroupHead, StreamHead
from tools.migrate.target import Target
from tools.migrate.wire import ID, entries_in, id_text, name_of

TIME_TOLERANCE_MS: Final = 5
WINDOW: Final = 1024


@dataclass(slots=True)
class Excuses:
    """What may differ, because nobody could have known; how often it did."""

    counts: bool = False
    """Delivery counts: history reads are not replicated."""
    times: bool = False
    """When consumers were seen and active."""
    entries_read: bool = False
    found: dict[str, int] = field(default_factory=dict)

    def take(self, what: str) -> None:
        """It differed."""
        self.found[what] = self.found.get(what, 0) + 1


def near(a: int, b: int) -> bool:
    """Whether two times are the same; -1 is never."""
    return abs(a - b) <= TIME_TOLERANCE_MS if a >= 0 and b >= 0 else a == b


def head_differences(a: StreamHead, b: StreamHead, excuses: Excuses) -> Iterator[str]:
    """What differs, source first."""
    for what, x, y in (
        ("length", a.length, b.length),
        ("last-generated-id", id_text(a.last_id), id_text(b.last_id)),
        ("max-deleted-entry-id", id_text(a.max_deleted_id), id_text(b.max_deleted_id)),
        ("entries-added", a.entries_added, b.entries_added),
    ):
        if x != y:
            yield f"{what}: {x} at the source, {y} at the target"
    ours = {group.name: group for group in a.groups}
    theirs = {group.name: group for group in b.groups}
    for name in sorted(ours.keys() | theirs.keys()):
        where = f"group {name_of(name)}"
        if name not in theirs or name not in ours:
            side = "target" if name not in theirs else "source"
            yield f"{where}: the {side} does not have it"
            continue
        for line in group_differences(ours[name], theirs[name], excuses):
            yield f"{where}: {line}"
    if a.producers is not None and a.producers.iids:
        held = None if b.producers is None else sorted(b.producers.iids)
        if sorted(a.producers.iids) != held:
            yield "idempotent ids of producers differ"


def group_differences(a: GroupHead, b: GroupHead, excuses: Excuses) -> Iterator[str]:
    """What differs between two groups of a name."""
    if a.last_id != b.last_id:
        yield f"last-delivered-id {id_text(a.last_id)} against {id_text(b.last_id)}"
    if a.entries_read is not None and a.entries_read != b.entries_read:
        if excuses.entries_read:
            excuses.take("entries-read, which 7.0 does not tell its replicas")
        else:
            yield f"entries-read {a.entries_read} against {b.entries_read}"
    ours = {one.name: one for one in a.consumers}
    theirs = {one.name: one for one in b.consumers}
    for name in sorted(ours.keys() ^ theirs.keys()):
        if name in ours and excuses.times:
            excuses.take("consumers born from an empty read, which replicas are not told")
        else:
            yield f"consumer {name_of(name)} is on one side only"
    for name in sorted(ours.keys() & theirs.keys()):
        x, y = ours[name], theirs[name]
        for what, mine, other in (
            ("seen", x.seen_ms, y.seen_ms),
            ("active", x.active_ms, y.active_ms),
        ):
            if near(mine, other):
                continue
            if excuses.times:
                excuses.take(f"{what} times of consumers, which replicas are not told")
            else:
                yield f"consumer {name_of(name)}: {what} at {mine} against {other}"
    yield from row_differences(a, b, excuses)
    if a.released != b.released and sorted(a.released) != sorted(b.released):
        yield f"released entries: {len(a.released)} against {len(b.released)}"


def row_differences(a: GroupHead, b: GroupHead, excuses: Excuses) -> Iterator[str]:
    """What differs between pending rows."""
    ours = {row[:2]: row for row in a.pending.all()}
    theirs = {row[:2]: row for row in b.pending.all()}
    for id in sorted(ours.keys() ^ theirs.keys()):
        side = "source" if id in ours else "target"
        yield f"entry {id_text(id)} is pending at the {side} only"
    a_names = [b"", *[one.name for one in a.consumers]]
    b_names = [b"", *[one.name for one in b.consumers]]
    for id in sorted(ours.keys() & theirs.keys()):
        x, y = ours[id], theirs[id]
        if a_names[x[2]] != b_names[y[2]]:
            yield (
                f"entry {id_text(id)} is pending for {name_of(a_names[x[2]])}"
                f" against {name_of(b_names[y[2]])}"
            )
        if not near(x[3], y[3]):
            if excuses.counts and x[4] != y[4]:
                excuses.take("delivery times of entries whose history was read again")
            else:
                yield f"entry {id_text(id)} was delivered at {x[3]} against {y[3]}"
        if x[4] != y[4]:
            if excuses.counts and x[4] > y[4]:
                excuses.take("delivery counts of history reads, which replicas are not told")
            else:
                yield f"entry {id_text(id)} was delivered {x[4]} times against {y[4]}"


def window_difference(
    target: Target, db: int, key: bytes, windows: Iterable[tuple[bytes, ID]]
) -> tuple[int, str]:
    """Hold windows (entries, last ID) against the target; how many entries, the first difference.

    Each is held against all that the target has above the window before, by hash.
    """
    upto: ID | None = None
    count = 0
    for wire, last in windows:
        start = "-" if upto is None else f"({id_text(upto)}"
        n, theirs, _ = target.entries(db, "XRANGE", key, start, id_text(last))
        if xxhash.xxh3_64_digest(wire) != xxhash.xxh3_64_digest(theirs):
            return count, first_difference(wire, theirs)
        count += n
        upto = last
    start = "-" if upto is None else f"({id_text(upto)}"
    _, theirs, last_id = target.entries(db, "XRANGE", key, start, "+", "COUNT", 1)
    if last_id is not None:
        return count, f"entry {id_text(last_id)} is at the target only"
    return count, ""


def first_difference(ours: bytes, theirs: bytes) -> str:
    """The first entry that differs."""
    a, b = entries_in(ours), entries_in(theirs)
    for (id, entry), (other_id, other) in zip(a, b, strict=False):
        if id != other_id:
            side = "source" if id < other_id else "target"
            return f"entry {id_text(min(id, other_id))} is at the {side} only"
        if entry != other:
            return f"entry {id_text(id)} has other fields or values"
    longer, side = (a, "source") if len(a) > len(b) else (b, "target")
    return f"entry {id_text(longer[min(len(a), len(b))][0])} is at the {side} only"
