"""A manifest made from the files that are there, for the day on which it is lost.

Rules of this file:

1. A file stands for itself only if its header and footer are whole; what comes of the others is
   for whoever asked (lsmstore/salvage.py).
2. Row files say how far flushes had come: the highest end of their intervals is the floor. A
   segment beyond it belongs to a flush that was not complete; its records are still in the log.
3. Files that a merge has put into others are left out as soon as all of the merge's files are
   there (lsmstore/origin.py). Merges that are not complete are left out themselves.
"""

from __future__ import annotations

from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from lsmstore.cache import BlockCache
from lsmstore.container import FOOTER, FOOTER_BYTES, HEADER, HEADER_BYTES, U64
from lsmstore.dictfile import SUFFIX, dictionary_path, read_dictionary
from lsmstore.errors import Corruption, StorageError
from lsmstore.files import row_path, segment_path
from lsmstore.fs import FileSystem
from lsmstore.logfile import HEAD_FRAME_BYTES, LIVE_SUFFIX, live_path, numbers, read_head
from lsmstore.origin import Origin
from lsmstore.rowfile import RowFile
from lsmstore.segment import Segment
from lsmstore.version import RowFileMeta, SegmentMeta, Version


class Known(NamedTuple):
    """What a file says of itself."""

    number: int
    size: int
    after_lsn: int
    upto_lsn: int
    streams: int
    entries: int
    rows: int
    origin: Origin


class Rebuilt(NamedTuple):
    """What was found."""

    version: Version
    rows: list[int]
    """Row files that cannot be opened and were not replaced."""
    segments: list[int]
    """Segments likewise."""
    replaced: frozenset[int]
    """Files that merges have put into those of ``version``."""


def rebuild(fs: FileSystem, path: str) -> Rebuilt:
    """The state that the files of a directory add up to."""
    directory = f"{path}/seg"
    names = fs.listdir(directory) if fs.exists(directory) else []
    version = Version()
    version.dictionaries = read_dictionaries(fs, directory, names)
    all_rows = numbers(names, ".row")
    all_segments = numbers(names, ".seg")
    rows = [_row_file(fs, directory, number, version) for number in all_rows]
    segments = [_segment(fs, directory, number, version) for number in all_segments]
    for row in _current_rows([row for row in rows if row is not None]):
        version.row_files[row.number] = RowFileMeta(
            row.number, row.origin.age, row.size, row.after_lsn, row.upto_lsn, row.rows
        )
        version.floor_lsn = max(version.floor_lsn, row.upto_lsn)
    known = [
        segment
        for segment in segments
        if segment is not None and segment.upto_lsn <= version.floor_lsn
    ]
    for segment in _current_segments(known, version):
        version.segments[segment.number] = SegmentMeta(
            segment.number,
            segment.size,
            segment.after_lsn,
            segment.upto_lsn,
            segment.streams,
            segment.entries,
            segment.origin.sid,
            segment.origin.large,
        )
    version.dead = {
        number: sids for number, sids in version.dead.items() if number in version.segments
    }
    version.dead_bytes = dict.fromkeys(version.dead, 0)
    version.next_file = max([0, *all_rows, *all_segments]) + 1
    _find_epoch(fs, path, version)
    replaced = {
        number
        for known_file in (*rows, *segments)
        if known_file is not None
        for number in known_file.origin.inputs
    }
    merged = {
        number
        for known_file in (*rows, *segments)
        if known_file is not None
        and (known_file.number in version.row_files or known_file.number in version.segments)
        for number in known_file.origin.inputs
    }
    open_rows = {row.number for row in rows if row is not None}
    open_segments = {segment.number for segment in segments if segment is not None}
    return Rebuilt(
        version,
        sorted(set(all_rows) - open_rows - replaced),
        sorted(set(all_segments) - open_segments - replaced),
        frozenset(merged),
    )


def interval_of(fs: FileSystem, path: str, number: int) -> tuple[int, int] | None:
    """What the header or the footer of a damaged file still says of its interval."""
    file = fs.open(path)
    try:
        size = file.size()
        header = file.pread(HEADER_BYTES, 0)
        footer = file.pread(FOOTER_BYTES, max(0, size - FOOTER_BYTES))
    finally:
        file.close()
    if len(header) == HEADER_BYTES:
        digest = xxh3_64_intdigest(header[: HEADER.size], number)
        if U64.unpack_from(header, HEADER.size)[0] == digest:
            _, _, after_lsn, upto_lsn = HEADER.unpack_from(header)
            return after_lsn, upto_lsn
    if len(footer) == FOOTER_BYTES:
        digest = xxh3_64_intdigest(footer[: FOOTER.size], number)
        if U64.unpack_from(footer, FOOTER.size)[0] == digest:
            fields = FOOTER.unpack_from(footer)
            return fields[9], fields[10]
    return None


def read_dictionaries(fs: FileSystem, directory: str, names: list[str]) -> dict[int, bytes]:
    """The dictionaries whose files are whole."""
    found: dict[int, bytes] = {}
    for number in numbers(names, SUFFIX):
        try:
            found[number] = read_dictionary(fs, dictionary_path(directory, number), number)
        except Corruption:
            continue
    return found


def _row_file(fs: FileSystem, directory: str, number: int, version: Version) -> Known | None:
    path = row_path(directory, number)
    try:
        file = RowFile(fs, path, number, version.dictionaries, BlockCache(0))
        whence = file.origin()
    except StorageError:
        return None
    footer = file.footer
    interval = footer.after_lsn, footer.upto_lsn
    return Known(number, file.size, *interval, 0, 0, file.rows, whence)


def _segment(fs: FileSystem, directory: str, number: int, version: Version) -> Known | None:
    path = segment_path(directory, number)
    try:
        file = Segment(fs, path, number, version.dictionaries, BlockCache(0))
        whence = file.origin()
    except StorageError:
        return None
    footer = file.footer
    interval = footer.after_lsn, footer.upto_lsn
    return Known(number, file.size, *interval, file.streams, file.entries, 0, whence)


def _current_rows(known: list[Known]) -> list[Known]:
    """Row files without those that a merge has put into another."""
    replaced = {number for row in known for number in row.origin.inputs}
    return [row for row in known if row.number not in replaced]


def _current_segments(known: list[Known], version: Version) -> list[Known]:
    """Segments without those that a merge has put into others; what remains of shared ones."""
    merges: dict[tuple[int, ...], list[Known]] = {}
    for segment in known:
        if segment.origin.inputs:
            merges.setdefault(segment.origin.inputs, []).append(segment)
    by_number = {segment.number: segment for segment in known}
    left_out: set[int] = set()
    for inputs, outputs in merges.items():
        parts = sorted([(output.origin.part, output.origin.last) for output in outputs])
        whole = [(part, part + 1 == len(parts)) for part in range(len(parts))]
        there = [number for number in inputs if number in by_number]
        if parts != whole and there:
            left_out.update([output.number for output in outputs])
            continue
        sid = outputs[0].origin.sid
        for number in there:
            if sid and by_number[number].origin.sid == 0:
                version.dead.setdefault(number, set()).add(sid)
            else:
                left_out.add(number)
    return [segment for segment in known if segment.number not in left_out]


def _find_epoch(fs: FileSystem, path: str, version: Version) -> None:
    """The newest epoch of the log, and its first file."""
    directory = f"{path}/wal"
    names = fs.listdir(directory) if fs.exists(directory) else []
    heads = []
    for number in numbers(names, LIVE_SUFFIX):
        file = fs.open(live_path(directory, number))
        head = read_head(file.pread(HEAD_FRAME_BYTES, 0), number)
        file.close()
        if head is not None:
            heads.append(head)
    version.epoch = max([head.epoch for head in heads], default=0)
    version.epoch_file = min(
        [head.number for head in heads if head.epoch == version.epoch], default=0
    )
