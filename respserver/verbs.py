"""The compiled verbs: XADD, XREADGROUP, XACK, XRANGE, XREVRANGE, XREAD, XLEN, PING.

Rules: a verb is two paragraphs. First it reads its arguments and checks everything, raising a ReplyError with
Redis' words; what could need a disk read is read here. Then it changes things through the journal and writes
its reply; nothing raises any more. Arguments are slices in wire form (respserver/scan.py).

A verb that cannot finish now returns VERB_BLOCK (wait for ``wait_keys`` for ``block_ms``, then run ``retry``),
VERB_COLD (run ``retry`` once the blocks in ``missing`` are in memory) or VERB_STREAM (send ``long_reply`` bit by bit):
arguments, never state. Source: the Redis documentation of each command; order of checks as in redis-server 7.4.
"""

from __future__ import annotations

from collections.abc import Callable

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, realloc
from cython.cimports.libc.string import memcmp
from cython.cimports.lsmstore.buf import U64_MAX, num_len
from cython.cimports.streams.idtext import parse_bound, parse_id

from lsmstore.buf import Buf
from respserver.errors import (
    INVALID_STREAM_ID,
    NOT_INT,
    SYNTAX,
    TIMEOUT_NEGATIVE,
    TIMEOUT_NOT_INT,
    TIMEOUT_RANGE,
    WRONGTYPE,
    ReplyError,
    c_string,
    wrong_arity,
)
from respserver.scan import Args
from respserver.session import Session
from streams.group import Consumer, Group
from streams.journal import Journal
from streams.keyspace import Keyspace
from streams.stream import Stream

HOT = {
    "XADD": 1,
    "XREADGROUP": 2,
    "XACK": 3,
    "XRANGE": 4,
    "XREVRANGE": 5,
    "XREAD": 6,
    "XLEN": 7,
    "PING": 8,
}

INT64_MAX = cython.declare(cython.longlong, 0x7FFFFFFFFFFFFFFF)
ELEMENTS_BYTES_MAX = cython.declare(cython.longlong, 1 << 30)
LONG_REPLY_BYTES = cython.declare(cython.longlong, 1 << 20)
COLD_BLOCKS_IN_PLACE = cython.declare(cython.longlong, 2)
COLD_BLOCKS_AT_ONCE = cython.declare(cython.longlong, 4096)
TRIM_LIMIT_MAX = cython.declare(cython.longlong, 1000000)
RECORD_BYTES = cython.declare(cython.longlong, 160)
ROW_RECORD_BYTES = cython.declare(cython.longlong, 32)

NOGROUP = b"NOGROUP No such key '%s' or consumer group '%s' in XREADGROUP with GROUP option"
MEANINGLESS = (
    b"ERR The %s ID is meaningless in the context of XREADGROUP: you want to read the history of "
    b"this consumer by specifying a proper ID, or use the > ID to get new messages. The %s ID would "
    b"just return an empty result set."
)
UNBALANCED = (
    b"ERR Unbalanced '%s' list of streams: for each stream key an ID%s must be specified."
)


@cython.final
@cython.cclass
class Verbs:
    """Runs one compiled verb over the arguments in ``args``."""

    def __cinit__(self) -> None:
        self.parts = cython.NULL
        self.parts_cap = 0

    def __init__(
        self,
        args: Args,
        journal: Journal,
        keys: Keyspace,
        on_change: Callable[[int, bytes], None],
        make_room: Callable[[int, bool], int],
    ) -> None:
        self.args = args
        self.journal = journal
        self.keys = keys
        self.tables = keys.tables
        self.on_change = on_change
        self.make_room = make_room
        self.log_room = 0
        self.may_park = True
        self.node_max_bytes = 4096
        self.node_max_entries = 100
        self.recent_key = None
        self.recent_table = None
        self.recent = None
        self.streams = []
        self.groups = []

    def __dealloc__(self) -> None:
        free(self.parts)

    def run(self, verb, session):
        """Run a verb by its number in ``HOT``."""
        if verb == 1:
            return self.xadd(session)
        if verb == 2:
            return self.xread(session, True)
        if verb == 3:
            return self.xack(session)
        if verb == 4:
            return self.xrange(session, False)
        if verb == 5:
            return self.xrange(session, True)
        if verb == 6:
            return self.xread(session, False)
        if verb == 7:
            return self.xlen(session)
        return self.ping(session)

    def find_stream(self, i, session):
        """The stream that argument ``i`` names, or None."""
        args: Args = self.args
        table: dict = self.tables[session.db]
        found: object
        key: bytes
        if (
            self.recent is not None
            and table is self.recent_table
            and not self.recent.dropped
            and PyBytes_GET_SIZE(self.recent_key) == args.n[i]
            and memcmp(PyBytes_AS_STRING(self.recent_key), args.p[i], args.n[i]) == 0
        ):
            return self.recent
        key = args.word(i)
        found = table.get(key)
        if found is None:
            found = self.keys.lookup(self.keys.namespaces[session.db], key)
            if found is None:
                return None
        if not isinstance(found, Stream):
            raise ReplyError(WRONGTYPE)
        self.recent = found
        self.recent_key = key
        self.recent_table = table
        self.recent.touched_tick = self.tick
        return self.recent

    def reserve(self, n, frees):
        """Make sure that ``n`` bytes of records fit in the log. Raises ReplyError where the disk is full.

        ``frees``: the command gives space back and may draw on the log's reserve.
        """
        if self.journal.log.n + n > self.log_room:
            self.log_room = self.make_room(self.journal.log.n + n, frees)
        return 0

    # ── XADD ─────────────────────────────────────────────────────────────────────────────────────

    def xadd_options(self, trim, new):
        """Read what stands between key and fields; returns where the ID stands."""
        args: Args = self.args
        i: cython.Py_ssize_t = 2
        more: cython.Py_ssize_t
        number: int64_t = 0
        trim.given = False
        trim.by_id = False
        trim.approximate = False
        trim.limit_given = False
        trim.threshold = 0
        trim.seq = 0
        trim.limit = 0
        new.given = False
        new.seq_given = True
        new.no_make = False
        while i < args.count:
            more = args.count - 1 - i
            if args.is_char(i, 42):
                break
            if more > 0 and (args.matches(i, b"MAXLEN", 6) or args.matches(i, b"MINID", 5)):
                if trim.given:
                    raise ReplyError(
                        b"ERR syntax error, MAXLEN and MINID options at the same time are not "
                        b"compatible"
                    )
                trim.by_id = args.n[i] == 5
                trim.approximate = False
                if more >= 2 and args.is_char(i + 1, 126):
                    trim.approximate = True
                    i += 1
                elif more >= 2 and args.is_char(i + 1, 61):
                    i += 1
                i += 1
                if trim.by_id:
                    if not parse_id(
                        args.p[i],
                        args.n[i],
                        0,
                        True,
                        cython.NULL,
                        cython.address(trim.threshold),
                        cython.address(trim.seq),
                    ):
                        raise ReplyError(INVALID_STREAM_ID)
                else:
                    if not args.integer(i, cython.address(number)):
                        raise ReplyError(NOT_INT)
                    if number < 0:
                        raise ReplyError(b"ERR The MAXLEN argument must be >= 0.")
                    trim.threshold = number
                trim.given = True
            elif more > 0 and args.matches(i, b"LIMIT", 5):
                i += 1
                if not args.integer(i, cython.address(trim.limit)):
                    raise ReplyError(NOT_INT)
                if trim.limit < 0:
                    raise ReplyError(b"ERR The LIMIT argument must be >= 0.")
                trim.limit_given = True
            elif args.matches(i, b"NOMKSTREAM", 10):
                new.no_make = True
            else:
                if not parse_id(
                    args.p[i],
                    args.n[i],
                    0,
                    True,
                    cython.address(new.seq_given),
                    cython.address(new.ms),
                    cython.address(new.seq),
                ):
                    raise ReplyError(INVALID_STREAM_ID)
                new.given = True
                break
            i += 1
        if trim.limit and not trim.given:
            raise ReplyError(
                b"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
            )
        if trim.limit_given and not trim.approximate:
            raise ReplyError(b"ERR syntax error, LIMIT cannot be used without the special ~ option")
        if trim.approximate and not trim.limit_given:
            trim.limit = 100 * self.node_max_entries
            if trim.limit <= 0:
                trim.limit = 10000
            if trim.limit > TRIM_LIMIT_MAX:
                trim.limit = TRIM_LIMIT_MAX
        return i

    def xadd_id(self, stream, new):
        """Settle the new entry's ID in ``new``. ``stream`` is None where the key does not exist."""
        last_ms: uint64_t = 0
        last_seq: uint64_t = 0
        if stream is not None:
            last_ms = stream.last_ms
            last_seq = stream.last_seq
        if last_ms == U64_MAX and last_seq == U64_MAX:
            raise ReplyError(
                b"ERR The stream has exhausted the last possible ID, unable to add more items"
            )
        if not new.given:
            new.ms = self.now_ms
            new.seq = 0
            if new.ms <= last_ms:
                new.ms = last_ms
                new.seq = last_seq + 1
                if new.seq == 0:
                    new.ms += 1
        elif not new.seq_given:
            new.seq = 0
            if new.ms == last_ms and last_seq < U64_MAX:
                new.seq = last_seq + 1
        if new.ms < last_ms or (new.ms == last_ms and new.seq <= last_seq):
            raise ReplyError(
                b"ERR The ID specified in XADD is equal or smaller than the target stream top item"
            )
        return 0

    def xadd(self, session):
        """XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT n]] *|id field value ..."""
        args: Args = self.args
        trim: Trim
        new: NewId
        stream: Stream
        new_node: cython.bint
        i: cython.Py_ssize_t
        total: cython.Py_ssize_t = 0
        start: cython.p_const_char
        wire: cython.Py_ssize_t
        target: uint64_t
        first: cython.Py_ssize_t = self.xadd_options(cython.address(trim), cython.address(new)) + 1
        n_args: cython.Py_ssize_t = args.count - first
        if n_args < 2 or n_args & 1:
            raise wrong_arity(b"xadd")
        if new.given and new.seq_given and new.ms == 0 and new.seq == 0:
            raise ReplyError(b"ERR The ID specified in XADD must be greater than 0-0")
        stream = self.find_stream(1, session)
        if stream is None and new.no_make:
            session.out.put(b"$-1\r\n" if session.proto == 2 else b"_\r\n", 5 if session.proto == 2 else 3)
            return VERB_DONE
        self.xadd_id(stream, cython.address(new))
        for i in range(first, args.count):
            total += args.n[i]
        if total > ELEMENTS_BYTES_MAX:
            raise ReplyError(b"ERR Elements are too large to be stored")
        start = args.p[first] - 3 - num_len(args.n[first])
        wire = args.p[args.count - 1] + args.n[args.count - 1] + 2 - start
        self.reserve(wire + args.n[1] + RECORD_BYTES, False)
        if trim.given and trim.by_id and stream is not None:
            stream.seek(trim.threshold, trim.seq)

        if stream is None:
            stream = self.journal.create_stream(self.keys.namespaces[session.db], args.word(1))
        new_node = stream.starts_node(
            start, n_args, total, self.node_max_bytes, self.node_max_entries
        )
        self.journal.add(stream, new.ms, new.seq, start, wire, n_args, new_node)
        session.out.put_bulk_id(new.ms, new.seq)
        if stream.waiters:
            self.on_change(stream.ns, stream.key)
        if trim.given:
            target = stream.trim_target(
                trim.by_id, trim.threshold, trim.seq, trim.approximate, trim.limit
            )
            if target > stream.mark_pos:
                self.journal.trim_to(stream, target)
        return VERB_DONE

    # ── XACK, XLEN, PING ─────────────────────────────────────────────────────────────────────────

    def xack(self, session):
        """XACK key group id [id ...]"""
        args: Args = self.args
        i: cython.Py_ssize_t
        n: cython.Py_ssize_t = args.count - 3
        group: Group = None
        stream: Stream = self.find_stream(1, session)
        if stream is not None:
            group = stream.groups.get(args.word(2))
        if group is None:
            session.out.put(b":0\r\n", 4)
            return VERB_DONE
        self.journal.want_ids(n)
        for i in range(n):
            if not parse_id(
                args.p[i + 3],
                args.n[i + 3],
                0,
                True,
                cython.NULL,
                self.journal.ids_ms + i,
                self.journal.ids_seq + i,
            ):
                raise ReplyError(INVALID_STREAM_ID)
        self.reserve(RECORD_BYTES + ROW_RECORD_BYTES * n, True)

        session.out.put_head(58, self.journal.ack_ids(stream, group, n))
        return VERB_DONE

    def xlen(self, session):
        """XLEN key"""
        stream: Stream = self.find_stream(1, session)
        session.out.put_head(58, 0 if stream is None else stream.length)
        return VERB_DONE

    def ping(self, session):
        """PING [message]"""
        args: Args = self.args
        if args.count > 2:
            raise wrong_arity(b"ping")
        if args.count == 2:
            session.out.put_bulk(args.p[1], args.n[1])
        else:
            session.out.put(b"+PONG\r\n", 7)
        return VERB_DONE

    # ── XRANGE, XREVRANGE ────────────────────────────────────────────────────────────────────────

    def load_or_park(self, stream, start, stop):
        """Whether the verb must wait for cold blocks of [start, stop); a block or two are read in place."""
        if not self.may_park:
            return False
        few: list = stream.missing(start, stop, COLD_BLOCKS_IN_PLACE + 1)
        if len(few) <= COLD_BLOCKS_IN_PLACE:
            return False
        self.missing = stream.missing(start, stop, COLD_BLOCKS_AT_ONCE)
        self.retry = encode_command(self.args.words())
        return True

    def xrange(self, session, reverse):
        """XRANGE key start end [COUNT n], XREVRANGE key end start [COUNT n]"""
        args: Args = self.args
        stream: Stream
        low: cython.int = 3 if reverse else 2
        high: cython.int = 2 if reverse else 3
        first_ms: uint64_t = 0
        first_seq: uint64_t = 0
        last_ms: uint64_t = 0
        last_seq: uint64_t = 0
        exclusive: cython.bint = False
        count: int64_t = -1
        i: cython.Py_ssize_t = 4
        first: uint64_t
        stop: uint64_t
        n: uint64_t
        if not parse_bound(
            args.p[low],
            args.n[low],
            0,
            cython.address(exclusive),
            cython.address(first_ms),
            cython.address(first_seq),
        ):
            raise ReplyError(INVALID_STREAM_ID)
        if exclusive:
            first_seq += 1
            if first_seq == 0:
                first_ms += 1
                if first_ms == 0:
                    raise ReplyError(b"ERR invalid start ID for the interval")
        if not parse_bound(
            args.p[high],
            args.n[high],
            U64_MAX,
            cython.address(exclusive),
            cython.address(last_ms),
            cython.address(last_seq),
        ):
            raise ReplyError(INVALID_STREAM_ID)
        if exclusive:
            if last_seq == 0:
                if last_ms == 0:
                    raise ReplyError(b"ERR invalid end ID for the interval")
                last_ms -= 1
            last_seq -= 1
        while i < args.count:
            if not args.matches(i, b"COUNT", 5) or i + 1 == args.count:
                raise ReplyError(SYNTAX)
            if not args.integer(i + 1, cython.address(count)):
                raise ReplyError(NOT_INT)
            if count < 0:
                count = 0
            i += 2
        stream = self.find_stream(1, session)
        if stream is None:
            session.out.put(b"*0\r\n", 4)
            return VERB_DONE
        if count == 0:
            self.put_null_array(session)
            return VERB_DONE
        first = stream.seek(first_ms, first_seq)
        last_seq += 1
        if last_seq == 0:
            last_ms += 1
        if last_ms == 0 and last_seq == 0:
            stop = stream.end_pos
        else:
            stop = stream.seek(last_ms, last_seq)
        if stop < first:
            stop = first
        if count > 0:
            if reverse:
                first = stream.back_live(stop, first, count)
            else:
                stop = stream.take_until(first, stop, count)
        n = stop - first - stream.deleted_between(first, stop)
        if n > 16 and self.may_park and stream.wire_estimate(first, stop) > LONG_REPLY_BYTES:
            self.long_reply = (stream, first, stop, n, reverse)
            return VERB_STREAM
        if self.load_or_park(stream, first, stop):
            return VERB_COLD
        session.out.put_head(42, n)
        if reverse:
            stream.copy_reverse(session.out, first, stop)
        else:
            stream.copy(session.out, first, stop)
        return VERB_DONE

    def put_null_array(self, session: Session) -> None:
        """Answer with a null array."""
        if session.proto == 2:
            session.out.put(b"*-1\r\n", 5)
        else:
            session.out.put(b"_\r\n", 3)

    # ── XREAD, XREADGROUP ────────────────────────────────────────────────────────────────────────

    def xread(self, session, grouped):
        """XREAD [COUNT n] [BLOCK ms] STREAMS key... id...; XREADGROUP GROUP g c [NOACK] besides"""
        args: Args = self.args
        i: cython.Py_ssize_t = 1
        more: cython.Py_ssize_t
        block_ms: int64_t = -1
        count: int64_t = 0
        first: cython.Py_ssize_t = 0
        n: cython.Py_ssize_t = 0
        group_at: cython.Py_ssize_t = 0
        noack: cython.bint = False
        served: cython.Py_ssize_t
        name: bytes = b"xreadgroup" if grouped else b"xread"
        while i < args.count:
            more = args.count - i - 1
            if more > 0 and args.matches(i, b"BLOCK", 5):
                i += 1
                if not args.integer(i, cython.address(block_ms)):
                    raise ReplyError(TIMEOUT_NOT_INT)
                if block_ms < 0:
                    raise ReplyError(TIMEOUT_NEGATIVE)
                if block_ms > INT64_MAX - cython.cast(int64_t, self.now_ms):
                    raise ReplyError(TIMEOUT_RANGE)
            elif more > 0 and args.matches(i, b"COUNT", 5):
                i += 1
                if not args.integer(i, cython.address(count)):
                    raise ReplyError(NOT_INT)
                if count < 0:
                    count = 0
            elif more > 0 and args.matches(i, b"STREAMS", 7):
                first = i + 1
                n = args.count - first
                if n & 1:
                    raise ReplyError(
                        UNBALANCED % (name, b" or '>'" if grouped else b", '+', or '$'")
                    )
                n //= 2
                break
            elif more >= 2 and args.matches(i, b"GROUP", 5):
                if not grouped:
                    raise ReplyError(
                        b"ERR The GROUP option is only supported by XREADGROUP. You called XREAD "
                        b"instead."
                    )
                group_at = i + 1
                i += 2
            elif args.matches(i, b"NOACK", 5):
                if not grouped:
                    raise ReplyError(
                        b"ERR The NOACK option is only supported by XREADGROUP. You called XREAD "
                        b"instead."
                    )
                noack = True
            else:
                raise ReplyError(SYNTAX)
            i += 1
        if first == 0:
            raise ReplyError(SYNTAX)
        if grouped and group_at == 0:
            raise ReplyError(b"ERR Missing GROUP option for XREADGROUP")
        self.xread_parts(session, grouped, first, n, group_at)
        served = self.xread_plan(grouped, n, count)
        if served < -1:
            return VERB_COLD

        if served > 0:
            session.out.put_head(42 if session.proto == 2 else 37, served)
        self.xread_serve(session, grouped, first, n, group_at, noack, count)
        self.streams.clear()
        self.groups.clear()
        if served > 0:
            return VERB_DONE
        if block_ms >= 0:
            return self.block(session, first, n, group_at, block_ms)
        self.put_null_array(session)
        return VERB_DONE

    def xread_parts(self, session, grouped, first, n, group_at):
        """Find the streams and groups and read the IDs, refusing what Redis refuses."""
        args: Args = self.args
        i: cython.Py_ssize_t
        part: cython.pointer(Part)
        stream: Stream
        group: Group = None
        self.streams.clear()
        self.groups.clear()
        if n > self.parts_cap:
            self.parts_cap = 2 * n
            self.parts = cython.cast(
                cython.pointer(Part), realloc(self.parts, self.parts_cap * cython.sizeof(Part))
            )
            if self.parts == cython.NULL:
                abort()
        for i in range(n):
            part = self.parts + i
            stream = self.find_stream(first + i, session)
            if grouped:
                group = None
                if stream is not None:
                    group = stream.groups.get(args.word(group_at))
                if group is None:
                    raise ReplyError(
                        NOGROUP % (c_string(args.word(first + i)), c_string(args.word(group_at)))
                    )
            self.streams.append(stream)
            self.groups.append(group)
            part.kind = 105
            part.ms = 0
            part.seq = 0
            if args.is_char(first + n + i, 36):
                if grouped:
                    raise ReplyError(MEANINGLESS % (b"$", b"$"))
                if stream is not None:
                    part.ms = stream.last_ms
                    part.seq = stream.last_seq
            elif args.is_char(first + n + i, 43):
                if grouped:
                    raise ReplyError(MEANINGLESS % (b"+", b"+"))
                part.kind = 43
            elif args.is_char(first + n + i, 62):
                if not grouped:
                    raise ReplyError(
                        b"ERR The > ID can be specified only when calling XREADGROUP using the "
                        b"GROUP <group> <consumer> option."
                    )
                part.kind = 62
            else:
                if not parse_id(
                    args.p[first + n + i],
                    args.n[first + n + i],
                    0,
                    True,
                    cython.NULL,
                    cython.address(part.ms),
                    cython.address(part.seq),
                ):
                    raise ReplyError(INVALID_STREAM_ID)
                if grouped:
                    part.kind = 104
        return 0

    def xread_plan(self, grouped, n, count):
        """Settle which positions each stream gives; how many streams answer, -2 if blocks are cold."""
        i: cython.Py_ssize_t
        k: cython.Py_ssize_t
        served: cython.Py_ssize_t = 0
        need: cython.Py_ssize_t = 0
        part: cython.pointer(Part)
        stream: Stream
        group: Group
        limit: uint64_t = count if count > 0 else U64_MAX
        for i in range(n):
            part = self.parts + i
            part.n = 0
            stream = self.streams[i]
            if stream is None:
                continue
            if part.kind == 104:
                served += 1
                group = self.groups[i]
                need += RECORD_BYTES + ROW_RECORD_BYTES * (
                    group.pending.length if count == 0 or count > group.pending.length else count
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
            if self.load_or_park(stream, part.start, part.stop):
                return -2
            need += RECORD_BYTES + ROW_RECORD_BYTES * part.n
            served += 1
        if grouped:
            self.reserve(need + n * RECORD_BYTES, False)
            for i in range(n):
                stream = self.streams[i]
                stream.need_first()
        return served

    def xread_serve(self, session, grouped, first, n, group_at, noack, count):
        """Write what ``xread_plan`` settled, and mark it delivered."""
        args: Args = self.args
        i: cython.Py_ssize_t
        part: cython.pointer(Part)
        stream: Stream
        group: Group = None
        consumer: Consumer = None
        out: Buf = session.out
        for i in range(n):
            part = self.parts + i
            stream = self.streams[i]
            if grouped:
                group = self.groups[i]
                consumer = group.find_consumer(args.p[group_at + 1], args.n[group_at + 1])
                if consumer is None:
                    consumer = self.journal.new_consumer(
                        stream, group, args.word(group_at + 1), self.now_ms
                    )
                consumer.seen_ms = self.now_ms
            if part.n == 0 and part.kind != 104:
                continue
            if session.proto == 2:
                out.put(b"*2\r\n", 4)
            out.put_bulk(args.p[first + i], args.n[first + i])
            if part.kind == 104:
                self.history(session, stream, group, consumer, part, count)
                continue
            out.put_head(42, part.n)
            if grouped:
                self.journal.deliver(
                    stream, group, consumer, part.start, part.stop, part.n, self.now_ms, noack, out
                )
            else:
                stream.copy(out, part.start, part.stop)
        return 0

    def history(self, session, stream, group, consumer, part, count):
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
            while count == 0 or n < cython.cast(uint64_t, count):
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
                rows.append((row.ms, row.seq, self.now_ms, row.count + 1))
        if rows:
            self.journal.claim(stream, group, consumer, rows, self.now_ms, -1)
        out.put_head(42, n)
        out.put(body.p, body.n)
        return 0

    def block(self, session, first, n, group_at, block_ms):
        """Nothing to give yet: leave behind what the client waits for."""
        args: Args = self.args
        i: cython.Py_ssize_t
        words: list = args.words()
        for i in range(n):
            if args.is_char(first + n + i, 36):
                words[first + n + i] = b"%d-%d" % (self.parts[i].ms, self.parts[i].seq)
        self.wait_keys = [(session.db, words[first + i]) for i in range(n)]
        self.wait_group = args.word(group_at) if group_at else None
        self.retry = encode_command(words)
        self.block_ms = block_ms
        return VERB_BLOCK


def encode_command(words: list[bytes]) -> bytes:
    """A command in wire form."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(w), w) for w in words])
