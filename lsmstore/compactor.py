"""A merge as the store sees it: asked for, run elsewhere, installed in one edit.

    begin      on the loop: what to merge, as of now
    run        on a thread, which waits for the process that does it and looks at what it made
    install    on the loop, while no flush is under way
    abandon    on the loop: what was made goes away

Rules of this file:

1. A merge that failed in whatever way (killed, no memory, no room on the disk, an answer that
   makes no sense) leaves no trace but a figure. What it found damaged is said, and never deleted.
2. Flushes go on while it runs. Where a stream died meanwhile in what was merged, up to its first
   run that is alive, it is dead in the result as well; an input that was dropped meanwhile is left
   alone.
3. Nobody is made to wait for a merge: runs of old files serve whoever holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from lsmstore.compaction import Choice, Kind
from lsmstore.errors import Corruption, DiskFull, StorageError
from lsmstore.files import Files
from lsmstore.marks import GONE
from lsmstore.merge import MergeRequest, MergeResult, remove_outputs
from lsmstore.rowfile import RowFile
from lsmstore.segment import Segment
from lsmstore.version import Edit

SPARE_NUMBERS: Final = 2


class MergeFailed(StorageError):
    """The process that merges did not do it; nothing has changed."""


class Runner(Protocol):
    """Who carries a merge out."""

    def run(self, request: MergeRequest) -> MergeResult:
        """Do it, blocking. Raises Corruption, DiskFull or MergeFailed."""

    def cancel(self) -> None:
        """End what is running; ``run`` fails then. From any thread."""


class Compaction:
    """One merge. There is at most one at a time."""

    def __init__(
        self,
        files: Files,
        choice: Choice,
        cuts: Mapping[int, Sequence[int]],
        install: Callable[[Compaction], None],
        ended: Callable[[], None],
    ) -> None:
        """``cuts``: see ``MergeRequest``."""
        self._files = files
        self._install = install
        self._ended = ended
        self.choice = choice
        self.edit = Edit()
        self.segments: list[Segment] = []
        self.row_file: RowFile | None = None
        self.result = MergeResult()
        self.input_bytes = 0
        self.replaced: frozenset[int] = frozenset()
        """Segments whose runs are to be exchanged for those of new ones."""
        self._inputs: dict[int, Segment] = {}
        self._first: dict[tuple[int, int], int | None] = {}
        self.request = self._make_request(cuts)

    @property
    def output_bytes(self) -> int:
        """What was written."""
        rows = 0 if self.result.rows is None else self.result.rows.bytes
        return rows + sum([meta.bytes for meta in self.result.segments])

    def run(self, runner: Runner) -> None:
        """Have it done and open what was made. Blocking; meant for a thread."""
        files = self._files
        try:
            self.result = runner.run(self.request)
        except Corruption as error:
            if any(number not in files.version.segments for number in self._inputs):
                raise MergeFailed("what was to be merged was dropped meanwhile") from error
            raise
        try:
            for meta in self.result.segments:
                segment = files.open_segment(meta.number)
                self.segments.append(segment)
                if meta.number not in self.request.outputs or segment.size != meta.bytes:
                    raise MergeFailed(f"{segment.path} is not what the merge says it made")
            if self.result.rows is not None:
                if self.result.rows.number not in self.request.outputs:
                    raise MergeFailed("the merge made another row file than was asked for")
                self.row_file = files.open_rows(self.result.rows.number)
            if self.segments or self.row_file is not None:
                files.fs.fsync_dir(files.directory)
        except Corruption as error:
            raise MergeFailed(f"the merge made a file that cannot be read: {error}") from error
        except OSError as error:
            raise files.health.fail(error, f"sync of {files.directory}") from error
        self._dead_below()

    def install(self) -> None:
        """Make the store see what was made, durably. On the loop; no flush may be under way."""
        try:
            self._plan_edit()
            self._install(self)
        except DiskFull:
            self.abandon()
            raise
        self._ended()

    def abandon(self) -> None:
        """It failed, or is not wanted any more: remove what there is of it."""
        self.segments.clear()
        self.row_file = None
        try:
            remove_outputs(self._files.fs, self.request)
        except OSError as error:
            raise self._files.health.fail(error, "removal of what a merge left") from error
        finally:
            self._ended()

    # -- inner parts ----------------------------------------------------------------------------

    def _make_request(self, cuts: Mapping[int, Sequence[int]]) -> MergeRequest:
        files, choice = self._files, self.choice
        version, options = files.version, files.options
        metas: list[tuple[int, int]]
        age = 0
        if choice.kind is Kind.ROWS:
            rows = [version.row_files[number] for number in choice.files]
            metas = [(meta.after_lsn, meta.upto_lsn) for meta in rows]
            self.input_bytes = sum([meta.bytes for meta in rows])
            outputs = 1
            age = rows[0].age
            oldest = files.row_files[-1].number
            keep_tombstones = oldest not in choice.files
        else:
            segments = [version.segments[number] for number in choice.files]
            metas = [(meta.after_lsn, meta.upto_lsn) for meta in segments]
            size = self.input_bytes = sum([meta.bytes for meta in segments])
            outputs = SPARE_NUMBERS + (size // options.own_segment_bytes_max if choice.sid else 0)
            keep_tombstones = True
            self._inputs = {number: files.segments[number] for number in choice.files}
        return MergeRequest(
            files.directory,
            choice.kind,
            choice.files,
            tuple([files.take_number() for _ in range(outputs)]),
            choice.sid,
            (min([meta[0] for meta in metas]), max([meta[1] for meta in metas])),
            tuple([file.number for file in files.row_files]),
            {number: tuple(version.dead.get(number, ())) for number in self._inputs},
            cuts,
            dict(version.dictionaries),
            keep_tombstones,
            options,
            age,
        )

    def _newly_dead(self, number: int) -> set[int]:
        """Streams that died in an input since it was asked for."""
        version = self._files.version
        if number not in version.segments:
            gone = {sid for sid, _ in self._inputs[number].all_runs()}
            return gone.difference(self.request.dead[number])
        return version.dead.get(number, set()).difference(self.request.dead[number])

    def _dead_below(self) -> dict[int, int]:
        """Of streams that died meanwhile in some of what was merged: below which position."""
        died = {number: self._newly_dead(number) for number in self._inputs}
        found: dict[int, int] = {}
        for sid in set().union(*died.values()):
            if self.choice.sid in {0, sid}:
                alive = [self._first_pos(number, sid) for number in died if sid not in died[number]]
                found[sid] = min([pos for pos in alive if pos is not None], default=GONE)
        return found

    def _first_pos(self, number: int, sid: int) -> int | None:
        """Where a stream begins in an input; None if nothing of it was taken from there."""
        if (number, sid) not in self._first:
            runs = [] if sid in self.request.dead[number] else self._inputs[number].runs(sid)
            self._first[number, sid] = runs[0].first_pos if runs else None
        return self._first[number, sid]

    def _plan_edit(self) -> None:
        """What changes in the manifest."""
        files, edit, choice = self._files, self.edit, self.choice
        version = files.version
        edit.next_file(files.next_file)
        if choice.kind is Kind.ROWS:
            for number in choice.files:
                edit.drop_rows(number)
            if self.result.rows is not None:
                edit.add_rows(self.result.rows)
            return
        for meta in self.result.segments:
            edit.add_segment(meta)
        ends = self._dead_below()
        for segment in self.segments:
            sizes: dict[int, int] = {}
            for sid, end in ends.items():
                runs = segment.runs(sid)
                if runs and runs[-1].end_pos <= end:
                    raw_bytes = sum([run.raw_bytes for run in runs])
                    sizes[sid] = int(segment.stored_share * raw_bytes)
            if sizes:
                edit.dead(segment.number, sum(sizes.values()), sizes)
        for number in choice.files:
            meta_before = version.segments.get(number)
            if meta_before is None:
                continue
            if choice.kind is not Kind.GRADUATE:
                edit.drop_segment(number)
            elif choice.sid not in version.dead.get(number, ()):
                size = sum([run.bytes for run in meta_before.large if run.sid == choice.sid])
                edit.dead(number, size, [choice.sid])
        self.replaced = frozenset(choice.files)
