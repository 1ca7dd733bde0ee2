"""Looking at pending entries and taking them over: XPENDING, XCLAIM, XAUTOCLAIM.

A pending entry whose stream entry is gone is never handed out: the claims drop it on the way. One
that was released (XNACK) is claimed whatever idle time is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from respserver.args import need_int, need_int_between
from respserver.errors import SYNTAX, ReplyError, c_string
from respserver.keyspec import one_key
from respserver.replies import NULL_ARRAY, Raw
from respserver.spec import FAST, READONLY, WRITE, command
from respserver.stream_args import (
    need_end,
    need_pending_group,
    need_start,
    need_strict_id,
    option,
)
from streams import ids
from streams.ids import ID

if TYPE_CHECKING:
    from respserver.call import Call
    from streams.group import Consumer, Group
    from streams.stream import Stream

AUTOCLAIM_COUNT = 100
AUTOCLAIM_COUNT_MAX = ((1 << 63) - 1) // 16
# XAUTOCLAIM looks at no more than so many pending entries for each it may return.
SCANNED_PER_CLAIMED = 10
SCAN_PAGE_ROWS = 256
# The consumer index of an entry that was released (XNACK).
NOBODY = 0
# The most that one row takes in the records of a claim.
ROW_RECORD_BYTES = 48
# A row of the pending list: ms, seq, cidx, delivered_ms, count.
Row = tuple[int, int, int, int, int]


def signed(count: int) -> int:
    """An unsigned counter as Redis prints it."""
    return count if count < 1 << 63 else count - (1 << 64)


@dataclass(frozen=True, slots=True)
class Query:
    """The range form of XPENDING."""

    start: ID
    end: ID
    count: int
    idle_min_ms: int
    consumer: bytes | None


def parse_query(argv: list[bytes]) -> Query | None:
    """What XPENDING was asked for; None is the summary."""
    if len(argv) == 3:
        return None
    if not 6 <= len(argv) <= 9:
        raise ReplyError(SYNTAX)
    at = 3
    idle_min_ms = 0
    if option(argv[3]) == b"IDLE":
        idle_min_ms = need_int(argv[4])
        if len(argv) < 8:
            raise ReplyError(SYNTAX)
        at = 5
    count = max(need_int(argv[at + 2]), 0)
    start = need_start(argv[at])
    end = need_end(argv[at + 1])
    consumer = argv[at + 3] if at + 3 < len(argv) else None
    return Query(start, end, count, idle_min_ms, consumer)


@command(
    "XPENDING",
    ("key group filters=[[IDLE min-idle-time:integer@6.2.0] start end count:integer [consumer]]"),
    "Returns the information and entries from a stream consumer group's pending entries list.",
    arity=-3,
    flags=READONLY,
    acl="stream",
    keys=one_key("RO access"),
    since="5.0.0",
    complexity=(
        "O(N) with N being the number of elements returned, so asking for a small fixed "
        "number of entries per call is O(1). O(M), where M is the total number of entries "
        "scanned when used with the IDLE filter. When the command returns just the summary "
        "and the list of consumers is small, it runs in O(1) time; otherwise, an additional"
        " O(N) time for iterating every consumer."
    ),
    history=(("6.2.0", "Added the `IDLE` option and exclusive range intervals."),),
    tips=("nondeterministic_output",),
)
def xpending(call: Call) -> list[object]:
    query = parse_query(call.argv)
    _, group = need_pending_group(call, call.argv[1], call.argv[2])
    if query is None:
        return summary(group)
    cidx = -1
    if query.consumer is not None:
        consumer = group.consumers.get(query.consumer)
        if consumer is None:
            return []
        cidx = consumer.cidx
    delivered_max_ms = -1
    if query.idle_min_ms > 0:
        delivered_max_ms = max(call.now_ms - query.idle_min_ms, 0)  # released entries count as 0
    rows = group.pending.rows(query.start, query.end, query.count, cidx, delivered_max_ms)
    return [
        [
            ids.text((ms, seq)),
            owner_name(group, owner),
            -1 if owner == NOBODY else max(call.now_ms - delivered_ms, 0),
            signed(count),
        ]
        for ms, seq, owner, delivered_ms, count in rows
    ]


def owner_name(group: Group, cidx: int) -> bytes:
    """The name of the consumer that holds a row."""
    consumer = group.consumer_by_index(cidx)
    return b"" if consumer is None else consumer.name


def summary(group: Group) -> list[object]:
    """How many entries are pending, from where to where, and for whom."""
    pending = group.pending
    first, last = pending.min_id, pending.max_id
    if first is None or last is None:
        return [0, None, None, NULL_ARRAY]
    holders = [
        [name, b"%d" % consumer.pending_count]
        for name, consumer in sorted(group.consumers.items())
        if consumer.pending_count
    ]
    return [pending.length, ids.text(first), ids.text(last), holders]


def see(call: Call, stream: Stream, group: Group, name: bytes) -> Consumer:
    """The consumer that claims, made if it is new. That it was seen is no record of the log."""
    consumer = group.consumers.get(name)
    if consumer is None:
        consumer = call.journal.create_consumer(stream, group, name, call.now_ms)
    consumer.seen_ms = call.now_ms
    return consumer


def hand_over(
    call: Call,
    stream: Stream,
    group: Group,
    consumer: Consumer,
    claimed: dict[ID, tuple[int, int]],
    gone: list[ID],
) -> None:
    """Drop the pending entries that are gone, give ``consumer`` the others."""
    if gone:
        call.journal.ack(stream, group, gone)
    if claimed:
        rows = [(ms, seq, *state) for (ms, seq), state in claimed.items()]
        call.journal.claim(stream, group, consumer, rows, call.now_ms, call.now_ms)
        if group.unwatched or any(row[2] < call.now_ms for row in rows):
            call.server.on_change(stream.ns, stream.key)  # somebody may wait for them to fall due


@dataclass(slots=True)
class Claim:
    """What XCLAIM was asked for."""

    wanted: list[ID]
    idle_min_ms: int
    delivered_ms: int
    retry_count: int = -1
    force: bool = False
    just_id: bool = False
    last_id: ID = ids.MIN_ID


def parse_claim(argv: list[bytes], now_ms: int) -> Claim:
    """The arguments of XCLAIM: IDs up to the first word that is none, then options."""
    idle_min_ms = need_int(argv[4], b"ERR Invalid min-idle-time argument for XCLAIM")
    claim = Claim([], max(idle_min_ms, 0), now_ms)
    at = 5
    while at < len(argv):
        id = ids.parse_strict(argv[at])
        if id is None:
            break
        claim.wanted.append(id)
        at += 1
    while at < len(argv):
        word = option(argv[at])
        more = at + 1 < len(argv)
        if word == b"FORCE":
            claim.force = True
        elif word == b"JUSTID":
            claim.just_id = True
        elif word == b"IDLE" and more:
            at += 1
            claim.delivered_ms = now_ms - need_int(
                argv[at], b"ERR Invalid IDLE option argument for XCLAIM"
            )
        elif word == b"TIME" and more:
            at += 1
            claim.delivered_ms = need_int(argv[at], b"ERR Invalid TIME option argument for XCLAIM")
        elif word == b"RETRYCOUNT" and more:
            at += 1
            claim.retry_count = need_int(
                argv[at], b"ERR Invalid RETRYCOUNT option argument for XCLAIM"
            )
        elif word == b"LASTID" and more:
            at += 1
            claim.last_id = need_strict_id(argv[at])
        else:
            raise ReplyError(b"ERR Unrecognized XCLAIM option '%s'" % c_string(argv[at]))
        at += 1
    if not 0 <= claim.delivered_ms <= now_ms:
        claim.delivered_ms = now_ms  # clients reckon with clocks of their own
    return claim


@command(
    "XCLAIM",
    (
        "key group consumer min-idle-time id... [IDLE ms:integer] "
        "[TIME unix-time-milliseconds:unix-time] [RETRYCOUNT count:integer] [FORCE] [JUSTID] "
        "[LASTID lastid]"
    ),
    (
        "Changes, or acquires, ownership of a message in a consumer group, as if the message was "
        "delivered a consumer group member."
    ),
    arity=-6,
    flags=WRITE | FAST,
    acl="stream",
    keys=one_key("RW update"),
    since="5.0.0",
    complexity=("O(log N) with N being the number of messages in the PEL of the consumer group."),
    tips=("nondeterministic_output",),
)
def xclaim(call: Call) -> list[object]:
    stream, group = need_pending_group(call, call.argv[1], call.argv[2])
    claim = parse_claim(call.argv, call.now_ms)
    reply: list[object] = []
    claimed: dict[ID, tuple[int, int]] = {}
    gone: list[ID] = []
    for id in claim.wanted:
        state = claimed.get(id)
        released = False
        if state is None and (row := group.pending.get(*id)) is not None:
            released = row[0] == NOBODY
            state = row[1:]
        entry = stream.entry(*id)
        if entry is None:
            if state is not None:
                gone.append(id)
            continue
        if state is None:
            if not claim.force:
                continue
            state = (call.now_ms, 1)
        elif not released and claim.idle_min_ms and call.now_ms - state[0] < claim.idle_min_ms:
            continue
        count = state[1]
        if claim.retry_count >= 0:
            count = claim.retry_count
        elif not claim.just_id:
            count = min(count + 1, ids.U64_MAX)
        claimed[id] = (claim.delivered_ms, count)
        reply.append(ids.text(id) if claim.just_id else Raw(entry))

    if claim.last_id > group.last_id:
        call.journal.set_group_id(stream, group, claim.last_id, group.entries_read)
    consumer = see(call, stream, group, call.argv[3])
    hand_over(call, stream, group, consumer, claimed, gone)
    return reply


def scan(group: Group, start: ID) -> Iterator[Row]:
    """Pending rows from ``start`` on, a page at a time; the list must not change meanwhile."""
    following: ID | None = start
    while following is not None:
        page = group.pending.rows(following, ids.MAX_ID, SCAN_PAGE_ROWS)
        yield from page
        if len(page) < SCAN_PAGE_ROWS:
            return
        following = ids.successor(page[-1][:2])


@command(
    "XAUTOCLAIM",
    "key group consumer min-idle-time start [COUNT count:integer] [JUSTID]",
    (
        "Changes, or acquires, ownership of messages in a consumer group, as if the messages were "
        "delivered to as consumer group member."
    ),
    arity=-6,
    flags=WRITE | FAST,
    acl="stream",
    keys=one_key("RW delete"),
    since="6.2.0",
    complexity="O(1) if COUNT is small.",
    history=(
        (
            "7.0.0",
            (
                "Added an element to the reply array, containing deleted entries the command "
                "cleared from the PEL"
            ),
        ),
    ),
    tips=("nondeterministic_output",),
)
def xautoclaim(call: Call) -> list[object]:
    argv = call.argv
    idle_min_ms = need_int(argv[4], b"ERR Invalid min-idle-time argument for XAUTOCLAIM")
    start = need_start(argv[5])
    left = AUTOCLAIM_COUNT
    just_id = False
    at = 6
    while at < len(argv):
        word = option(argv[at])
        if word == b"COUNT" and at + 1 < len(argv):
            at += 1
            left = need_int_between(argv[at], 1, AUTOCLAIM_COUNT_MAX, b"ERR COUNT must be > 0")
        elif word == b"JUSTID":
            just_id = True
        else:
            raise ReplyError(SYNTAX)
        at += 1
    stream, group = need_pending_group(call, argv[1], argv[2])

    reply: list[object] = []
    claimed: dict[ID, tuple[int, int]] = {}
    gone: list[ID] = []
    cursor = ids.MIN_ID
    attempts = left * SCANNED_PER_CLAIMED
    for ms, seq, owner, delivered_ms, count in scan(group, start):
        if left == 0 or attempts == 0:
            cursor = (ms, seq)
            break
        attempts -= 1
        entry = stream.entry(ms, seq)
        if entry is None:
            gone.append((ms, seq))
            left -= 1
        elif owner == NOBODY or idle_min_ms <= 0 or call.now_ms - delivered_ms >= idle_min_ms:
            claimed[ms, seq] = (call.now_ms, count if just_id else min(count + 1, ids.U64_MAX))
            reply.append(ids.text((ms, seq)) if just_id else Raw(entry))
            left -= 1

    call.reserve(ROW_RECORD_BYTES * (len(claimed) + len(gone)))
    consumer = see(call, stream, group, argv[3])
    hand_over(call, stream, group, consumer, claimed, gone)
    return [ids.text(cursor), reply, [ids.text(id) for id in gone]]
