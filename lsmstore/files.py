"""The files that the store reads from, which of them may hold a stream, and those on their way out.

Rules of this file:

1. The loop changes what is here; a flush or a merge on a thread only reads it.
2. A file that nothing names any more is removed on a thread, a few at a time. Whoever still reads
   it has it open and goes on; the disk gets its space back when the last reader is gone, and that,
   too, happens on a thread: freeing a large file takes the disk some time.
3. A file that is ``held`` keeps its name until it is let go: a checkpoint is about to link it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from lsmstore import sidfilter
from lsmstore.cache import BlockCache
from lsmstore.dictionaries import DictionaryChooser
from lsmstore.fs import File, FileSystem
from lsmstore.health import Health
from lsmstore.options import StoreOptions
from lsmstore.rowfile import RowFile
from lsmstore.segment import Segment
from lsmstore.version import Version

OLDEST_MAX: Final = 1 << 16
REMOVED_AT_ONCE: Final = 4


def segment_path(directory: str, number: int) -> str:
    return f"{directory}/{number:08d}.seg"


def row_path(directory: str, number: int) -> str:
    return f"{directory}/{number:08d}.row"


@dataclass
class Files:
    """What the store reads from: shared by store, flush and merge, changed on the loop only."""

    fs: FileSystem
    directory: str
    options: StoreOptions
    health: Health
    version: Version
    cache: BlockCache
    segments: dict[int, Segment] = field(default_factory=dict)
    row_files: list[RowFile] = field(default_factory=list)  # newest first
    next_file: int = 1
    obsolete: list[str] = field(default_factory=list)
    """Files that nothing names any more, to be removed where it holds nobody up."""
    unread: deque[File] = field(default_factory=deque)
    """Descriptors whose last reader is gone, to be closed likewise."""
    held: frozenset[str] = frozenset()
    """Files that are not to be removed yet."""
    oldest_end: dict[int, int] = field(default_factory=dict)
    """By sid: where the stream's oldest living run ends, at least: below, no run can die."""
    chooser: DictionaryChooser = field(init=False)
    """Which dictionaries flushes compress with."""
    _filtered: tuple[list[Segment], list[bytes]] = ([], [])

    def __post_init__(self) -> None:
        level = self.options.compression_level
        self.chooser = DictionaryChooser(self.version.dictionaries, self.options, (level,))

    def open_segment(self, number: int) -> Segment:
        """Open a segment for reading; it is not asked for streams before ``changed``."""
        path = segment_path(self.directory, number)
        return Segment(
            self.fs, path, number, self.version.dictionaries, self.cache, self.unread.append
        )

    def open_rows(self, number: int) -> RowFile:
        """Open a row file for reading."""
        path = row_path(self.directory, number)
        return RowFile(self.fs, path, number, self.version.dictionaries, self.cache)

    def changed(self) -> None:
        """``segments`` is another set now."""
        segments = list(self.segments.values())
        self._filtered = segments, [segment.filter for segment in segments]

    def holders(self, sid: int) -> list[Segment]:
        """The segments that may hold a stream."""
        segments, filters = self._filtered
        return [segments[i] for i in sidfilter.candidates(filters, sid)]

    def note_oldest(self, sid: int, end_pos: int) -> None:
        """No living run of the stream ends below ``end_pos``."""
        if len(self.oldest_end) > OLDEST_MAX:
            self.oldest_end.clear()
        self.oldest_end[sid] = end_pos

    @property
    def is_untidy(self) -> bool:
        """Whether there is something for ``tidy`` to do."""
        return bool(self.unread) or any(path not in self.held for path in self.obsolete)

    def tidy(self, at_once: int = REMOVED_AT_ONCE) -> None:
        """Remove some of what nothing names any more, and close what nobody reads any more."""
        while self.unread:
            self.unread.popleft().close()
        held = self.held
        removable = [path for path in self.obsolete if path not in held]
        for path in removable[:at_once]:  # the oldest first: whatever replaced them is still there
            self.obsolete.remove(path)
            try:
                self.fs.unlink(path)
            except OSError as error:
                raise self.health.fail(error, f"removal of {path}") from error

    def take_number(self) -> int:
        """A file number that was never used."""
        number = self.next_file
        self.next_file += 1
        return number
