"""XREAD and XREADGROUP: several streams at once, history, waiting.

Rules: those of respserver/context.py. A read goes through four steps: ``options`` and ``find`` read
the arguments and refuse, ``plan`` settles which positions each stream gives and reserves room in
the log, ``serve`` writes them and marks them delivered. A Reader is used by one command at a time
and keeps nothing between two but its memory: a command that waits is read again from the start.

The kind of a part is the character its ID is written with (``>``, ``+``), ``h`` for the history of
a consumer after an ID, ``i`` for what comes after an ID. Source: the Redis documentation of each
command; order of checks as in redis-server 7.4.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, realloc
from cython.cimports.lsmstore.buf import U64_MAX
from cython.cimports.streams.idtext import parse_id

from lsmstore.buf import Buf
from respserver.context import encode_command
from respserver.errors import (
    INVALID_STREAM_ID,
    NOT_INT,
    SYNTAX,
    TIMEOUT_NEGATIVE,
    TIMEOUT_NOT_INT,
    TIMEOUT_RANGE,
    ReplyError,
    c_string,
)
from respserver.scan import Args
from streams.group import Consumer, Group
from streams.stream import Stream

INT64_MAX = cython.declare(cython.longlong, 0x7FFFFFFFFFFFFFFF)

NOGROUP = b"NOGROUP No such key '%s' or consumer group '%s' in XREADGROUP with GROUP option"
MEANINGLESS = (
    b"ERR The %s ID is meaningless in the context of XREADGROUP: you want to read the history of "
    b"this consumer by specifying a proper ID, or use the > ID to get new messages. The %s ID "
    b"would just return an empty result set."
)
UNBALANCED = b"ERR Unbalanced '%s' list of streams: for each stream key an ID%s must be specified."


@cython.final
@cython.cclass
class Reader:
    """One read from several streams."""

    def __cinit__(self) -> None:
        self.parts = cython.NULL
        self.parts_cap = 0

    def __init__(self) -> None:
        self.streams = []
        self.groups = []

    def __dealloc__(self) -> None:
        free(self.parts)

    def read(self, context, session, grouped):
        """XREAD [COUNT n] [BLOCK ms] STREAMS key... id...; XREADGROUP GROUP g c [NOACK] besides"""
        served: cython.Py_ssize_t
        self.grouped = grouped
        self.options(context)
        self.find(context, session)
        served = self.plan(context)
        if served < -1:
            context.retry = self.wire(context)
            return VERB_COLD

        if served > 0:
            session.out.put_head(42 if session.proto == 2 else 37, served)
        self.serve(context, session)
        self.streams.clear()
        self.groups.clear()
        if served > 0:
            return VERB_DONE
        if self.block_ms >= 0:
            return self.wait(context, session)
        context.put_null_array(session)
        return VERB_DONE

    def options(self, context):
        """Read what stands before the keys; refuse what Redis refuses there."""
        args: Args = context.args
        i: cython.Py_ssize_t = 1
        more: cython.Py_ssize_t
        name: bytes = b"xreadgroup" if self.grouped else b"xread"
        self.block_ms = -1
        self.count = 0
        self.first = 0
        self.n = 0
        self.group_at = 0
        self.noack = False
        while i < args.count:
            more = args.count - i - 1
            if more > 0 and args.matches(i, b"BLOCK", 5):
                i += 1
                if not args.integer(i, cython.address(self.block_ms)):
                    raise ReplyError(TIMEOUT_NOT_INT)
                if self.block_ms < 0:
                    raise ReplyError(TIMEOUT_NEGATIVE)
                if self.block_ms > INT64_MAX - cython.cast(int64_t, context.now_ms):
                    raise ReplyError(TIMEOUT_RANGE)
            elif more > 0 and args.matches(i, b"COUNT", 5):
                i += 1
                if not args.integer(i, cython.address(self.count)):
                    raise ReplyError(NOT_INT)
                if self.count < 0:
                    self.count = 0
            elif more > 0 and args.matches(i, b"STREAMS", 7):
                self.first = i + 1
                self.n = args.count - self.first
                if self.n & 1:
                    raise ReplyError(
                        UNBALANCED % (name, b" or '>'" if self.grouped else b", '+', or '$'")
                    )
                self.n //= 2
                break
            elif more >= 2 and args.matches(i, b"GROUP", 5):
                if not self.grouped:
                    raise ReplyError(
                        b"ERR The GROUP option is only supported by XREADGROUP. You called XREAD "
                        b"instead."
                    )
                self.group_at = i + 1
                i += 2
            elif args.matches(i, b"NOACK", 5):
                if not self.grouped:
                    raise ReplyError(
                        b"ERR The NOACK option is only supported by XREADGROUP. You called XREAD "
                        b"instead."
                    )
                self.noack = True
            else:
                raise ReplyError(SYNTAX)
            i += 1
        if self.first == 0:
            raise ReplyError(SYNTAX)
        if self.grouped and self.group_at == 0:
            raise ReplyError(b"ERR Missing GROUP option for XREADGROUP")
        return 0

    def find(self, context, session):
        """Find the streams and groups and read the IDs, refusing what Redis refuses."""
        args: Args = context.args
        i: cython.Py_ssize_t
        ids: cython.Py_ssize_t = self.first + self.n
        part: cython.pointer(Part)
        stream: Stream
        group: Group = None
        self.streams.clear()
        self.groups.clear()
        if self.n > self.parts_cap:
            self.parts_cap = 2 * self.n
            self.parts = cython.cast(
                cython.pointer(Part), realloc(self.parts, self.parts_cap * cython.sizeof(Part))
            )
            if self.parts == cython.NULL:
                abort()
        for i in range(self.n):
            part = self.parts + i
            stream = context.find_stream(self.first + i, session)
            if self.grouped:
                group = None
                if stream is not None:
                    group = stream.groups.get(args.word(self.group_at))
                if group is None:
                    raise ReplyError(
                        NOGROUP
                        % (c_string(args.word(self.first + i)), c_string(args.word(self.group_at)))
                    )
            self.streams.append(stream)
            self.groups.append(group)
            part.kind = 105
            part.ms = 0
            part.seq = 0
            if args.is_char(ids + i, 36):
                if self.grouped:
                    raise ReplyError(MEANINGLESS % (b"$", b"$"))
                if stream is not None:
                    part.ms = stream.last_ms
                    part.seq = stream.last_seq
            elif args.is_char(ids + i, 43):
                if self.grouped:
                    raise ReplyError(MEANINGLESS % (b"+", b"+"))
                part.kind = 43
            elif args.is_char(ids + i, 62):
                if not self.grouped:
                    raise ReplyError(
                        b"ERR The > ID can be specified only when calling XREADGROUP using the "
                        b"GROUP <group> <consumer> option."
                    )
                part.kind = 62
            else:
                if not parse_id(
                    args.p[ids + i],
                    args.n[ids + i],
                    0,
                    True,
                    cython.NULL,
                    cython.address(part.ms),
                    cython.address(part.seq),
                ):
                    raise ReplyError(INVALID_STREAM_ID)
                if self.grouped:
                    part.kind = 104
        return 0

    def plan(self, context):
        """Settle which positions each stream gives; how many answer, -2 if blocks are cold."""
        i: cython.Py_ssize_t
        k: cython.Py_ssize_t
        served: cython.Py_ssize_t = 0
        need: cython.Py_ssize_t = 0
        part: cython.pointer(Part)
        stream: Stream
        group: Group
        limit: uint64_t = self.count if self.count > 0 else U64_MAX
        for i in range(self.n):
            part = self.parts + i
            part.n = 0
            stream = self.streams[i]
            if stream is None:
                continue
            if part.kind == 104:
                served += 1
                group = self.groups[i]
                need += RECORD_BYTES + ROW_RECORD_BYTES * (
                    group.pending.length
                    if self.count == 0 or self.count > group.pending.length
                    else self.count
                )
                continue
            if part.kind == 43:
                part.start = stream.previous_live(stream.end_pos)
                part.stop = stream.end_pos
                if part.start == U64_MAX:
                    part.start = part.stop
            elif part.kind == 62:
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
                    if self.streams[k] is stream and self.parts[k].kind == 62 and self.parts[k].n:
                        part.start = self.parts[k].stop
                part.start = stream.next_live(part.start)
                part.stop = stream.take_until(part.start, stream.end_pos, limit)
            else:
                if part.ms == U64_MAX and part.seq == U64_MAX:
                    part.start = stream.end_pos
                else:
                    part.start = stream.seek(
                        part.ms + (1 if part.seq == U64_MAX else 0), part.seq + 1
                    )
                part.start = stream.next_live(part.start)
                part.stop = stream.take_until(part.start, stream.end_pos, limit)
            if part.start >= part.stop:
                continue
            part.n = part.stop - part.start - stream.deleted_between(part.start, part.stop)
            if part.n == 0:
                continue
            if context.load_or_park(stream, part.start, part.stop):
                return -2
            need += RECORD_BYTES + ROW_RECORD_BYTES * part.n
            served += 1
        if self.grouped:
            need += self.n * (RECORD_BYTES + context.args.n[self.group_at + 1])
            context.reserve(need, False)
            for i in range(self.n):
                stream = self.streams[i]
                stream.need_first()
        return served

    def serve(self, context, session):
        """Write what ``plan`` settled, and mark it delivered."""
        args: Args = context.args
        i: cython.Py_ssize_t
        part: cython.pointer(Part)
        stream: Stream
        group: Group = None
        consumer: Consumer = None
        out: Buf = session.out
        for i in range(self.n):
            part = self.parts + i
            stream = self.streams[i]
            if self.grouped:
                group = self.groups[i]
                consumer = group.find_consumer(args.p[self.group_at + 1], args.n[self.group_at + 1])
                if consumer is None:
                    consumer = context.journal.new_consumer(
                        stream, group, args.word(self.group_at + 1), context.now_ms
                    )
                consumer.seen_ms = context.now_ms
            if part.n == 0 and part.kind != 104:
                continue
            if session.proto == 2:
                out.put(b"*2\r\n", 4)
            out.put_bulk(args.p[self.first + i], args.n[self.first + i])
            if part.kind == 104:
                self.history(context, session, stream, group, consumer, part)
                continue
            out.put_head(42, part.n)
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
                    out,
                )
            else:
                stream.copy(out, part.start, part.stop)
        return 0

    def history(self, context, session, stream, group, consumer, part):
        """What is pending for ``consumer`` after an ID; counts as one more delivery."""
        out: Buf = session.out
        body = Buf(4096)
        at: Cursor
        row: Row
        pos: uint64_t
        n: uint64_t = 0
        rows: list = []
        if not (part.ms == U64_MAX and part.seq == U64_MAX):
            part.seq += 1
            if part.seq == 0:
                part.ms += 1
            group.pending.seek(part.ms, part.seq, cython.address(at))
            while self.count == 0 or n < cython.cast(uint64_t, self.count):
                if not group.pending.next_row(
                    cython.address(at), consumer.cidx, cython.address(row)
                ):
                    break
                n += 1
                pos = stream.find(row.ms, row.seq)
                if pos == U64_MAX:
                    body.put(b"*2\r\n", 4)
                    body.put_bulk_id(row.ms, row.seq)
                    if session.proto == 2:
                        body.put(b"*-1\r\n", 5)
                    else:
                        body.put(b"_\r\n", 3)
                    continue
                stream.copy(body, pos, pos + 1)
                rows.append((row.ms, row.seq, context.now_ms, row.count + 1))
        if rows:
            context.journal.claim(stream, group, consumer, rows, context.now_ms, -1)
        out.put_head(42, n)
        out.put(body.p, body.n)
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
        context.wait_keys = []
        for i in range(self.n):
            context.wait_keys.append((session.db, args.word(self.first + i)))
        context.wait_group = args.word(self.group_at) if self.group_at else None
        context.retry = self.wire(context)
        context.block_ms = self.block_ms
        return VERB_BLOCK
