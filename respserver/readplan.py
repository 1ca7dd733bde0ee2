"""What each stream of a read gives: pending entries first, then positions of the stream.

Rules: nothing is changed here. What has to be read from disk is read, or named for a client that
can wait for it. A read goes on from stream to stream until MAXCOUNT entries or MAXSIZE bytes are
reached: once there is an entry in the reply, both are asked before each stream and before each
entry. A stream's key counts when the stream is begun, the length of its array behind its entries.

Pending entries of ``>`` are due by CLAIM, or by the group's idle timeout; released ones (XNACK)
come first, then the longest idle. Those whose entry is gone are passed over; where the group has an
idle timeout they are dropped once they are due, at most GONE_MAX at a time.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, realloc
from cython.cimports.lsmstore.buf import U64_MAX

from lsmstore.block import Block
from respserver.readargs import ReadArgs
from respserver.scan import Args
from streams.group import Consumer, Group
from streams.stream import Stream

ROWS_KEPT_MAX = cython.declare(cython.Py_ssize_t, 16384)
LOOK_FIRST = cython.declare(uint64_t, 64)  # of so many entries, where MAXSIZE may end it soon


@cython.cclass
class ReadPlan(ReadArgs):
    """A read whose effects and reply are settled."""

    def __cinit__(self) -> None:
        self.rows = cython.NULL
        self.positions = cython.NULL
        self.rows_cap = 0
        self.aged = cython.NULL
        self.aged_cap = 0
        self.gone = cython.cast(
            cython.pointer(Row), realloc(cython.NULL, GONE_MAX * cython.sizeof(Row))
        )
        if self.gone == cython.NULL:
            abort()

    def __dealloc__(self) -> None:
        free(self.rows)
        free(self.positions)
        free(self.aged)
        free(self.gone)

    def plan(self, context, session):
        """Settle what each stream gives; how many stand in the reply, -2 if blocks are cold."""
        i: cython.Py_ssize_t
        served: cython.Py_ssize_t = 0
        stream: Stream
        self.rows_n = 0
        self.gone_n = 0
        self.entries = 0
        self.size = 0
        self.proto = session.proto
        self.record_bytes = 0
        self.visited = 0
        for i in range(self.n):
            if self.is_spent():
                break
            self.visited = i + 1
            if self.plan_part(context, i):
                return -2
            served += self.parts[i].shown
        if served == 0 and self.block_ms >= 0:
            for i in range(self.n):
                if self.parts[i].idle_ms >= 0 and self.find_due(context, i):
                    return -2
        if self.grouped:
            # beside rows, each stream may need a new consumer and a clock that is put right
            self.record_bytes += self.visited * (
                2 * RECORD_BYTES + context.args.n[self.group_at + 1]
            )
            context.reserve(self.record_bytes, False)
            for i in range(self.visited):
                stream = self.streams[i]
                stream.need_first()
        return served

    def plan_part(self, context, i):
        """Settle what one stream gives; whether blocks are cold."""
        part: cython.pointer(Part) = self.parts + i
        stream: Stream = self.streams[i]
        part.shown = False
        part.idle_ms = -1
        part.rows_at = self.rows_n
        part.rows_n = 0
        part.gone_at = self.gone_n
        part.gone_n = 0
        part.n = 0
        if stream is None:
            return 0
        before: int64_t = self.size
        self.size += self.head_size(context.args.n[self.first + i])
        if part.kind == HISTORY:
            part.shown = True
            if self.plan_history(context, i):
                return 1
        else:
            if part.kind == NEW and self.plan_due(context, i):
                return 1
            if self.plan_entries(context, i):
                return 1
        if part.shown:
            self.size += 3 + num_len(part.rows_n + part.n)
        else:
            self.size = before
        return 0

    # Pending entries

    def plan_history(self, context, i):
        """What is pending for the consumer after an ID; whether blocks are cold."""
        args: Args = context.args
        part: cython.pointer(Part) = self.parts + i
        stream: Stream = self.streams[i]
        group: Group = self.groups[i]
        consumer: Consumer = group.find_consumer(
            args.p[self.group_at + 1], args.n[self.group_at + 1]
        )
        at: Cursor
        k: cython.Py_ssize_t
        n: cython.Py_ssize_t = 0
        limit: uint64_t = self.limit(0)
        look: uint64_t = limit
        entries: int64_t = self.entries
        size: int64_t = self.size
        if part.ms == U64_MAX and part.seq == U64_MAX:
            return 0
        if self.maxsize > 0 and look > LOOK_FIRST:
            look = LOOK_FIRST
        while True:
            n = 0
            if consumer is not None:
                group.pending.seek(
                    part.ms + (1 if part.seq == U64_MAX else 0), part.seq + 1, cython.address(at)
                )
            while consumer is not None and cython.cast(uint64_t, n) < look:
                self.want_rows(self.rows_n + n + 1)
                if not group.pending.next_row(
                    cython.address(at), consumer.cidx, self.rows + self.rows_n + n
                ):
                    break
                n += 1
            more: cython.bint = cython.cast(uint64_t, n) == look and look < limit
            if i > 0:
                n = self.add_given(i, n, look)
                more = more or (cython.cast(uint64_t, n) == look and look < limit)
            if context.load_rows_or_park(stream, self.rows + self.rows_n, n):
                return 1
            self.entries = entries
            self.size = size
            part.rows_n = 0
            for k in range(self.rows_n, self.rows_n + n):
                if self.is_spent():
                    more = False
                    break
                self.positions[k] = stream.find(self.rows[k].ms, self.rows[k].seq)
                self.count_row(stream, k, 0, False)
                part.rows_n += 1
            if not more:
                break
            look *= 4  # MAXSIZE leaves room for more
        self.rows_n += part.rows_n
        self.record_bytes += RECORD_BYTES + CLAIM_RECORD_BYTES * part.rows_n
        return 0

    def add_given(self, i, n, limit):
        """Put what the parts before give of the same stream among ``n`` rows; how many then.

        Those are pending for the consumer once this part is served. The first ``limit`` stay.
        """
        part: cython.pointer(Part)
        stream: Stream = self.streams[i]
        block: Block
        k: cython.Py_ssize_t
        j: cython.Py_ssize_t
        pos: uint64_t
        ms: uint64_t = 0
        seq: uint64_t = 0
        found: set = set()
        gone: set = set()
        for k in range(i):
            part = self.parts + k
            if self.streams[k] is not stream or part.kind != NEW:
                continue
            for j in range(part.rows_at, part.rows_at + part.rows_n):
                found.add((self.rows[j].ms, self.rows[j].seq))
            for j in range(part.gone_at, part.gone_at + part.gone_n):
                gone.add((self.gone[j].ms, self.gone[j].seq))
            for pos in range(part.start, part.stop if part.n > 0 and not self.noack else 0):
                if not stream.is_deleted(pos):
                    block = stream.block_at(pos)
                    block.id_at(pos - block.first_pos, cython.address(ms), cython.address(seq))
                    found.add((ms, seq))
        if not found and not gone:
            return n
        part = self.parts + i
        after: tuple = (part.ms, part.seq)
        for k in range(n):
            found.add((self.rows[self.rows_n + k].ms, self.rows[self.rows_n + k].seq))
        merged: list = sorted([id for id in found if id > after and id not in gone])
        n = len(merged)
        if cython.cast(uint64_t, n) > limit:
            n = limit
        self.want_rows(self.rows_n + n)
        for k in range(n):
            self.rows[self.rows_n + k].ms, self.rows[self.rows_n + k].seq = merged[k]
        return n

    def plan_due(self, context, i):
        """Which pending entries are delivered again; whether blocks are cold."""
        part: cython.pointer(Part) = self.parts + i
        stream: Stream = self.streams[i]
        group: Group = self.groups[i]
        pos: uint64_t
        age_max: uint64_t = OWNED - 1
        limit: uint64_t
        want: uint64_t
        n: cython.Py_ssize_t = 0
        k: cython.Py_ssize_t
        at: cython.Py_ssize_t
        taken: uint64_t = 0
        gone: cython.Py_ssize_t  # how many of the oldest rows have no entry
        passing: cython.bint = group.idle_timeout_ms == 0  # else they are dropped
        part.idle_ms = self.claim_ms
        if group.idle_timeout_ms > 0 and (part.idle_ms < 0 or group.idle_timeout_ms < part.idle_ms):
            part.idle_ms = group.idle_timeout_ms
        if part.idle_ms < 0:
            return 0
        if part.idle_ms <= cython.cast(int64_t, context.now_ms):
            age_max = OWNED + context.now_ms - part.idle_ms
        if not group.pending.is_due(age_max):
            return 0
        entries: int64_t = self.entries
        size: int64_t = self.size
        given: set = set()
        for k in range(i):
            # the same stream twice: go on behind what it gives above
            if self.streams[k] is not stream:
                continue
            if self.parts[k].kind == NEW:
                taken += self.parts[k].rows_n
            elif part.idle_ms > 0:
                for at in range(
                    self.parts[k].rows_at, self.parts[k].rows_at + self.parts[k].rows_n
                ):
                    given.add((self.rows[at].ms, self.rows[at].seq))
        limit = self.limit(0)
        want = limit + taken
        if self.maxsize > 0 and (want > LOOK_FIRST + taken or want < limit):
            want = LOOK_FIRST + taken
        stream.need_first()
        while stream.length > 0:
            if want < limit and self.maxsize == 0:
                want = group.pending.length
            if want > cython.cast(uint64_t, group.pending.length):
                want = group.pending.length
            self.want_aged(want)
            n = group.pending.oldest(
                age_max, stream.first_ms, stream.first_seq, passing, self.aged, want
            )
            self.want_rows(self.rows_n + n)
            for k in range(n):
                group.pending.read_aged(self.aged + k, self.rows + self.rows_n + k)
            if context.load_rows_or_park(stream, self.rows + self.rows_n, n):
                return 1
            at = self.rows_n
            gone = 0
            for k in range(self.rows_n, self.rows_n + n):
                if given and (self.rows[k].ms, self.rows[k].seq) in given:
                    continue
                pos = stream.find(self.rows[k].ms, self.rows[k].seq)
                if pos == U64_MAX:
                    gone += gone == k - self.rows_n
                    continue
                self.rows[at] = self.rows[k]
                self.positions[at] = pos
                at += 1
            if passing and gone > 0:
                group.pending.pass_over(self.aged + gone - 1)
            self.entries = entries
            self.size = size
            part.rows_n = 0
            for k in range(self.rows_n + taken, at):
                part.shown = True  # with nothing in it where its key alone was too much
                if self.is_spent() or cython.cast(uint64_t, part.rows_n) == limit:
                    break
                self.rows[self.rows_n + part.rows_n] = self.rows[k]
                self.positions[self.rows_n + part.rows_n] = self.positions[k]
                self.count_row(stream, self.rows_n + part.rows_n, context.now_ms, True)
                part.rows_n += 1
            if (
                cython.cast(uint64_t, n) < want
                or want == cython.cast(uint64_t, group.pending.length)
                or cython.cast(uint64_t, part.rows_n) == limit
                or self.is_spent()
            ):
                break
            want *= 4  # some are gone, or MAXSIZE leaves room: look at more
        self.rows_n += part.rows_n
        self.record_bytes += RECORD_BYTES + CLAIM_RECORD_BYTES * part.rows_n
        if group.idle_timeout_ms > 0:
            self.plan_gone(context, stream, group, part, n)
        return 0

    def plan_gone(self, context, stream, group, part, n):
        """Which overdue pending entries are dropped because their entries are gone.

        Looks at those of trimmed entries and at the ``n`` in ``aged``.
        """
        latest: int64_t = cython.cast(int64_t, context.now_ms) - group.idle_timeout_ms
        age_max: uint64_t = OWNED - 1
        at: Cursor
        row: Row
        k: cython.Py_ssize_t
        if latest >= 0:
            age_max = OWNED + latest
        # trimmed ones stand together in front
        group.pending.seek(0, 0, cython.address(at))
        for k in range(GONE_MAX):
            if self.gone_n == GONE_MAX or not group.pending.next_row(
                cython.address(at), -1, cython.address(row)
            ):
                break
            if stream.length > 0 and (
                row.ms > stream.first_ms
                or (row.ms == stream.first_ms and row.seq >= stream.first_seq)
            ):
                break
            if row.cidx == 0 or cython.cast(int64_t, row.delivered_ms) <= latest:
                self.note_gone(cython.address(row))
        for k in range(n if stream.deleted_above_mark > 0 else 0):
            if self.gone_n == GONE_MAX or self.aged[k].age > age_max:
                break
            if stream.find(self.aged[k].ms, self.aged[k].seq) == U64_MAX:
                group.pending.read_aged(self.aged + k, cython.address(row))
                self.note_gone(cython.address(row))
        part.gone_n = self.gone_n - part.gone_at
        self.record_bytes += RECORD_BYTES + ROW_RECORD_BYTES * part.gone_n
        return 0

    def find_due(self, context, i):
        """Find when the next pending entry falls due, for ``wait``; whether blocks are cold.

        ``due_ms`` is -1 if none will: entries that are gone do not.
        """
        part: cython.pointer(Part) = self.parts + i
        stream: Stream = self.streams[i]
        group: Group = self.groups[i]
        want: cython.Py_ssize_t = 1
        n: cython.Py_ssize_t
        k: cython.Py_ssize_t
        delivered_ms: uint64_t
        passing: cython.bint = group.idle_timeout_ms == 0
        part.due_ms = -1
        stream.need_first()
        while stream.length > 0:
            self.want_aged(want)
            n = group.pending.oldest(
                U64_MAX, stream.first_ms, stream.first_seq, passing, self.aged, want
            )
            self.want_rows(self.rows_n + n)
            for k in range(n):
                group.pending.read_aged(self.aged + k, self.rows + self.rows_n + k)
            if context.load_rows_or_park(stream, self.rows + self.rows_n, n):
                return 1
            for k in range(self.rows_n, self.rows_n + n):
                if stream.find(self.rows[k].ms, self.rows[k].seq) != U64_MAX:
                    delivered_ms = self.rows[k].delivered_ms
                    if delivered_ms > context.now_ms:  # the clock was ahead
                        delivered_ms = context.now_ms
                    part.due_ms = cython.cast(int64_t, delivered_ms) + part.idle_ms
                    return 0
            if passing and n > 0:
                group.pending.pass_over(self.aged + n - 1)
            if n < want:
                break
            want *= 8
        return 0

    # Entries of the stream

    def plan_entries(self, context, i):
        """Which positions are given; whether blocks are cold."""
        part: cython.pointer(Part) = self.parts + i
        stream: Stream = self.streams[i]
        group: Group
        k: cython.Py_ssize_t
        if part.kind == LAST:
            part.start = stream.previous_live(stream.end_pos)
            part.stop = stream.end_pos
            if part.start == U64_MAX:
                part.start = part.stop
        else:
            if part.kind == NEW:
                group = self.groups[i]
                if group.next_known:
                    part.start = group.next_pos
                elif group.last_ms == U64_MAX and group.last_seq == U64_MAX:
                    part.start = stream.end_pos
                else:
                    part.start = stream.seek(
                        group.last_ms + (1 if group.last_seq == U64_MAX else 0), group.last_seq + 1
                    )
                for k in range(i):
                    # the same stream twice: go on where it was left above
                    if self.streams[k] is stream and self.parts[k].kind == NEW and self.parts[k].n:
                        part.start = self.parts[k].stop
            elif part.ms == U64_MAX and part.seq == U64_MAX:
                part.start = stream.end_pos
            else:
                part.start = stream.seek(part.ms + (1 if part.seq == U64_MAX else 0), part.seq + 1)
            part.start = stream.next_live(part.start)
            part.stop = stream.take_until(part.start, stream.end_pos, self.limit(part.rows_n))
        if part.start >= part.stop:
            return 0
        part.shown = True
        if self.is_spent():
            return 0
        if self.maxsize > 0:
            if self.cap_size(context, stream, part):
                return 1
        elif context.load_or_park(stream, part.start, part.stop):
            return 1
        part.n = part.stop - part.start - stream.deleted_between(part.start, part.stop)
        self.entries += part.n
        self.record_bytes += RECORD_BYTES + ROW_RECORD_BYTES * part.n
        return 0

    # Limits

    def is_spent(self):
        """Whether the reply has an entry and a limit of the whole reply is reached."""
        return self.entries > 0 and (
            (self.maxcount > 0 and self.entries >= self.maxcount)
            or (self.maxsize > 0 and self.size >= self.maxsize)
        )

    def limit(self, given):
        """How many more entries a stream may give that gives ``given`` already."""
        most: uint64_t = self.count - given if self.count > 0 else U64_MAX
        if self.maxcount > 0 and cython.cast(uint64_t, self.maxcount - self.entries) < most:
            most = self.maxcount - self.entries
        return most

    def head_size(self, key_len):
        """The bytes that a stream's key takes, and in RESP2 the pair it stands in."""
        return key_len + num_len(key_len) + (9 if self.proto == 2 else 5)

    def count_row(self, stream, k, now_ms, claimed):
        """A pending entry stands in the reply: what it counts for the limits."""
        row: cython.pointer(Row) = self.rows + k
        pos: uint64_t = self.positions[k]
        block: Block
        id_len: cython.int
        self.entries += 1
        if self.maxsize == 0:
            return 0
        if pos == U64_MAX:
            id_len = num_len(row.ms) + 1 + num_len(row.seq)
            self.size += 9 + num_len(id_len) + id_len + (5 if self.proto == 2 else 3)
        else:
            block = stream.block_at(pos)
            self.size += block.end_of(pos - block.first_pos) - block.start_of(pos - block.first_pos)
        if claimed and self.claim_ms >= 0:
            self.size += 6 + num_len(now_ms - row.delivered_ms) + num_len(row.count)
        return 0

    def cap_size(self, context, stream, part):
        """Let a stream give no more entries than MAXSIZE allows; whether blocks are cold.

        Looks at few entries first, so that a small reply does not read a large stream.
        """
        block: Block
        i: cython.Py_ssize_t
        stop: uint64_t = part.stop
        look: uint64_t = LOOK_FIRST
        pos: uint64_t
        n: uint64_t
        size: int64_t
        while True:
            part.stop = stream.take_until(part.start, stop, look)
            if context.load_or_park(stream, part.start, part.stop):
                return 1
            block = None
            size = self.size
            n = 0
            pos = part.start
            while pos < part.stop:
                if not stream.is_deleted(pos):
                    if size >= self.maxsize and (self.entries > 0 or n > 0):
                        break
                    if block is None or pos >= block.first_pos + block.count:
                        block = stream.block_at(pos)
                    i = pos - block.first_pos
                    size += block.end_of(i) - block.start_of(i) + (8 if self.claim_ms >= 0 else 0)
                    n += 1
                pos += 1
            if pos < part.stop or part.stop == stop:
                break
            look *= 4
        part.stop = pos
        self.size = size
        return 0

    # Memory

    def want_rows(self, n):
        """Make room for ``n`` pending entries."""
        if n <= self.rows_cap:
            return
        self.rows_cap = n + n // 2 + 16
        self.rows = cython.cast(
            cython.pointer(Row), realloc(self.rows, self.rows_cap * cython.sizeof(Row))
        )
        self.positions = cython.cast(
            cython.pointer(uint64_t), realloc(self.positions, self.rows_cap * 8)
        )
        if self.rows == cython.NULL or self.positions == cython.NULL:
            abort()

    def give_back(self):
        """After a plan that was large, its memory is free for others."""
        if self.rows_cap > ROWS_KEPT_MAX or self.aged_cap > ROWS_KEPT_MAX:
            free(self.rows)
            free(self.positions)
            free(self.aged)
            self.rows = cython.NULL
            self.positions = cython.NULL
            self.aged = cython.NULL
            self.rows_cap = 0
            self.aged_cap = 0

    def want_aged(self, n):
        """Make room for the ``n`` oldest rows of a group."""
        if n <= self.aged_cap:
            return
        self.aged_cap = n
        self.aged = cython.cast(
            cython.pointer(Aged), realloc(self.aged, self.aged_cap * cython.sizeof(Aged))
        )
        if self.aged == cython.NULL:
            abort()

    def note_gone(self, row):
        """This pending entry will be dropped."""
        self.gone[self.gone_n] = row[0]
        self.gone_n += 1
