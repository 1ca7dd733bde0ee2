"""The compiled verbs: XACK, XRANGE, XREVRANGE, XLEN, PING here; XADD, XREAD and XREADGROUP beside.

Rules: those of respserver/context.py. A verb is known by its number in ``HOT``. Source: the Redis
documentation of each command; order of checks as in redis-server 7.4.
"""

from __future__ import annotations

from collections.abc import Callable

import cython
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.lsmstore.buf import U64_MAX
from cython.cimports.streams.idtext import parse_bound, parse_id

from respserver.context import VerbContext
from respserver.errors import INVALID_STREAM_ID, NOT_INT, SYNTAX, ReplyError, wrong_arity
from respserver.scan import Args
from respserver.xread import Reader
from streams.group import Group
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

LONG_REPLY_BYTES = cython.declare(cython.longlong, 1 << 20)


@cython.final
@cython.cclass
class Verbs(VerbContext):
    """Runs one compiled verb over the arguments in ``args``."""

    def __init__(
        self,
        args: Args,
        journal: Journal,
        keys: Keyspace,
        on_change: Callable[[int, bytes], None],
        make_room: Callable[[int, bool], int],
    ) -> None:
        super().__init__(args, journal, keys, on_change, make_room)
        self.reader = Reader()

    def run(self, verb, session):
        """Run a verb by its number in ``HOT``."""
        if verb == 1:
            return xadd(self, session)
        if verb == 2:
            return self.reader.read(self, session, True)
        if verb == 3:
            return self.xack(session)
        if verb == 4:
            return self.xrange(session, False)
        if verb == 5:
            return self.xrange(session, True)
        if verb == 6:
            return self.reader.read(self, session, False)
        if verb == 7:
            return self.xlen(session)
        return self.ping(session)

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
        if session.special and session.subscriptions is not None and session.proto == 2:
            session.out.put(b"*2\r\n$4\r\npong\r\n", 14)
            if args.count == 2:
                session.out.put_bulk(args.p[1], args.n[1])
            else:
                session.out.put(b"$0\r\n\r\n", 6)
        elif args.count == 2:
            session.out.put_bulk(args.p[1], args.n[1])
        else:
            session.out.put(b"+PONG\r\n", 7)
        return VERB_DONE
