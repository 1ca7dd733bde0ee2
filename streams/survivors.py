"""What of a stream is alive, read from the state rows of the last flush: for a merge of segments.

Rules: a stream without a header row is gone. Marks only rise and deletions only grow, so rows that
are behind keep too much, never too little.

An entry that XDEL deleted stays between its neighbours as a blank: its ID, its field names and the
listpack size of each value are kept, because Redis' nodes go on counting them (streams/nodes.py).
The values are gone. A blank takes some three to ten bytes once compressed, most of it the ID.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsmstore import rows
from lsmstore.flush import GONE
from lsmstore.rowfile import RowFile
from streams import rowkeys
from streams.listpack import element_size
from streams.stream import HEADER

PAGE_POSITIONS = 4096
MARK_FIELD = 7  # of HEADER
MAX_DELETED_FIELDS = (11, 12)
INTEGERS = {2: b"0", 3: b"999", 4: b"9999", 5: b"999999", 6: b"99999999", 10: b"999999999999"}
"""An integer for each size that Redis stores integers in."""


class RowSurvivors:
    """Answers for streams in ascending order of their sids."""

    def __init__(self, row_files: Sequence[RowFile]) -> None:
        self._files = row_files
        start, _ = rowkeys.sid_bounds(b"S", 0)
        self._headers = rows.scan(row_files, start, b"T")
        self._sid = -1
        self._header = b""
        self._pages_of = -1
        self._pages: dict[int, int] = {}

    def low_water(self, sid: int) -> int:
        """Positions below are dead; ``GONE`` if the stream is."""
        return int(HEADER.unpack_from(self._header)[MARK_FIELD]) if self._find(sid) else GONE

    def deleted(self, sid: int, start: int, end: int) -> list[int]:
        """Deleted positions of [start, end), ascending."""
        if self._pages_of != sid:
            self._load_pages(sid)
        found: list[int] = []
        if not self._pages:
            return found
        for number in range(start // PAGE_POSITIONS, (end - 1) // PAGE_POSITIONS + 1):
            bits = self._pages.get(number, 0)
            base = number * PAGE_POSITIONS
            first = max(start - base, 0)
            bits = bits >> first & (1 << (min(end - base, PAGE_POSITIONS) - first)) - 1
            found += [base + first + at for at in _ones(bits)]
        return found

    def blank(self, entry: bytes) -> bytes:
        """A deleted entry without its values."""
        return blank(entry)

    def _find(self, sid: int) -> bool:
        while self._sid < sid:
            row = next(self._headers, None)
            if row is None:
                self._sid = GONE
                break
            self._sid, self._header = int.from_bytes(row[0][1:], "big"), row[1]
        return self._sid == sid

    def _load_pages(self, sid: int) -> None:
        self._pages_of = sid
        self._pages = {}
        if not self._find(sid):
            return
        fields = HEADER.unpack_from(self._header)
        if any(fields[at] for at in MAX_DELETED_FIELDS):
            for row_key, value in rows.scan(self._files, *rowkeys.sid_bounds(b"X", sid)):
                self._pages[rowkeys.suffix(row_key)] = int.from_bytes(value, "little")


def _ones(bits: int) -> Iterator[int]:
    """Which bits are set, ascending."""
    base = 0
    while bits:
        low = bits & 0xFFFFFFFFFFFFFFFF
        while low:
            one = low & -low
            yield base + one.bit_length() - 1
            low ^= one
        bits >>= 64
        base += 64


def blank(entry: bytes) -> bytes:
    """An entry in wire form with every value replaced by one that takes as much in a listpack."""
    at = entry.index(b"\r\n", 4) + 2  # behind the length of the ID
    at = entry.index(b"\r\n", at) + 3  # behind the ID and the '*' of the arguments
    end = entry.index(b"\r\n", at)
    parts = [entry[: end + 2]]
    n_args = int(entry[at:end])
    at = end + 2
    for i in range(n_args):
        end = entry.index(b"\r\n", at)
        start = end + 2
        stop = start + int(entry[at + 1 : end])
        if i & 1:
            value = _filler(entry[start:stop])
            parts.append(b"$%d\r\n%s\r\n" % (len(value), value))
        else:
            parts.append(entry[at : stop + 2])
        at = stop + 2
    return b"".join(parts)


def _filler(value: bytes) -> bytes:
    size = element_size(value)
    text = b"x" * len(value)
    return text if element_size(text) == size else INTEGERS[size]
