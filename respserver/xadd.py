"""XADD: options, the new entry's ID, appending, trimming.

Rules: those of respserver/context.py. Until the journal is told, nothing has changed; the ID that
``xadd_id`` settles is then certain to be the next one. The fields go to the journal as the client
sent them, bulk by bulk. With IDMP or IDMPAUTO the entry's record and that of its iid stand in one
frame, and a call that came before is answered before anything else of it is looked at. Source: the
Redis documentation of the command; options are read and refused in the order of redis-server 7.4.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.lsmstore.buf import U64_MAX, num_len
from cython.cimports.streams.idtext import parse_id

from respserver.errors import INVALID_STREAM_ID, NOT_INT, ReplyError, wrong_arity
from respserver.scan import Args
from respserver.version import LEVEL_8_2, LEVEL_8_6
from streams.producers import Producers
from streams.references import TrimPlan
from streams.stream import Stream

ELEMENTS_BYTES_MAX = cython.declare(cython.longlong, 1 << 30)
LEVEL_IDMP = cython.declare(cython.uint, LEVEL_8_6)
TRIM_LIMIT_MAX = cython.declare(cython.longlong, 1000000)
REFERENCES_LEVEL = cython.declare(cython.longlong, LEVEL_8_2)


def xadd(context, session):
    """XADD key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [IDMPAUTO pid|IDMP pid iid]
    [MAXLEN|MINID [=|~] threshold [LIMIT n]] *|id field value ...
    """
    args: Args = context.args
    trim: Trim
    new: NewId
    stream: Stream
    plan: TrimPlan = None
    new_node: cython.bint
    i: cython.Py_ssize_t
    total: cython.Py_ssize_t = 0
    start: cython.p_const_char
    wire: cython.Py_ssize_t
    target: uint64_t
    first: cython.Py_ssize_t = xadd_options(context, cython.address(trim), cython.address(new)) + 1
    n_args: cython.Py_ssize_t = args.count - first
    content: bytes
    idmp_bytes: cython.Py_ssize_t = 0
    if n_args < 2 or n_args & 1:
        raise wrong_arity(b"xadd")
    if new.given and new.seq_given and new.ms == 0 and new.seq == 0:
        raise ReplyError(b"ERR The ID specified in XADD must be greater than 0-0")
    stream = context.find_stream(1, session)
    if stream is None and new.no_make:
        session.out.put(
            b"$-1\r\n" if session.proto == 2 else b"_\r\n", 5 if session.proto == 2 else 3
        )
        return VERB_DONE
    if new.pid:
        if new.iid_at:
            new.iid = word(args.p[new.iid_at], args.n[new.iid_at])
        else:
            content = content_iid(args.p + first, args.n + first, args.count - first)
            new.iid = word(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content))
        if stream is not None and xadd_duplicate(context, session, stream, cython.address(new)):
            return VERB_DONE
        idmp_bytes = args.n[new.pid] + new.iid.n + IDMP_RECORD_BYTES
    xadd_id(context, stream, cython.address(new))
    for i in range(first, args.count):
        total += args.n[i]
    if total > ELEMENTS_BYTES_MAX:
        raise ReplyError(b"ERR Elements are too large to be stored")
    start = args.p[first] - 3 - num_len(args.n[first])
    wire = args.p[args.count - 1] + args.n[args.count - 1] + 2 - start
    context.reserve(wire + args.n[1] + idmp_bytes + RECORD_BYTES, False)
    if trim.given and trim.by_id and stream is not None:
        stream.seek(trim.threshold, trim.seq)
    if stream is not None and not stream.node_open and stream.node_count > 0:
        stream.reckon_last_node()
    if trim.given and trim.references >= DELREF and stream is not None and stream.groups:
        new_node = stream.starts_node(
            start, n_args, total, context.node_max_bytes, context.node_max_entries
        )
        plan = TrimPlan(
            stream,
            trim.by_id,
            (trim.threshold, trim.seq),
            trim.approximate,
            trim.limit,
            trim.references == ACKED,
            (new.ms, new.seq, new_node),
        )
        context.reserve(wire + args.n[1] + idmp_bytes + RECORD_BYTES + plan.record_bytes, False)

    if stream is None:
        stream = context.journal.create_stream(context.keys.namespaces[session.db], args.word(1))
    new_node = stream.starts_node(
        start, n_args, total, context.node_max_bytes, context.node_max_entries
    )
    context.journal.add(stream, new.ms, new.seq, start, wire, n_args, new_node)
    context.journal.put_id_added(session.out)
    if new.pid:
        context.journal.remember(
            stream,
            args.p[new.pid],
            args.n[new.pid],
            cython.address(new.iid),
            new.ms,
            new.seq,
            True,
        )
    if stream.waiters:
        context.on_change(stream.ns, stream.key)
    if plan is not None:
        plan.apply(context.journal)
    elif trim.given:
        target = stream.trim_target(
            trim.by_id, trim.threshold, trim.seq, trim.approximate, trim.limit
        )
        if target > stream.mark_pos:
            context.journal.trim_to(stream, target)
    return VERB_DONE


def xadd_options(context, trim, new):
    """Read what stands between key and fields; returns where the ID stands."""
    args: Args = context.args
    i: cython.Py_ssize_t = 2
    more: cython.Py_ssize_t
    word: cython.int
    number: int64_t = 0
    trim.given = False
    trim.references = 0
    trim.by_id = False
    trim.approximate = False
    trim.limit_given = False
    trim.threshold = 0
    trim.seq = 0
    trim.limit = 0
    new.given = False
    new.seq_given = True
    new.no_make = False
    new.pid = 0
    new.iid_at = 0
    while i < args.count:
        more = args.count - 1 - i
        if args.is_char(i, 42):
            break
        if (
            args.n[i] > 0
            and args.p[i][0] | 32 == 105  # an I: one look more for all others
            and context.redis_level >= LEVEL_IDMP
            and (
                (more > 1 and args.matches(i, b"IDMP", 4))
                or (more > 0 and args.matches(i, b"IDMPAUTO", 8))
            )
        ):
            if new.pid:
                raise ReplyError(b"ERR syntax error, IDMP/IDMPAUTO specified multiple times")
            new.pid = i + 1
            if args.n[i] == 4:
                new.iid_at = i + 2
                if args.n[new.pid] == 0:
                    raise ReplyError(b"ERR syntax error, IDMP requires a non-empty producer ID")
                if args.n[new.iid_at] == 0:
                    raise ReplyError(b"ERR syntax error, IDMP requires a non-empty idempotent ID")
                i += 1
            elif args.n[new.pid] == 0:
                raise ReplyError(b"ERR syntax error, IDMPAUTO requires a non-empty producer ID")
            i += 1
        elif more > 0 and (args.matches(i, b"MAXLEN", 6) or args.matches(i, b"MINID", 5)):
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
        elif trim.references == 0 and (word := reference_word(context, i)) != 0:
            trim.references = word
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
            if new.pid:
                raise ReplyError(
                    b"ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs"
                )
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
        trim.limit = 100 * context.node_max_entries
        if trim.limit <= 0:
            trim.limit = 10000
        if trim.limit > TRIM_LIMIT_MAX:
            trim.limit = TRIM_LIMIT_MAX
    return i


def reference_word(context, i):
    """KEEPREF, DELREF or ACKED, if argument ``i`` is one of them; else 0."""
    args: Args = context.args
    if context.redis_level < REFERENCES_LEVEL:
        return 0
    if args.matches(i, b"KEEPREF", 7):
        return KEEPREF
    if args.matches(i, b"DELREF", 6):
        return DELREF
    return ACKED if args.matches(i, b"ACKED", 5) else 0


def xadd_id(context, stream, new):
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
        new.ms = context.now_ms
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


def xadd_duplicate(context, session, stream, new):
    """Whether the producer has added this before; then that is counted and answered.

    The first entry's ID is the reply even where the entry is gone; nothing is added or trimmed.
    """
    args: Args = context.args
    known: cython.pointer(Iid)
    producers: Producers = stream.producers
    if producers is None:
        return False
    if producers.is_due(context.now_ms):
        context.reserve(IDMP_RECORD_BYTES, False)
        context.journal.sweep_if_due(stream, context.now_ms)
    known = producers.lookup(args.p[new.pid], args.n[new.pid], cython.address(new.iid))
    if known == cython.NULL:
        return False
    context.reserve(IDMP_RECORD_BYTES, False)
    context.journal.count_duplicate(stream)
    session.out.put_bulk_id(known.ms, known.seq)
    return True
