"""What takes entries out of a stream or sets its counters: XDEL, XTRIM, XSETID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from respserver.args import need_int
from respserver.errors import SYNTAX, ReplyError
from respserver.keyspec import one_key
from respserver.replies import OK, Simple
from respserver.spec import DENYOOM, FAST, WRITE, command
from respserver.stream_args import ACKED, KEEPREF, REFERENCES, need_stream, need_strict_id, option
from respserver.version import LEVEL_8_2
from streams import ids
from streams.ids import ID
from streams.references import TrimPlan

if TYPE_CHECKING:
    from respserver.call import Call

# How many entries an approximate trim without LIMIT may take out, by nodes and at most.
TRIM_NODES = 100
TRIM_LIMIT_WITHOUT_NODES = 10_000
TRIM_LIMIT_MAX = 1_000_000

TWO_STRATEGIES = b"ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
NO_STRATEGY = b"ERR syntax error, XTRIM must be called with a trimming strategy"
LIMIT_WITHOUT_STRATEGY = (
    b"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
)
LIMIT_WITHOUT_TILDE = b"ERR syntax error, LIMIT cannot be used without the special ~ option"


@command(
    "XDEL",
    "key id...",
    "Returns the number of messages after removing them from a stream.",
    arity=-3,
    flags=WRITE | FAST,
    acl="stream",
    keys=one_key("RW delete"),
    since="5.0.0",
    complexity=(
        "O(1) for each single item to delete in the stream, regardless of the stream size."
    ),
)
def xdel(call: Call) -> int:
    stream = call.keyspace.stream(call.ns, call.argv[1])
    if stream is None:
        return 0
    doomed = [need_strict_id(text) for text in call.argv[2:]]
    return call.journal.delete(stream, doomed)


@dataclass(frozen=True, slots=True)
class Trim:
    """What XTRIM was asked for. ``threshold`` is the lowest ID to stay, or (length, 0);
    ``references`` is KEEPREF, DELREF or ACKED.
    """

    by_id: bool
    threshold: ID
    approximate: bool
    limit: int | None
    references: bytes


def parse_trim(argv: list[bytes], level: int) -> Trim:
    """The options of XTRIM, as the version of this level has them."""
    references: bytes | None = None
    by_id: bool | None = None
    threshold = ids.MIN_ID
    approximate = False
    limit: int | None = None
    at = 2
    while at < len(argv):
        word = option(argv[at])
        more = len(argv) - 1 - at
        if word in (b"MAXLEN", b"MINID") and more:
            if by_id is not None:
                raise ReplyError(TWO_STRATEGIES)
            by_id = word == b"MINID"
            if more >= 2 and argv[at + 1] in (b"~", b"="):
                approximate = argv[at + 1] == b"~"
                at += 1
            threshold = need_strict_id(argv[at + 1]) if by_id else (need_int(argv[at + 1]), 0)
            if threshold[0] < 0:
                raise ReplyError(b"ERR The MAXLEN argument must be >= 0.")
            at += 2
        elif word == b"LIMIT" and more:
            limit = need_int(argv[at + 1])
            if limit < 0:
                raise ReplyError(b"ERR The LIMIT argument must be >= 0.")
            at += 2
        elif word in REFERENCES and references is None and level >= LEVEL_8_2:
            references = word
            at += 1
        else:
            raise ReplyError(SYNTAX)
    if by_id is None:
        raise ReplyError(LIMIT_WITHOUT_STRATEGY if limit else NO_STRATEGY)
    if limit is not None and not approximate:
        raise ReplyError(LIMIT_WITHOUT_TILDE)
    return Trim(by_id, threshold, approximate, limit, references or KEEPREF)


@command(
    "XTRIM",
    (
        'key trim={strategy=<MAXLEN | MINID@6.2.0> operator=[equal="=" | approximately="~"] '
        "threshold [LIMIT count:integer@6.2.0] condition=[KEEPREF | DELREF | ACKED]@(8.2.0)}"
    ),
    "Deletes messages from the beginning of a stream.",
    arity=-4,
    flags=WRITE,
    acl="stream",
    keys=one_key("RW delete"),
    since="5.0.0",
    complexity=(
        "O(N), with N being the number of evicted entries. Constant times are very small "
        "however, since entries are organized in macro nodes containing multiple entries "
        "that can be released with a single deallocation."
    ),
    history=(
        ("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option."),
        ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
    ),
    tips=("nondeterministic_output",),
)
def xtrim(call: Call) -> int:
    trim = parse_trim(call.argv, call.redis_level)
    stream = call.keyspace.stream(call.ns, call.argv[1])
    if stream is None:
        return 0
    limit = trim.limit
    if limit is None:
        limit = 0
        if trim.approximate:
            limit = TRIM_NODES * call.server.config.stream_node_max_entries
            limit = min(limit or TRIM_LIMIT_WITHOUT_NODES, TRIM_LIMIT_MAX)
    if trim.references != KEEPREF and stream.groups:
        acked = trim.references == ACKED
        plan = TrimPlan(stream, trim.by_id, trim.threshold, trim.approximate, limit, acked)
        call.reserve(plan.record_bytes, frees=True)
        plan.apply(call.journal)
        return plan.count
    position, gone = stream.plan_trim(trim.by_id, trim.threshold, trim.approximate, limit)
    if gone:
        call.journal.trim(stream, position)
    return gone


@command(
    "XSETID",
    ("key last-id [ENTRIESADDED entries-added:integer@7.0.0] [MAXDELETEDID max-deleted-id@7.0.0]"),
    "An internal command for replicating stream values.",
    arity=-3,
    flags=WRITE | DENYOOM | FAST,
    acl="stream",
    keys=one_key("RW update"),
    since="5.0.0",
    complexity="O(1)",
    history=(("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments."),),
)
def xsetid(call: Call) -> Simple:
    argv = call.argv
    last_id = need_strict_id(argv[2])
    entries_added = -1
    max_deleted_id = ids.MIN_ID
    for at in range(3, len(argv), 2):
        word = option(argv[at])
        if word == b"ENTRIESADDED" and at + 1 < len(argv):
            entries_added = need_int(argv[at + 1])
            if entries_added < 0:
                raise ReplyError(b"ERR entries_added must be positive")
        elif word == b"MAXDELETEDID" and at + 1 < len(argv):
            max_deleted_id = need_strict_id(argv[at + 1])
            if last_id < max_deleted_id:
                raise ReplyError(
                    b"ERR The ID specified in XSETID is smaller than the provided "
                    b"max_deleted_entry_id"
                )
        else:
            raise ReplyError(SYNTAX)
    stream = need_stream(call, argv[1])
    if last_id < stream.max_deleted_id:
        raise ReplyError(
            b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
        )
    top = stream.edge(first=False)
    if top is not None:
        if last_id < ids.id_of_entry(top):
            raise ReplyError(
                b"ERR The ID specified in XSETID is smaller than the target stream top item"
            )
        if -1 < entries_added < stream.length:
            raise ReplyError(
                b"ERR The entries_added specified in XSETID is smaller than the target stream "
                b"length"
            )
    call.journal.set_id(
        stream,
        last_id,
        stream.entries_added if entries_added == -1 else entries_added,
        stream.max_deleted_id if max_deleted_id == ids.MIN_ID else max_deleted_id,
    )
    return OK
