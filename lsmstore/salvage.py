"""What can be read of a damaged segment or row file, as a new one; and of a damaged log.

Rules of this file:

1. The damaged file is only read. What comes of it is durable, but for its name.
2. Frames say themselves how long they are, and their checksums know their place: where indexes or
   pages are lost, whatever is a frame is found.
3. Positions do not change. Where a block is lost and its index is not, as many entries as were in
   it take its place, with the first ID of the block and IDs that follow: whoever made them deletes
   them (streams/mending.py). A ``Gap`` says where they are.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import zstandard

from lsmstore.block import Block, Run
from lsmstore.builder import SegmentBuilder
from lsmstore.container import (
    FRAME,
    FRAME_OVERHEAD,
    HEADER_BYTES,
    RAW,
    U64,
    content_of,
    frame_seed,
)
from lsmstore.errors import StorageError
from lsmstore.files import row_path, segment_path
from lsmstore.frame import LOG_MAGIC, Frame, checksum, frames_anywhere
from lsmstore.fs import FileSystem
from lsmstore.health import Health
from lsmstore.logfile import LIVE_SUFFIX, live_path, marker, numbers
from lsmstore.options import StoreOptions
from lsmstore.origin import Origin
from lsmstore.recovery import LogReader
from lsmstore.rowfile import Row, RowBlock, write_row_file
from lsmstore.segment import Page, Segment
from lsmstore.survey import RowSurvey, SegmentSurvey
from lsmstore.version import RowFileMeta, SegmentMeta

U64_MAX: Final = (1 << 64) - 1
CODEC: Final = re.compile(rb"[\x00-\x02][\x00-\x1f]\x00\x00")
CODEC_AT: Final = 12
FIELD: Final = b"*2\r\n$4\r\nlost\r\n$0\r\n\r\n"
FILLER_ENTRIES: Final = 512

Id = tuple[int, int]


class Gap(NamedTuple):
    """Positions [start, end) of a stream whose entries are lost; others stand there instead."""

    sid: int
    start: int
    end: int
    first: Id
    """ID of the first of them; of what was lost if the index knew it."""
    last: Id


def following(ident: Id) -> Id:
    """The lowest ID above another."""
    ms, seq = ident
    return (ms, seq + 1) if seq < U64_MAX else (ms + 1, 0)


def stand_in(ident: Id) -> bytes:
    """An entry in wire form that stands for one that is lost."""
    text = b"%d-%d" % ident
    return b"*2\r\n$%d\r\n%b\r\n%b" % (len(text), text, FIELD)


def stand_ins(first: Id, count: int, last: Id | None = None) -> list[Id]:
    """``count`` ascending IDs from ``first`` on, the last of them ``last`` if that is given."""
    found = [first]
    while len(found) < count:
        found.append(following(found[-1]))
    if last is not None:
        found[-1] = last
    return found


def content(frame: bytes, offset: int, number: int, known: Mapping[int, bytes]) -> bytes | None:
    """What is in the frame of file ``number`` that lies at ``offset``; None if it is not whole."""
    if len(frame) < FRAME_OVERHEAD:
        return None
    _, stored_len, dictionary, codec, _ = FRAME.unpack_from(frame)
    payload = frame[FRAME.size : -8]
    digest = checksum(frame[: FRAME.size], payload, frame_seed(number, offset))
    if stored_len != len(payload) or U64.unpack_from(frame, len(frame) - 8)[0] != digest:
        return None
    if codec != RAW and dictionary and dictionary not in known:
        return None
    data = zstandard.ZstdCompressionDict(known[dictionary]) if dictionary else None
    try:
        return content_of(frame[:-8], lambda _: zstandard.ZstdDecompressor(dict_data=data))
    except (zstandard.ZstdError, ValueError):  # the checksum is of content that was wrong before
        return None


def frames(data: bytes, number: int, known: Mapping[int, bytes]) -> Iterator[bytes]:
    """The content of every whole frame in a file, whatever lies between them."""
    at = HEADER_BYTES
    while at + FRAME_OVERHEAD <= len(data):
        end = at + FRAME_OVERHEAD + FRAME.unpack_from(data, at)[1]
        found = content(data[at:end], at, number, known) if end <= len(data) else None
        if found is not None:
            yield found
            at = end
            continue
        next_codec = CODEC.search(data, at + 1 + CODEC_AT)
        if next_codec is None:
            return
        at = next_codec.start() - CODEC_AT


def read_whole(fs: FileSystem, path: str) -> bytes:
    """All bytes of a file that the disk gives; none of one that is missing."""
    if not fs.exists(path):
        return b""
    file = fs.open(path)
    try:
        return file.pread(file.size(), 0)
    except OSError:
        return b""
    finally:
        file.close()


def runs_of(
    fs: FileSystem, survey: SegmentSurvey, dictionaries: Mapping[int, bytes]
) -> list[tuple[int, Run]]:
    """The runs that the pages of a damaged segment still know."""
    if survey.segment is not None:
        return survey.runs
    found: list[tuple[int, Run]] = []
    source = _Bare(survey.path, survey.number)
    for data in frames(read_whole(fs, survey.path), survey.number, dictionaries):
        try:
            page = Page(data)
            found += [(sid, Run(source, page.directory(at))) for at, sid in enumerate(page.sids)]
        except (ValueError, IndexError):
            continue
    return sorted(found, key=lambda pair: (pair[0], pair[1].first_pos))


class _Bare:
    """Stands for a segment that cannot be opened."""

    def __init__(self, path: str, number: int) -> None:
        self.path = path
        self.number = number


def salvage_segment(
    fs: FileSystem,
    survey: SegmentSurvey,
    directory: str,
    number: int,
    meta: SegmentMeta,
    dictionaries: Mapping[int, bytes],
    options: StoreOptions,
) -> tuple[SegmentMeta | None, list[Gap]]:
    """What is left of a damaged segment, as segment ``number`` of another directory."""
    runs = runs_of(fs, survey, dictionaries)
    if not runs:
        return None, []
    data = read_whole(fs, survey.path) if survey.segment is None else b""
    build = SegmentBuilder(
        fs,
        segment_path(directory, number),
        number,
        (meta.after_lsn, meta.upto_lsn),
        options,
        Health(),
        Origin(meta.sid, number),
        dictionaries,
    )
    gaps: list[Gap] = []
    for at, (sid, run) in enumerate(runs):
        build.begin_run(small=run.raw_bytes < options.small_run_bytes)
        for index in range(run.n_blocks):
            first_pos = run.place(index)[4]
            wire = _block(survey.segment, data, survey.number, dictionaries, run, index)
            if wire is None:
                gap, wire = _fill(sid, run, index)
                gaps.append(gap)
            build.put(wire, run.first_id(index), first_pos, run.block_count(index))
        build.end_run(run.last, run.node_positions())
        if at + 1 == len(runs) or runs[at + 1][0] != sid:
            build.end_stream(sid, 0)
    return build.finish(last=True), gaps


def _block(
    segment: Segment | None,
    data: bytes,
    number: int,
    dictionaries: Mapping[int, bytes],
    run: Run,
    index: int,
) -> bytes | None:
    """The wire bytes of a block, if they can be read; from ``data`` without an open segment."""
    if segment is not None:
        try:
            return segment.block(run, index).data
        except StorageError:
            return None
    offset, length, raw_offset, raw_len, first_pos = run.place(index)
    frame = content(data[offset : offset + length], offset, number, dictionaries) or b""
    wire = frame[raw_offset : raw_offset + raw_len]
    try:
        block = Block.sealed(wire, first_pos)
    except ValueError:
        return None
    whole = block.count == run.block_count(index) and block.first == run.first_id(index)
    return wire if whole else None


def _fill(sid: int, run: Run, index: int) -> tuple[Gap, bytes]:
    """What stands where a block was."""
    count, first_pos = run.block_count(index), run.place(index)[4]
    last = run.last if index + 1 == run.n_blocks else None
    idents = stand_ins(run.first_id(index), count, last)
    gap = Gap(sid, first_pos, first_pos + count, idents[0], idents[-1])
    return gap, b"".join(map(stand_in, idents))


def salvage_rows(
    fs: FileSystem,
    survey: RowSurvey,
    directory: str,
    number: int,
    meta: RowFileMeta,
    dictionaries: Mapping[int, bytes],
    options: StoreOptions,
) -> tuple[RowFileMeta | None, list[tuple[bytes, bytes]]]:
    """What is left of a damaged row file, as another one; and of which keys, [first, end), nothing
    is known any more.
    """
    found: list[list[Row]] = []
    lost: list[tuple[bytes, bytes]] = []
    if survey.file is not None:
        for i in range(len(survey.file.block_places)):
            if i in survey.bad_blocks:
                lost.append(survey.file.block_bounds(i))
            else:
                found.append(survey.file.block_rows(i))
    else:
        for data in frames(read_whole(fs, survey.path), survey.number, dictionaries):
            try:
                block = RowBlock(data)
                found.append([(block.key(at), block.value(at)) for at in range(block.n)])
            except (ValueError, struct.error):
                continue
    rows: list[Row] = []
    for part in sorted([part for part in found if _ascends(part)]):
        if not rows or part[0][0] > rows[-1][0]:
            rows += part
    if survey.file is None and len(rows) != meta.rows:
        lost.append((b"", b"\xff"))
    made = write_row_file(
        fs,
        row_path(directory, number),
        number,
        meta.age,
        (meta.after_lsn, meta.upto_lsn),
        rows,
        options,
        Health(),
    )
    return made, lost


def _ascends(rows: Sequence[Row]) -> bool:
    keys = [key for key, _ in rows]
    return keys == sorted(set(keys)) and b"" not in keys


def write_gaps(
    fs: FileSystem,
    directory: str,
    number: int,
    floor_lsn: int,
    gaps: Sequence[Gap],
    options: StoreOptions,
) -> SegmentMeta:
    """A segment of entries that stand for lost ones; gaps ascend by sid and position."""
    build = SegmentBuilder(
        fs,
        segment_path(directory, number),
        number,
        (floor_lsn, floor_lsn),
        options,
        Health(),
        Origin(0, number),
        {},
    )
    for at, gap in enumerate(gaps):
        build.begin_run(small=False)
        ident, pos = gap.first, gap.start
        while pos < gap.end:
            idents = stand_ins(ident, min(FILLER_ENTRIES, gap.end - pos))
            build.put(b"".join(map(stand_in, idents)), ident, pos, len(idents))
            pos += len(idents)
            ident = following(idents[-1])
        build.end_run(gap.last, [gap.start])
        if at + 1 == len(gaps) or gaps[at + 1].sid != gap.sid:
            build.end_stream(gap.sid, 0)
    return build.finish(last=True)


def nth_following(ident: Id, n: int) -> Id:
    """The ID that is ``n`` above another."""
    ms, seq = ident
    total = (ms << 64 | seq) + n
    return total >> 64, total & U64_MAX


def copy_log(fs: FileSystem, reader: LogReader, source: str, target: str) -> int:
    """Copy the log as far as ``reader`` could read it, and say that it is durable; bytes written.

    A file whose end is damaged ends there.
    """
    written = 0
    for at, head in enumerate(reader.chain):
        last = at + 1 == len(reader.chain)
        end = reader.end_offset if last else reader.chain[at + 1].predecessor_bytes
        data = read_whole(fs, live_path(source, head.number))[:end]
        if last:
            data += marker(head.epoch, head.number, reader.last_lsn)
        file = fs.create(live_path(target, head.number))
        try:
            file.pwrite(data, 0)
            file.fdatasync()
        finally:
            file.close()
        written += len(data)
    fs.fsync_dir(target)
    return written


def frames_beyond(fs: FileSystem, directory: str, last_lsn: int) -> list[tuple[str, Frame]]:
    """Every whole frame of the log with a record above ``last_lsn``, wherever it lies."""
    found: list[tuple[str, Frame]] = []
    for number in numbers(fs.listdir(directory), LIVE_SUFFIX):
        path = live_path(directory, number)
        file = fs.open(path)
        try:
            found += [
                (path, frame)
                for frame in frames_anywhere(file, 0, LOG_MAGIC)
                if frame.records and frame.last_lsn > last_lsn
            ]
        finally:
            file.close()
    return sorted(found, key=lambda pair: pair[1].first_lsn)
