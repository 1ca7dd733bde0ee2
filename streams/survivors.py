"""What of a stream is alive, read from the state rows of the last flush: for a merge of segments.

Rules: a stream without a header row is gone. Marks only rise and deletions only grow, so rows that
are behind keep too much, never too little. What copies share is alive as long as one of them needs
it (streams/lending.py), and nothing of it is blanked: what one has deleted another may have.

An entry that XDEL deleted stays between its neighbours as a blank: its ID, its field names and the
listpack size of each value are kept, because Redis' nodes go on counting them (streams/nodes.py).
The values are gone. A blank takes some three to ten bytes once compressed, most of it the ID.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsmstore import rows
from lsmstore.marks import GONE, Marks
from lsmstore.rowfile import RowFile
from streams import lending, rowkeys
from streams.listpack import element_size
from streams.stream import span_of

PAGE_POSITIONS = 4096
INTEGERS = {2: b"0", 3: b"999", 4: b"9999", 5: b"999999", 6: b"99999999", 10: b"999999999999"}
"""An integer for each size that Redis stores integers in."""


class RowSurvivors:
    """Answers for streams in ascending order of their sids."""

    def __init__(self, row_files: Sequence[RowFile]) -> None:
        self._files = row_files
        self._headers = _Ascending(row_files, b"S")
        self._lent = _Ascending(row_files, b"R")
        self._sid = -1
        self._marks: Marks = []
        self._pages: dict[int, int] = {}

    def marks(self, sid: int) -> Marks:
        """Which positions are dead, all of them if the stream is gone and nobody shares it."""
        self._find(sid)
        return self._marks

    def deleted(self, sid: int, start: int, end: int) -> list[int]:
        """Deleted positions of [start, end) that are the stream's alone, ascending."""
        self._find(sid)
        found: list[int] = []
        start = max(start, lending.lent_end(self._marks))
        if not self._pages or start >= end:
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

    def _find(self, sid: int) -> None:
        if sid == self._sid:
            return
        self._sid = sid
        self._pages = {}
        own = GONE
        for _, header in self._headers.of(sid):
            length, own, end = span_of(header)
            if length != end - own:
                for row_key, value in rows.scan(self._files, *rowkeys.sid_bounds(b"X", sid)):
                    self._pages[rowkeys.suffix(row_key)] = int.from_bytes(value, "little")
        copies: list[lending.Copy] = []
        for row_key, value in self._lent.of(sid):
            copy = rows.get(self._files, rowkeys.header_row(rowkeys.lent_to(row_key)))
            if copy is not None:
                copies.append((int.from_bytes(value, "big"), span_of(copy)[1]))
        self._marks = lending.marks(own, copies)


class _Ascending:
    """The rows of one kind, for sids that are asked for in ascending order."""

    def __init__(self, row_files: Sequence[RowFile], kind: bytes) -> None:
        start, _ = rowkeys.sid_bounds(kind, 0)
        self._rows = rows.scan(row_files, start, bytes([kind[0] + 1]))
        self._next = next(self._rows, None)

    def of(self, sid: int) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a stream."""
        while self._next is not None:
            found = rowkeys.sid_of(self._next[0])
            if found > sid:
                break
            if found == sid:
                yield self._next
            self._next = next(self._rows, None)


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
