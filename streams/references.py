"""Which entries the groups of a stream still refer to, and what a trim that minds it takes out.

An entry is *referenced* if some group has yet to read it (its ID is above the lowest last-delivered
ID of all groups) or if it is pending in some group; where there are no groups nothing is.

Rules: deciding only reads, blocks from disk included, so that nothing has changed where a block is
damaged; ``TrimPlan.apply`` cannot fail any more. What is looked at are the pending rows that lie in
the range, in ID order over all groups, never entries one by one. A pending row whose entry is gone
refers to nothing here, and a trim leaves it.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.stdlib import abort, free, malloc
from cython.cimports.lsmstore.block import id_less
from cython.cimports.lsmstore.buf import U64_MAX

from streams.group import Group
from streams.journal import Journal
from streams.pending import PendingList
from streams.stream import Stream

# The most that the records of a plan take: beside runs and kept rows, and for one of them.
PLAN_BYTES = 160
PART_BYTES = 24


@cython.final
@cython.cclass
class References:
    """The references to the entries of one stream; it must not change meanwhile."""

    def __cinit__(self) -> None:
        self.places = cython.NULL

    def __init__(self, stream: Stream, apart: Group | None = None) -> None:
        """``apart``: do not count what is pending in this group."""
        group: Group
        self.stream = stream
        self.lists = []
        self.read_ms = U64_MAX
        self.read_seq = U64_MAX
        for group in stream.groups.values():
            if id_less(group.last_ms, group.last_seq, self.read_ms, self.read_seq):
                self.read_ms = group.last_ms
                self.read_seq = group.last_seq
            if group is not apart and group.pending.length > 0:
                self.lists.append(group.pending)

    def __dealloc__(self) -> None:
        free(self.places)

    def hold(self, ms: uint64_t, seq: uint64_t) -> bool:
        """Whether an entry with this ID is referenced, should there be one."""
        return self.is_unread(ms, seq) or self.is_pending(ms, seq)

    def is_unread(self, ms, seq):
        """Whether some group has yet to read this ID."""
        return id_less(self.read_ms, self.read_seq, ms, seq)

    def is_pending(self, ms, seq):
        """Whether this ID is pending in some group."""
        row: Row
        pending: PendingList
        for pending in self.lists:
            if pending.find(ms, seq, cython.address(row)):
                return True
        return False

    def start(self, ms, seq):
        """Let ``next_row`` begin with the first pending row that is not below ``ms-seq``."""
        i: cython.Py_ssize_t
        pending: PendingList
        place: cython.pointer(Place)
        if self.places == cython.NULL:
            self.places = cython.cast(
                cython.pointer(Place), malloc((len(self.lists) + 1) * cython.sizeof(Place))
            )
            if self.places == cython.NULL:
                abort()
        for i in range(len(self.lists)):
            pending = self.lists[i]
            place = self.places + i
            pending.seek(ms, seq, cython.address(place.cursor))
            place.ended = not pending.next_row(
                cython.address(place.cursor), -1, cython.address(place.row)
            )
        return 0

    def next_row(self):
        """Go to the next ID that is pending in some group, ``ms`` and ``seq``; False at the end."""
        i: cython.Py_ssize_t
        pending: PendingList
        place: cython.pointer(Place)
        found: cython.bint = False
        for i in range(len(self.lists)):
            place = self.places + i
            if not place.ended and (
                not found or id_less(place.row.ms, place.row.seq, self.ms, self.seq)
            ):
                self.ms = place.row.ms
                self.seq = place.row.seq
                found = True
        if not found:
            return False
        for i in range(len(self.lists)):
            place = self.places + i
            if not place.ended and place.row.ms == self.ms and place.row.seq == self.seq:
                pending = self.lists[i]
                place.ended = not pending.next_row(
                    cython.address(place.cursor), -1, cython.address(place.row)
                )
        return True

    def walk(self):
        """Let ``next_referenced`` begin with the first live entry."""
        stream: Stream = self.stream
        stream.need_first()
        self.start(stream.first_ms, stream.first_seq)
        self.after_pos = stream.mark_pos
        self.unread_pos = stream.end_pos
        if self.read_seq < U64_MAX:
            self.unread_pos = stream.seek(self.read_ms, self.read_seq + 1)
        elif self.read_ms < U64_MAX:
            self.unread_pos = stream.seek(self.read_ms + 1, 0)
        return 0

    def row_is_at(self, pos):
        """Whether the row that ``next_row`` gave is of the live entry at ``pos``, as far as can be
        told from memory.
        """
        ms: uint64_t = 0
        seq: uint64_t = 0
        stream: Stream = self.stream
        if pos >= self.unread_pos or stream.is_deleted(pos) or stream.resident_block(pos) is None:
            return False
        stream.id_of(pos, cython.address(ms), cython.address(seq))
        return ms == self.ms and seq == self.seq

    def next_referenced(self, pos):
        """The first referenced live entry from ``pos`` on, ``unread_pos`` where no row comes first.

        REQUIRES: ``walk`` was called, and ``pos`` is not below that of the call before.
        """
        at: uint64_t
        stream: Stream = self.stream
        if pos >= self.unread_pos:
            return pos
        while self.after_pos <= pos:
            if not self.next_row() or self.is_unread(self.ms, self.seq):
                self.after_pos = self.unread_pos + 1
                break
            at = self.after_pos  # most often it is the entry behind the one before
            if not self.row_is_at(at):
                at = stream.find(self.ms, self.seq)
            if at != U64_MAX:
                self.after_pos = at + 1
        return self.after_pos - 1


@cython.final
@cython.cclass
class TrimPlan:
    """What a trim with DELREF or ACKED takes out of a stream that has groups.

    ``by_id``, ``threshold`` (the lowest ID to stay, or (length, 0)), ``approximate`` and ``limit``
    (0: none) are those of ``Stream.trim_target``; ``acked`` spares what is referenced. ``new`` is
    the entry that is about to be added, as (ms, seq, whether it starts a virtual node).
    May read blocks. Source: XTRIM, XADD.
    """

    def __init__(
        self,
        stream: Stream,
        by_id: bool,
        threshold: tuple[int, int],
        approximate: bool,
        limit: int,
        acked: bool,
        new: tuple[int, int, bool] | None = None,
    ) -> None:
        self.stream = stream
        self.acked = acked
        self.grows = new is not None
        if new is not None:
            self.new_ms, self.new_seq, self.new_node = new
        self.runs = []
        self.forgotten = None
        self.count = 0
        self.references = References(stream)
        stream.need_first()
        self.choose(by_id, threshold[0], threshold[1], approximate, limit)
        if not acked:
            self.find_forgotten()

    def choose(self, by_id, ms_or_length, seq, approximate, limit):
        """Settle ``runs``: what goes, as [start, end) of positions, dead ones included."""
        stream: Stream = self.stream
        references: References = self.references
        pos: uint64_t = stream.mark_pos
        end: uint64_t
        live: uint64_t
        left: uint64_t = stream.length + self.grows
        stop: uint64_t = stream.end_pos + self.grows
        if self.acked:
            references.walk()
        if by_id and (not self.grows or not id_less(self.new_ms, self.new_seq, ms_or_length, seq)):
            stop = stream.seek(ms_or_length, seq)
        if not approximate:
            if by_id:
                self.take(pos, stop, left)
            elif left > ms_or_length:
                self.take(pos, stop, left - ms_or_length)
            return 0
        while pos < stop:
            if self.acked and references.unread_pos <= pos < stream.end_pos:
                break
            end = self.node_end(pos)
            live = end - pos
            if end > stream.end_pos:
                live -= stream.deleted_between(pos, stream.end_pos)
            else:
                live -= stream.deleted_between(pos, end)
            if limit > 0 and self.count + live > cython.cast(uint64_t, limit):
                break
            if by_id:
                if end > stop:
                    break
            elif left <= ms_or_length or left - live < ms_or_length:
                break
            left -= self.take(pos, end, live)
            pos = end
        return 0

    def take(self, start, stop, wanted):
        """Let up to ``wanted`` entries of [start, stop) go, the first that may; how many do."""
        stream: Stream = self.stream
        pos: uint64_t = start
        end: uint64_t
        spared: uint64_t
        gone: uint64_t = 0
        live: uint64_t
        real_stop: uint64_t = stop if stop < stream.end_pos else stream.end_pos
        if self.acked and real_stop > self.references.unread_pos:
            real_stop = self.references.unread_pos
        while pos < real_stop and gone < wanted:
            spared = real_stop
            if self.acked:
                spared = self.references.next_referenced(pos)
                if spared > real_stop:
                    spared = real_stop
            end = stream.skip_live(pos, wanted - gone)
            if end > spared:
                end = spared
            live = end - pos - stream.deleted_between(pos, end)
            if live > 0:
                self.add_run(pos, end)
                gone += live
            pos = spared + 1
        if stop > stream.end_pos and gone < wanted:
            if not self.acked or not self.references.hold(self.new_ms, self.new_seq):
                self.add_run(stream.end_pos, stream.end_pos + 1)
                gone += 1
        self.count += gone
        return gone

    def add_run(self, start, end):
        """Note that [start, end) goes, with the run before it where only dead ones are between."""
        first: uint64_t
        before: uint64_t
        if len(self.runs) > 0:
            first, before = self.runs[len(self.runs) - 1]
            if start - before == self.stream.deleted_between(before, start):
                self.runs[len(self.runs) - 1] = (first, end)
                return 0
        self.runs.append((start, end))
        return 0

    def node_end(self, pos):
        """Where the virtual node of ``pos`` ends, with the new entry in it if it goes there."""
        stream: Stream = self.stream
        end: uint64_t
        if pos == stream.end_pos:
            return pos + 1
        end = stream.next_node_start(pos)
        if self.grows and not self.new_node:
            if stream.end_pos - end == stream.deleted_between(end, stream.end_pos):
                return stream.end_pos + 1
        return end

    def find_forgotten(self):
        """Settle which pending rows go with the entries: a range, and the rows of it that stay."""
        stream: Stream = self.stream
        references: References = self.references
        last_ms: uint64_t = self.new_ms
        last_seq: uint64_t = self.new_seq
        end: uint64_t
        rows: cython.Py_ssize_t = 0
        kept: list = []
        first_ms: uint64_t = stream.first_ms
        first_seq: uint64_t = stream.first_seq
        if len(self.runs) == 0:
            return 0
        end = self.runs[0][1]
        if end <= stream.end_pos:
            stream.id_of(
                stream.previous_live(end), cython.address(last_ms), cython.address(last_seq)
            )
        if stream.length == 0:
            first_ms = last_ms
            first_seq = last_seq
        references.start(first_ms, first_seq)
        while references.next_row():
            if id_less(last_ms, last_seq, references.ms, references.seq):
                break
            rows += 1
            if stream.find(references.ms, references.seq) == U64_MAX and not (
                end > stream.end_pos
                and references.ms == self.new_ms
                and references.seq == self.new_seq
            ):
                kept.append((references.ms, references.seq))
        if rows > len(kept):
            self.forgotten = ((first_ms, first_seq), (last_ms, last_seq), kept)
        return 0

    @property
    def record_bytes(self) -> int:
        """The most that the records of ``apply`` take."""
        kept = 0 if self.forgotten is None else len(self.forgotten[2])
        return PLAN_BYTES + PART_BYTES * (len(self.runs) + kept)

    def apply(self, journal: Journal) -> None:
        """Do it. REQUIRES: ``new`` has been added, nothing else has changed."""
        stream: Stream = self.stream
        runs: list = self.runs
        if self.forgotten is not None:
            first, last, kept = self.forgotten
            journal.forget(stream, first, last, kept)
        if runs and runs[0][0] == stream.mark_pos:
            journal.trim(stream, stream.next_live(runs[0][1]))
            runs = runs[1:]
        if runs:
            journal.delete_runs(stream, runs, (0, 0))
