"""What the store consists of at one moment, and the edits that lead from one moment to the next.

An edit is a sequence of operations; the bytes that are applied in memory are the bytes in the
manifest::

    edit := op...
    op   := kind u8 | length u32 | body
    1 EPOCH        epoch u64 | first log file u64
    2 FLOOR        from u64 | to u64            ``from`` must be the present floor: no hole can open
    3 NEXT_FILE    number u64
    4 ADD_SEGMENT  number u64 | bytes u64 | after_lsn u64 | upto_lsn u64 | streams u64 | entries u64
                   | sid u64 (the one stream it is for, 0: any) | large...
    5 DROP_SEGMENT number u64
    6 ADD_ROWS     number u64 | age u64 | bytes u64 | after_lsn u64 | upto_lsn u64 | rows u64
    7 DROP_ROWS    number u64
    8 DICTIONARY   id u32 | bytes
    9 DEAD         segment u64 | bytes u64 | sid u64...
                   streams of which nothing in the segment is alive, and what they take there
    10 WASTE       segment u64 | sid u64 | bytes u64    of a large run, so much is dead

    large := sid u64 | bytes u64 | blanked u64          a stream that takes much of the segment, and
                                                        how many of its deleted entries are blanked

All numbers are little-endian. (``after_lsn``, ``upto_lsn``] is the interval of log positions whose
effects a file holds. ``age`` orders row files: of two files with one key the one of the higher age
wins. The kinds are on disk: they are never given another meaning.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

EPOCH: Final = 1
FLOOR: Final = 2
NEXT_FILE: Final = 3
ADD_SEGMENT: Final = 4
DROP_SEGMENT: Final = 5
ADD_ROWS: Final = 6
DROP_ROWS: Final = 7
DICTIONARY: Final = 8
DEAD: Final = 9
WASTE: Final = 10

_OP: Final = struct.Struct("<BI")
_ONE: Final = struct.Struct("<Q")
_TWO: Final = struct.Struct("<QQ")
_THREE: Final = struct.Struct("<QQQ")
_SIX: Final = struct.Struct("<QQQQQQ")
_SEVEN: Final = struct.Struct("<QQQQQQQ")
_ID: Final = struct.Struct("<I")


class LargeRun(NamedTuple):
    """A stream that takes much of a segment."""

    sid: int
    bytes: int
    blanked: int
    """Deleted entries of it whose values are gone from the segment already."""


class SegmentMeta(NamedTuple):
    """A segment file as the manifest knows it."""

    number: int
    bytes: int
    after_lsn: int
    upto_lsn: int
    streams: int
    entries: int
    sid: int = 0
    """The one stream that the segment is for; 0 if it is shared."""
    large: tuple[LargeRun, ...] = ()


class RowFileMeta(NamedTuple):
    """A row file as the manifest knows it."""

    number: int
    age: int
    bytes: int
    after_lsn: int
    upto_lsn: int
    rows: int


class Edit:
    """Operations to be applied together."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = bytearray()

    def _put(self, kind: int, body: bytes) -> None:
        self.data += _OP.pack(kind, len(body)) + body

    def epoch(self, epoch: int, first_file: int) -> None:
        self._put(EPOCH, _TWO.pack(epoch, first_file))

    def floor(self, before: int, after: int) -> None:
        self._put(FLOOR, _TWO.pack(before, after))

    def next_file(self, number: int) -> None:
        self._put(NEXT_FILE, _ONE.pack(number))

    def add_segment(self, meta: SegmentMeta) -> None:
        large = [_THREE.pack(*run) for run in meta.large]
        self._put(ADD_SEGMENT, _SEVEN.pack(*meta[:7]) + b"".join(large))

    def drop_segment(self, number: int) -> None:
        self._put(DROP_SEGMENT, _ONE.pack(number))

    def add_rows(self, meta: RowFileMeta) -> None:
        self._put(ADD_ROWS, _SIX.pack(*meta))

    def drop_rows(self, number: int) -> None:
        self._put(DROP_ROWS, _ONE.pack(number))

    def dictionary(self, dictionary_id: int, content: bytes) -> None:
        self._put(DICTIONARY, _ID.pack(dictionary_id) + content)

    def dead(self, segment: int, size: int, sids: Iterable[int]) -> None:
        self._put(DEAD, _TWO.pack(segment, size) + array("Q", sids).tobytes())

    def waste(self, segment: int, sid: int, size: int) -> None:
        self._put(WASTE, _THREE.pack(segment, sid, size))


@dataclass
class Version:
    """The state that all edits so far add up to."""

    epoch: int = 0
    epoch_file: int = 0
    floor_lsn: int = 0
    next_file: int = 1
    segments: dict[int, SegmentMeta] = field(default_factory=dict)
    row_files: dict[int, RowFileMeta] = field(default_factory=dict)
    dictionaries: dict[int, bytes] = field(default_factory=dict)
    dead: dict[int, set[int]] = field(default_factory=dict)
    dead_bytes: dict[int, int] = field(default_factory=dict)
    """What the dead streams of a segment take there."""
    waste: dict[int, dict[int, int]] = field(default_factory=dict)
    """By segment and sid: how much of a large run is dead while the rest lives."""

    def apply(self, edit: bytes) -> None:
        """Apply an edit; ``ValueError`` if it does not follow from this state."""
        at = 0
        while at < len(edit):
            if at + _OP.size > len(edit):
                raise ValueError("an operation is cut short")
            kind, length = _OP.unpack_from(edit, at)
            at += _OP.size
            if at + length > len(edit):
                raise ValueError("an operation is cut short")
            try:
                self._apply_one(kind, edit[at : at + length])
            except (struct.error, KeyError) as error:
                raise ValueError(f"operation {kind} does not fit: {error}") from None
            at += length

    def _apply_one(self, kind: int, body: bytes) -> None:
        if kind == EPOCH:
            self.epoch, self.epoch_file = _TWO.unpack(body)
        elif kind == FLOOR:
            before, after = _TWO.unpack(body)
            if before != self.floor_lsn or after < before:
                raise ValueError(f"floor {before}..{after} does not follow {self.floor_lsn}")
            self.floor_lsn = after
        elif kind == NEXT_FILE:
            (self.next_file,) = _ONE.unpack(body)
        elif kind == ADD_SEGMENT:
            large = tuple(map(LargeRun._make, _THREE.iter_unpack(body[_SEVEN.size :])))
            segment = SegmentMeta(*_SEVEN.unpack_from(body))._replace(large=large)
            self.segments[segment.number] = segment
        elif kind == DROP_SEGMENT:
            (number,) = _ONE.unpack(body)
            del self.segments[number]
            self.dead.pop(number, None)
            self.dead_bytes.pop(number, None)
            self.waste.pop(number, None)
        elif kind == ADD_ROWS:
            rows = RowFileMeta(*_SIX.unpack(body))
            self.row_files[rows.number] = rows
        elif kind == DROP_ROWS:
            (number,) = _ONE.unpack(body)
            del self.row_files[number]
        elif kind == DICTIONARY:
            self.dictionaries[_ID.unpack_from(body)[0]] = body[_ID.size :]
        elif kind == DEAD:
            number, size = _TWO.unpack_from(body)
            if number not in self.segments:
                raise ValueError(f"streams died in segment {number}, which is not there")
            self.dead.setdefault(number, set()).update(memoryview(body)[_TWO.size :].cast("Q"))
            self.dead_bytes[number] = self.dead_bytes.get(number, 0) + size
            wasted = self.waste.get(number, {})
            for sid in memoryview(body)[_TWO.size :].cast("Q"):
                wasted.pop(sid, None)
        elif kind == WASTE:
            number, sid, size = _THREE.unpack(body)
            if number not in self.segments:
                raise ValueError(f"waste in segment {number}, which is not there")
            self.waste.setdefault(number, {})[sid] = size
        else:
            raise ValueError(f"operation {kind} is unknown")

    def snapshot(self) -> Edit:
        """The edit that leads here from nothing."""
        edit = Edit()
        edit.epoch(self.epoch, self.epoch_file)
        edit.floor(0, self.floor_lsn)
        edit.next_file(self.next_file)
        for segment in self.segments.values():
            edit.add_segment(segment)
        for rows in self.row_files.values():
            edit.add_rows(rows)
        for dictionary_id, content in self.dictionaries.items():
            edit.dictionary(dictionary_id, content)
        for number, sids in self.dead.items():
            edit.dead(number, self.dead_bytes[number], sorted(sids))
        for number, wasted in self.waste.items():
            for sid, size in wasted.items():
                edit.waste(number, sid, size)
        return edit

    def garbage_bytes(self, number: int) -> int:
        """About how much of a segment is dead."""
        return self.dead_bytes.get(number, 0) + sum(self.waste.get(number, {}).values())

    def rows_newest_first(self) -> list[RowFileMeta]:
        """Row files in the order in which they are asked."""
        return sorted(self.row_files.values(), key=lambda meta: meta.age, reverse=True)
