"""XREAD and XREADGROUP: several streams at once, history, waiting.

Rules: those of respserver/context.py. A read goes through four steps: ``options`` and ``find``
(respserver/readargs.py) read the arguments and refuse, ``plan`` (respserver/readplan.py) settles
what each stream gives and reserves room in the log, ``serve`` writes it and marks it delivered. A
Reader is used by one command at a time and keeps nothing between two but its memory: a command that
waits is read again from the start.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memcpy
from cython.cimports.lsmstore.buf import U64_MAX

from lsmstore.block import Block
from lsmstore.buf import Buf
from respserver.context import encode_command
from respserver.readplan import ReadPlan
from respserver.scan import Args
from streams.group import Consumer, Group
from streams.stream import Stream

INT64_MAX = cython.declare(cython.longlong, 0x7FFFFFFFFFFFFFFF)
# A clock that is behind the last delivery by more was ahead then and has been put right.
CLOCK_SLACK_MS = cython.declare(cython.longlong, 1000)


@cython.final
@cython.cclass
class Reader(ReadPlan):
    """One read from several streams."""

    def read(self, context, session, grouped):
        """XREAD [COUNT n] [MAXCOUNT n] [MAXSIZE n] [BLOCK ms] STREAMS key... id...

        XREADGROUP GROUP g c [CLAIM ms] [NOACK] besides.
        """
        served: cython.Py_ssize_t
        self.grouped = grouped
        self.options(context)
        self.find(context, session)
        served = self.plan(context, session)
        if served < -1:
            context.retry = self.wire(context)
            return VERB_COLD

        if served > 0:
            session.out.put_head(42 if session.proto == 2 else 37, served)
        self.serve(context, session)
        if served == 0 and self.block_ms >= 0:
            self.wait(context, session)
        self.streams.clear()
        self.groups.clear()
        if served > 0:
            return VERB_DONE
        if self.block_ms >= 0:
            return VERB_BLOCK
        context.put_null_array(session)
        return VERB_DONE

    def serve(self, context, session):
        """Write what ``plan`` settled, and mark it delivered."""
        args: Args = context.args
        i: cython.Py_ssize_t
        part: cython.pointer(Part)
        stream: Stream
        group: Group = None
        consumer: Consumer = None
        out: Buf = session.out
        for i in range(self.visited):
            part = self.parts + i
            stream = self.streams[i]
            if self.grouped:
                group = self.groups[i]
                consumer = self.see(context, stream, group)
                if part.gone_n > 0:
                    self.drop_gone(context.journal, stream, group, part)
            if not part.shown:
                continue
            if session.proto == 2:
                out.put(b"*2\r\n", 4)
            out.put_bulk(args.p[self.first + i], args.n[self.first + i])
            out.put_head(42, part.rows_n + part.n)
            if part.rows_n > 0:
                self.put_rows(context, session, stream, part)
                self.claim(context, stream, group, consumer, part)
            if part.n > 0:
                if part.kind == NEW and self.claim_ms >= 0:
                    self.put_new(stream, part, out)
                else:
                    stream.copy(out, part.start, part.stop)
                if self.grouped:
                    context.journal.deliver(
                        stream,
                        group,
                        consumer,
                        part.start,
                        part.stop,
                        part.n,
                        context.now_ms,
                        self.noack,
                    )
            if self.grouped and group.unwatched:
                group.unwatched = False  # who waits tries again and says when to be woken
                context.on_change(stream.ns, stream.key)
        return 0

    def see(self, context, stream, group):
        """The consumer that reads, made if it is new; a clock that was ahead is forgiven."""
        args: Args = context.args
        consumer: Consumer = group.find_consumer(
            args.p[self.group_at + 1], args.n[self.group_at + 1]
        )
        if consumer is None:
            consumer = context.journal.new_consumer(
                stream, group, args.word(self.group_at + 1), context.now_ms
            )
        consumer.seen_ms = context.now_ms
        if group.idle_timeout_ms > 0 and group.pending.latest_ms > context.now_ms + cython.cast(
            uint64_t, CLOCK_SLACK_MS
        ):
            context.journal.pull_back(stream, group, context.now_ms)
        return consumer

    def drop_gone(self, journal, stream, group, part):
        """Drop pending entries whose entries are gone."""
        k: cython.Py_ssize_t
        journal.want_ids(part.gone_n)
        for k in range(part.gone_n):
            journal.ids_ms[k] = self.gone[part.gone_at + k].ms
            journal.ids_seq[k] = self.gone[part.gone_at + k].seq
        journal.ack_ids(stream, group, part.gone_n)
        return 0

    def claim(self, context, stream, group, consumer, part):
        """Mark the pending entries of a part delivered once more, except those that are gone."""
        k: cython.Py_ssize_t
        n: cython.Py_ssize_t = 0
        rows: cython.pointer(Row) = self.rows + part.rows_at
        # a plain reader of its history may count beyond what Redis prints, as it does there
        most: uint64_t = U64_MAX if part.kind == HISTORY else INT64_MAX
        for k in range(part.rows_n):
            if self.positions[part.rows_at + k] == U64_MAX:
                continue
            # an earlier part may have counted it, too
            group.pending.find(rows[k].ms, rows[k].seq, rows + n)
            if rows[n].count < most:
                rows[n].count += 1
            rows[n].delivered_ms = context.now_ms
            n += 1
        if n > 0:
            context.journal.claim_rows(
                stream,
                group,
                consumer,
                rows,
                n,
                context.now_ms,
                -1 if part.kind == HISTORY else context.now_ms,
            )
        return 0

    def put_rows(self, context, session, stream, part):
        """Write the pending entries of a part."""
        out: Buf = session.out
        block: Block
        row: cython.pointer(Row)
        pos: uint64_t
        i: cython.Py_ssize_t
        k: cython.Py_ssize_t
        for k in range(part.rows_at, part.rows_at + part.rows_n):
            row = self.rows + k
            pos = self.positions[k]
            if pos == U64_MAX:
                out.put(b"*2\r\n", 4)
                out.put_bulk_id(row.ms, row.seq)
                if session.proto == 2:
                    out.put(b"*-1\r\n", 5)
                else:
                    out.put(b"_\r\n", 3)
            elif part.kind == NEW and self.claim_ms >= 0:
                block = stream.block_at(pos)
                i = pos - block.first_pos
                out.put(b"*4", 2)
                out.put(block.base + block.start_of(i) + 2, block.end_of(i) - block.start_of(i) - 2)
                out.put_head(58, context.now_ms - row.delivered_ms)
                out.put_head(58, row.count)
            else:
                stream.copy(out, pos, pos + 1)
        return 0

    def put_new(self, stream, part, out):
        """Write the new entries of a part as CLAIM wants them: idle 0, delivered 0 times before."""
        block: Block
        i: uint32_t
        last: uint32_t
        start: cython.Py_ssize_t
        n: cython.Py_ssize_t
        to: cython.p_char
        gone: cython.bint = stream.deleted_above_mark > 0
        pos: uint64_t = part.start
        while pos < part.stop:
            block = stream.block_at(pos)
            i = cython.cast(uint32_t, pos - block.first_pos)
            last = block.count
            if block.first_pos + last > part.stop:
                last = cython.cast(uint32_t, part.stop - block.first_pos)
            start = block.start_of(i)
            out.room(block.start_of(last) - start + (last - i) * 8)
            to = out.p + out.n
            while i < last:
                n = block.ends[i] - start
                if not gone or not stream.is_deleted(block.first_pos + i):
                    memcpy(to, block.base + start, n)
                    to[1] = 52  # '4'
                    memcpy(to + n, cython.cast(cython.p_char, b":0\r\n:0\r\n"), 8)
                    to += n + 8
                start += n
                i += 1
            out.n = to - out.p
            pos = block.first_pos + last
        return 0

    def wire(self, context):
        """The command as it is run again: ``$`` became the ID it stood for."""
        args: Args = context.args
        i: cython.Py_ssize_t
        ids: cython.Py_ssize_t = self.first + self.n
        words: list = None
        for i in range(self.n):
            if args.is_char(ids + i, 36):
                if words is None:
                    words = args.words()
                words[ids + i] = b"%d-%d" % (self.parts[i].ms, self.parts[i].seq)
        return args.wire() if words is None else encode_command(words)

    def wait(self, context, session):
        """Nothing to give yet: leave behind what the client waits for."""
        args: Args = context.args
        i: cython.Py_ssize_t
        group: Group
        key: tuple
        context.wait_keys = []
        context.wait_due = []
        for i in range(self.n):
            key = (session.db, args.word(self.first + i))
            context.wait_keys.append(key)
            if self.parts[i].idle_ms >= 0:
                group = self.groups[i]
                group.unwatched = self.parts[i].due_ms < 0
                if self.parts[i].due_ms >= 0:
                    context.wait_due.append((key, self.parts[i].due_ms))
        context.wait_group = args.word(self.group_at) if self.group_at else None
        context.wait_idle_ms = self.claim_ms
        context.retry = self.wire(context)
        context.block_ms = self.block_ms
        return 0
