"""What every compiled verb works with, and what one that did not finish leaves behind.

Rules: a verb is two paragraphs. First it reads its arguments and checks everything, raising a
ReplyError with Redis' words; what could need a disk read is read here. Then it changes things
through the journal and writes its reply; nothing raises any more. Arguments are slices in wire form
(respserver/scan.py).

A verb that cannot finish now leaves arguments behind, never state. It returns VERB_BLOCK (wait for
``wait_keys`` for ``block_ms``, then run ``retry``; do so, too, when pending entries of a key fall
due: ``wait_due`` are (key, wall time in ms), ``wait_idle_ms`` is what CLAIM asks for), VERB_COLD
(run ``retry`` once the blocks in ``missing`` are in memory) or VERB_STREAM (send ``long_reply`` bit
by bit).
"""

from __future__ import annotations

from collections.abc import Callable

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memcmp

from respserver.errors import WRONGTYPE, ReplyError
from respserver.scan import Args
from respserver.version import OLDEST
from streams.journal import Journal
from streams.keyspace import Keyspace
from streams.stream import Stream

COLD_BLOCKS_IN_PLACE = cython.declare(cython.longlong, 2)
COLD_BLOCKS_AT_ONCE = cython.declare(cython.longlong, 4096)


@cython.cclass
class VerbContext:
    """The arguments in ``args``, the journal and the streams, the time and the limits."""

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
        self.wait_due = []
        self.promised = 0
        self.may_park = True
        self.redis_level = OLDEST
        self.node_max_bytes = 4096
        self.node_max_entries = 100
        self.recent_key = None
        self.recent_table = None
        self.recent = None

    def find_stream(self, i, session):
        """The stream that argument ``i`` names, or None."""
        args: Args = self.args
        table: dict = self.tables[session.db]
        found: object
        key: bytes
        ns: uint32_t
        stream: Stream = self.recent
        if (
            stream is not None
            and table is self.recent_table
            and not stream.dropped
            and stream.key is self.recent_key
            and stream.ns == self.recent_ns
            and PyBytes_GET_SIZE(self.recent_key) == args.n[i]
            and memcmp(PyBytes_AS_STRING(self.recent_key), args.p[i], args.n[i]) == 0
            and (stream.expires_ms == 0 or stream.expires_ms > self.now_ms)
        ):
            stream.touched_ms = self.now_ms
            return stream
        key = args.word(i)
        ns = self.keys.namespaces[session.db]
        found = table.get(key)
        if found is not None:
            stream = found
        if found is None or (stream.expires_ms != 0 and stream.expires_ms <= self.now_ms):
            found = self.keys.lookup(ns, key)
            if found is None:
                return None
            if not isinstance(found, Stream):
                raise ReplyError(WRONGTYPE)
            stream = found
        self.recent = stream
        self.recent_key = stream.key
        self.recent_ns = ns
        self.recent_table = table
        stream.touched_ms = self.now_ms
        return stream

    def reserve(self, n: cython.Py_ssize_t, frees: bool) -> int:
        """Make sure that ``n`` bytes of records fit in the log, or raise ReplyError.

        ``frees``: the command gives space back and may draw on the log's reserve. What a
        transaction was promised stays so while its commands ask for their parts of it.
        """
        n += self.journal.log.n
        if n > self.log_room:
            self.log_room = self.make_room(n, frees)
        if n > self.promised:
            self.promised = n
        return 0

    def load_or_park(self, stream, start, stop):
        """Whether the verb must wait for cold blocks of [start, stop); one or two are no reason.

        Otherwise they are read now: a block that is damaged is found before anything has changed.
        """
        limit: cython.Py_ssize_t = COLD_BLOCKS_IN_PLACE + 1
        if not self.may_park:
            limit = COLD_BLOCKS_AT_ONCE
        few: list = stream.missing(start, stop, limit)
        if len(few) < limit or not self.may_park:
            return self.load_now_or_park(stream, few)
        return self.load_now_or_park(stream, stream.missing(start, stop, COLD_BLOCKS_AT_ONCE))

    def waits_for(self, stream: Stream, start: uint64_t, stop: uint64_t) -> bool:
        """``load_or_park`` for Python handlers."""
        return self.load_or_park(stream, start, stop)

    def load_rows_or_park(self, stream, rows, n):
        """``load_or_park`` for the entries of ``n`` pending rows."""
        i: cython.Py_ssize_t
        cold: object
        missing: dict = {}
        if len(stream.runs) == 0:
            return False
        for i in range(n):
            cold = stream.cold_block(rows[i].ms, rows[i].seq)
            if cold is not None:
                missing[cold] = None
                if len(missing) == COLD_BLOCKS_AT_ONCE:
                    break
        return self.load_now_or_park(stream, list(missing))

    def load_now_or_park(self, stream, missing):
        """Read these blocks now if they are few or nobody may wait; else leave them behind."""
        if len(missing) > COLD_BLOCKS_IN_PLACE and self.may_park:
            self.missing = missing
            self.retry = self.args.wire()
            return True
        for run, index in missing:
            stream.loader(run, index)
        return False

    def put_null_array(self, session):
        """Answer with a null array."""
        if session.proto == 2:
            session.out.put(b"*-1\r\n", 5)
        else:
            session.out.put(b"_\r\n", 3)


def encode_command(words: list[bytes]) -> bytes:
    """A command in wire form."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(w), w) for w in words])
