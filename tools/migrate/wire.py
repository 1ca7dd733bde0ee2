"""Entries in wire form, taken apart."""

from __future__ import annotations

from typing import Final

from streams.entrycheck import entry_ends
from streams.ids import id_of_entry
from streams.rdb.rows import Node

ID = tuple[int, int]
PAGE_BYTES: Final = 2 << 20
FIRST_ENTRIES: Final = 64


def name_of(text: bytes) -> str:
    """A name as it is shown."""
    shown = text.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


class PageSize:
    """How many entries to ask for at once, so that a page is neither too long nor too large."""

    def __init__(self, entries_max: int) -> None:
        self._max = entries_max
        self.entries = FIRST_ENTRIES

    def after(self, n: int, n_bytes: int) -> None:
        """A page had so many entries and bytes."""
        if n:
            self.entries = max(1, min(self._max, PAGE_BYTES * n // max(n_bytes, 1)))


def id_text(id: ID) -> str:
    """An ID as it is written."""
    return f"{id[0]}-{id[1]}"


def parse_id(text: bytes) -> ID:
    """An ID that a server wrote."""
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)


def entries_in(wire: bytes) -> list[tuple[ID, bytes]]:
    """Each entry with its ID."""
    start = 0
    found = []
    for end in entry_ends(wire):
        entry = wire[start:end]
        found.append((id_of_entry(entry), entry))
        start = end
    return found


def live_wire(node: Node) -> bytes:
    """The entries of a node that were not deleted."""
    if not node.deleted:
        return node.wire
    gone = set(node.deleted)
    start = 0
    parts = []
    for place, end in enumerate(entry_ends(node.wire)):
        if place not in gone:
            parts.append(node.wire[start:end])
        start = end
    return b"".join(parts)
