"""A store looked at from end to end: every file, every frame, every reference.

Rules of this file:

1. Nothing is written, and nothing that is found ends the look: a finding is a ``Corruption`` that
   is kept instead of raised. What it takes with it is told as far as the indexes still know it.
2. Every byte of a segment or row file belongs to something that was checked: header, frames that
   an index names, origin, index, footer.
3. What frames hold is held against what indexes, filters, footers and the manifest say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from lsmstore import sidfilter
from lsmstore.block import Block, Run
from lsmstore.cache import BlockCache
from lsmstore.container import FOOTER_BYTES, HEADER_BYTES
from lsmstore.dictfile import dictionary_path, read_dictionary
from lsmstore.errors import Corruption, InputOutputError, StorageError
from lsmstore.files import row_path, segment_path
from lsmstore.fs import FileSystem
from lsmstore.manifest import CURRENT, read_current, read_manifest
from lsmstore.recovery import LogReader
from lsmstore.rowfile import RowFile
from lsmstore.segment import Segment
from lsmstore.version import Version

Progress = Callable[[int], None]
"""Is told of bytes that were looked at."""


@dataclass
class SegmentSurvey:
    """What was found in a segment."""

    number: int
    path: str
    size: int = 0
    damage: list[Corruption] = field(default_factory=list)
    segment: Segment | None = None
    """Open, if header, footer and index are whole."""
    runs: list[tuple[int, Run]] = field(default_factory=list)
    """What the pages that can be read say; in the survey of a store only where it is damaged."""
    bad_frames: set[int] = field(default_factory=set)
    """Where frames of blocks are damaged."""
    lost_pages: list[tuple[int, int]] = field(default_factory=list)
    """Between which sids, [first, end), streams of damaged pages lie."""


@dataclass
class RowSurvey:
    """What was found in a row file."""

    number: int
    path: str
    size: int = 0
    damage: list[Corruption] = field(default_factory=list)
    file: RowFile | None = None
    """Open, if header, footer, index and filter are whole."""
    bad_blocks: set[int] = field(default_factory=set)


@dataclass
class LogSurvey:
    """What was found in the log above the floor."""

    damage: list[Corruption] = field(default_factory=list)
    frames: int = 0
    last_lsn: int = 0


@dataclass
class StoreSurvey:
    """What was found in a directory."""

    path: str
    damage: list[Corruption] = field(default_factory=list)
    """Of CURRENT, of the manifest, of files that are missing and of dictionaries."""
    version: Version | None = None
    segments: dict[int, SegmentSurvey] = field(default_factory=dict)
    rows: dict[int, RowSurvey] = field(default_factory=dict)
    log: LogSurvey = field(default_factory=LogSurvey)
    leftovers: list[str] = field(default_factory=list)
    """Files that nothing names: what a crash may leave."""

    @property
    def findings(self) -> list[Corruption]:
        """All damage there is."""
        found = list(self.damage)
        for segment in self.segments.values():
            found += segment.damage
        for rows in self.rows.values():
            found += rows.damage
        return found + self.log.damage


def store_bytes(fs: FileSystem, path: str) -> int:
    """About how many bytes ``survey_store`` will look at."""
    total = 0
    try:
        names = [f"{path}/seg/{name}" for name in fs.listdir(f"{path}/seg")]
    except OSError:
        return 0
    for name in names:
        file = fs.open(name)
        total += file.size()
        file.close()
    return total


def survey_store(fs: FileSystem, path: str, progress: Progress) -> StoreSurvey:
    """Look at all of a directory that nobody writes to."""
    survey = StoreSurvey(path)
    try:
        number = read_current(fs, path)
        if number is None:
            raise Corruption(f"{path}/{CURRENT}", 0, "it is missing")
        survey.version = version = read_manifest(fs, path, number)
    except Corruption as error:
        survey.damage.append(error)
        return survey
    survey_files(fs, survey, version, progress)
    return survey


def survey_files(fs: FileSystem, survey: StoreSurvey, version: Version, progress: Progress) -> None:
    """Look at all files that ``version`` names, and at the log."""
    path = survey.path
    directory = f"{path}/seg"
    for meta in version.segments.values():
        segment = survey_segment(fs, directory, meta.number, version, progress)
        survey.segments[meta.number] = segment
        if segment.segment is not None:
            found = (segment.size, segment.segment.streams, segment.segment.entries)
            _compare(segment.damage, segment.path, found, (meta.bytes, meta.streams, meta.entries))
            interval = segment.segment.footer[4:6]
            _compare(segment.damage, segment.path, interval, (meta.after_lsn, meta.upto_lsn))
        if not segment.damage:
            segment.runs = []  # of a large store they are many; whoever wants them can read them
    for row_meta in version.row_files.values():
        rows = survey_rows(fs, directory, row_meta.number, version, progress)
        survey.rows[row_meta.number] = rows
        if rows.file is not None:
            _compare(
                rows.damage, rows.path, (rows.size, rows.file.rows), (row_meta.bytes, row_meta.rows)
            )
            interval = rows.file.footer[4:6]
            _compare(rows.damage, rows.path, interval, (row_meta.after_lsn, row_meta.upto_lsn))
    for dictionary, content in version.dictionaries.items():
        where = dictionary_path(directory, dictionary)
        try:
            if read_dictionary(fs, where, dictionary) != content:
                raise Corruption(where, 0, "the manifest has another dictionary of this number")
        except Corruption as error:
            survey.damage.append(error)
    survey.log = survey_log(fs, path, version)
    named = {segment_path("", number)[1:] for number in version.segments}
    named |= {row_path("", number)[1:] for number in version.row_files}
    named |= {dictionary_path("", number)[1:] for number in version.dictionaries}
    survey.leftovers = [
        f"{directory}/{name}" for name in fs.listdir(directory) if name not in named
    ]


def _compare(damage: list[Corruption], path: str, found: object, said: object) -> None:
    if found != said:
        damage.append(Corruption(path, 0, f"it has {found}, the manifest says {said}"))


def survey_segment(
    fs: FileSystem, directory: str, number: int, version: Version, progress: Progress
) -> SegmentSurvey:
    """Look at all of a segment."""
    path = segment_path(directory, number)
    survey = SegmentSurvey(number, path)
    try:
        segment = Segment(fs, path, number, version.dictionaries, BlockCache(0))
    except (Corruption, InputOutputError) as error:
        survey.damage.append(_as_corruption(error, path, 0))
        return survey
    survey.segment = segment
    survey.size = segment.size
    damage = survey.damage
    frames: dict[tuple[int, int], list[tuple[int, Run, int]]] = {}
    before = -1
    for i, (offset, length) in enumerate(segment.page_places):
        first, end = segment.page_sids(i)
        try:
            runs = list(segment.page_runs(i))
        except StorageError as error:
            damage.append(_as_corruption(error, path, offset))
            survey.lost_pages.append((first, end))
            continue
        progress(length)
        for sid, run in runs:
            if not (first <= sid < end and before <= sid):
                damage.append(Corruption(path, offset, f"stream {sid} is in the wrong place"))
            if not sidfilter.candidates([segment.filter], sid):
                damage.append(Corruption(path, offset, f"the filter does not know stream {sid}"))
            before = sid
            for index in range(run.n_blocks):
                place = run.place(index)
                frames.setdefault(place[:2], []).append((sid, run, index))
        survey.runs += runs
    for (offset, length), blocks in sorted(frames.items()):
        try:
            _check_frame(segment, offset, length, blocks)
        except StorageError as error:
            damage.append(_as_corruption(error, path, offset))
            survey.bad_frames.add(offset)
        progress(length)
    damage += _check_runs(path, survey.runs)
    pieces = [*segment.page_places, *frames]
    damage += _check_pieces(segment, pieces, survey.lost_pages)
    if not survey.lost_pages:
        counts = (
            len(segment.page_places),
            len({sid for sid, _ in survey.runs}),
            sum(map(len, frames.values())),
            sum([run.count for _, run in survey.runs]),
            len(frames),
            sum([run.raw_bytes for _, run in survey.runs]),
        )
        if counts != segment.footer.counts:
            why = f"it has {counts}, its footer says {segment.footer.counts}"
            damage.append(Corruption(path, segment.size - FOOTER_BYTES, why))
    return survey


def _check_frame(
    segment: Segment, offset: int, length: int, blocks: list[tuple[int, Run, int]]
) -> None:
    """Raise what is wrong with a frame and the blocks in it."""
    raw = segment.read_frame(offset, length)
    end = 0
    for sid, run, index in blocks:
        _, _, raw_offset, raw_len, first_pos = run.place(index)
        if raw_offset != end:
            raise Corruption(segment.path, offset, f"a block of stream {sid} is in another place")
        end = raw_offset + raw_len
        data = raw[raw_offset:end]
        try:
            block = Block.sealed(data, first_pos)
        except ValueError as error:
            raise Corruption(segment.path, offset, str(error)) from None
        ids = block.ids()
        if block.count != run.block_count(index) or ids != sorted(set(ids)):
            raise Corruption(segment.path, offset, f"a block of stream {sid} is not as it was")
        after = run.last if index + 1 == run.n_blocks else run.first_id(index + 1)
        last_fits = ids[-1] == after if index + 1 == run.n_blocks else ids[-1] < after
        if ids[0] != run.first_id(index) or not last_fits:
            raise Corruption(segment.path, offset, f"IDs of stream {sid} are not as its index says")
    if end != len(raw):
        raise Corruption(segment.path, offset, "a frame holds more than its blocks")


def _check_runs(path: str, runs: list[tuple[int, Run]]) -> Iterator[Corruption]:
    """Runs of a stream ascend."""
    for (sid, run), (next_sid, after) in pairwise(runs):
        if sid == next_sid and (run.end_pos > after.first_pos or run.last >= after.first_id(0)):
            yield Corruption(path, 0, f"runs of stream {sid} overlap")


def _check_pieces(
    file: Segment | RowFile, pieces: list[tuple[int, int]], lost: object
) -> Iterator[Corruption]:
    """Every byte belongs to something, unless something that is lost names more."""
    path, footer = file.path, file.footer
    try:
        file.origin()
    except StorageError as error:
        yield _as_corruption(error, path, footer.origin_offset)
    known = [
        (0, HEADER_BYTES),
        *pieces,
        (footer.origin_offset, footer.origin_len),
        (footer.index_offset, footer.index_len),
        (file.size - FOOTER_BYTES, FOOTER_BYTES),
    ]
    at = 0
    for offset, length in sorted(known):
        if offset != at and not lost:
            yield Corruption(path, min(at, offset), "a frame is where none is known, or missing")
        at = max(at, offset + length)
    if at != file.size:
        yield Corruption(path, at, f"the file has {file.size} bytes")


def survey_rows(
    fs: FileSystem, directory: str, number: int, version: Version, progress: Progress
) -> RowSurvey:
    """Look at all of a row file."""
    path = row_path(directory, number)
    survey = RowSurvey(number, path)
    try:
        file = RowFile(fs, path, number, version.dictionaries, BlockCache(0))
    except (Corruption, InputOutputError) as error:
        survey.damage.append(_as_corruption(error, path, 0))
        return survey
    survey.file = file
    survey.size = file.size
    damage = survey.damage
    rows = tombstones = 0
    last = b""
    for i, (offset, length) in enumerate(file.block_places):
        first, end = file.block_bounds(i)
        try:
            found = file.block_rows(i)
        except StorageError as error:
            damage.append(_as_corruption(error, path, offset))
            survey.bad_blocks.add(i)
            continue
        progress(length)
        keys = [key for key, _ in found]
        if keys[0] != first or keys != sorted(set(keys)) or keys[-1] >= end:
            damage.append(Corruption(path, offset, "keys are not as the index says"))
        if not all(map(file.may_hold, keys)):
            damage.append(Corruption(path, offset, "the filter does not know a key"))
        rows += len(found)
        tombstones += sum([value is None for _, value in found])
        last = keys[-1]
    counts = file.footer.counts
    if not survey.bad_blocks:
        if (len(file.block_places), rows, tombstones) != counts[:3]:
            why = f"it has {rows} rows, its footer says {counts[1]}"
            damage.append(Corruption(path, file.size - FOOTER_BYTES, why))
        if last + b"\0" != file.block_bounds(len(file.block_places) - 1)[1]:
            damage.append(Corruption(path, file.footer.index_offset, "its last key is another"))
    pieces = [*file.block_places, (counts[3], counts[4])]
    damage += _check_pieces(file, pieces, survey.bad_blocks)
    return survey


def survey_log(fs: FileSystem, path: str, version: Version) -> LogSurvey:
    """Look at the log above the floor."""
    survey = LogSurvey(last_lsn=version.floor_lsn)
    reader = LogReader(
        fs,
        f"{path}/wal",
        floor_lsn=version.floor_lsn,
        epoch=version.epoch,
        epoch_file=version.epoch_file,
        dictionaries=version.dictionaries,
    )
    try:
        for _ in reader.frames():
            survey.frames += 1
    except StorageError as error:
        survey.damage.append(_as_corruption(error, f"{path}/wal", 0))
    survey.last_lsn = reader.last_lsn
    return survey


def _as_corruption(error: StorageError, path: str, offset: int) -> Corruption:
    """A finding; what the disk refuses to read is one, too."""
    return error if isinstance(error, Corruption) else Corruption(path, offset, str(error))
