"""What a stream is beside its entries, as plain data.

Rules: IDs are (ms, seq), times are wall time in ms, -1 is never. Nothing here knows where it comes
from or where it goes: RDB is read into it, streams/restore.py makes a stream of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.rdb.rows import PendingRows

ID = tuple[int, int]


@dataclass(slots=True)
class ConsumerHead:
    """One consumer of a group."""

    name: bytes
    seen_ms: int
    active_ms: int


@dataclass(slots=True)
class GroupHead:
    """One group. ``entries_read``: -1 unknown, None to be estimated from the cursor."""

    name: bytes
    last_id: ID
    entries_read: int | None
    consumers: list[ConsumerHead] = field(default_factory=list)
    pending: PendingRows = field(default_factory=PendingRows)
    released: list[ID] = field(default_factory=list)
    """Pending rows of nobody, in the order in which they were released."""


@dataclass(slots=True)
class ProducersHead:
    """What a stream remembers of idempotent production: iids by producer, oldest first."""

    duration_s: int
    maxsize: int
    iids: list[tuple[bytes, list[tuple[bytes, int, int]]]]
    iids_added: int
    iids_duplicates: int


@dataclass(slots=True)
class StreamHead:
    """A stream without its entries."""

    length: int
    last_id: ID
    max_deleted_id: ID
    entries_added: int
    groups: list[GroupHead] = field(default_factory=list)
    producers: ProducersHead | None = None
