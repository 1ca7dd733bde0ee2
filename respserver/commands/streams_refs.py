"""Deleting entries with a view to the groups that refer to them: XDELEX, XACKDEL.

Both answer with a number an ID: what became of the entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import INT64_MAX, need_int_between
from respserver.errors import SYNTAX, ReplyError
from respserver.keyspec import one_key
from respserver.spec import FAST, WRITE, command
from respserver.stream_args import (
    ACKED,
    DELREF,
    KEEPREF,
    REFERENCES,
    need_strict_id,
    option,
)
from streams.ids import ID
from streams.references import References

if TYPE_CHECKING:
    from respserver.call import Call
    from streams.group import Group
    from streams.stream import Stream

MISSING = -1
DELETED = 1
REFERENCED = 2

# The most that an ACK record takes beside its IDs, and one ID of it.
ACK_RECORD_BYTES = 64
ACK_ID_BYTES = 24


def parse(argv: list[bytes], start: int) -> tuple[bytes, list[bytes]]:
    """What becomes of references, and the IDs, from the options at ``start`` on."""
    references: bytes | None = None
    wanted: list[bytes] | None = None
    at = start
    while at < len(argv):
        word = option(argv[at])
        if word in REFERENCES and references is None:
            references = word
            at += 1
        elif word == b"IDS" and at + 1 < len(argv):
            count = need_int_between(
                argv[at + 1], 1, INT64_MAX, b"ERR Number of IDs must be a positive integer"
            )
            at += 2
            if count > len(argv) - at:
                raise ReplyError(b"ERR The `numids` parameter must match the number of arguments")
            wanted = argv[at : at + count]
            at += count
        else:
            raise ReplyError(SYNTAX)
    if wanted is None:
        raise ReplyError(b"ERR IDS option is required")
    return references or KEEPREF, wanted


def find_rows(groups: list[Group], ids: list[ID]) -> list[tuple[Group, list[ID]]]:
    """Which of ``ids`` are pending in which of the groups."""
    found = [(group, [id for id in ids if group.pending.get(*id) is not None]) for group in groups]
    return [(group, pending) for group, pending in found if pending]


def change(
    call: Call, stream: Stream, rows: list[tuple[Group, list[ID]]], deleted: list[ID]
) -> None:
    """Take out pending rows and entries."""
    n = sum(len(pending) for _, pending in rows) + len(deleted)
    call.reserve(ACK_RECORD_BYTES * (len(rows) + 1) + ACK_ID_BYTES * n, frees=True)
    for group, pending in rows:
        call.journal.ack(stream, group, pending)
    if deleted:
        call.journal.delete(stream, deleted)


@command(
    "XDELEX",
    "key condition=[KEEPREF | DELREF | ACKED] ids=IDS {numids:integer id...}",
    "Deletes one or multiple entries from the stream.",
    arity=-5,
    flags=WRITE | FAST,
    acl="stream",
    keys=one_key("RW delete"),
    since="8.2.0",
    complexity=(
        "O(1) for each single item to delete in the stream, regardless of the stream size."
    ),
)
def xdelex(call: Call) -> list[int]:
    stream = call.keyspace.stream(call.ns, call.argv[1])
    condition, words = parse(call.argv, 2)
    if stream is None:
        return [MISSING] * len(words)
    wanted = [need_strict_id(word) for word in words]
    references = References(stream)
    deleted: dict[ID, None] = {}
    reply: list[int] = []
    for id in wanted:
        if condition == ACKED and references.hold(*id):
            reply.append(REFERENCED)
        elif id not in deleted and stream.contains(*id):
            deleted[id] = None
            reply.append(DELETED)
        else:
            reply.append(MISSING)

    groups = list(stream.groups.values()) if condition == DELREF else []
    change(call, stream, find_rows(groups, wanted), list(deleted))
    return reply


@command(
    "XACKDEL",
    "key group condition=[KEEPREF | DELREF | ACKED] ids=IDS {numids:integer id...}",
    "Acknowledges and deletes one or multiple messages for a stream consumer group.",
    arity=-6,
    flags=WRITE | FAST,
    acl="stream",
    keys=one_key("RW update delete"),
    since="8.2.0",
    complexity="O(1) for each message ID processed.",
)
def xackdel(call: Call) -> list[int]:
    stream = call.keyspace.stream(call.ns, call.argv[1])
    condition, words = parse(call.argv, 3)
    group = None if stream is None else stream.groups.get(call.argv[2])
    if stream is None or group is None:
        return [MISSING] * len(words)
    wanted = [need_strict_id(word) for word in words]
    references = References(stream, apart=group)
    acked: dict[ID, None] = {}
    deleted: list[ID] = []
    reply: list[int] = []
    for id in wanted:
        if id in acked or group.pending.get(*id) is None:
            reply.append(MISSING)
            continue
        acked[id] = None
        if condition == ACKED and references.hold(*id):
            reply.append(REFERENCED)
        else:
            reply.append(DELETED)
            if stream.contains(*id):
                deleted.append(id)

    groups = list(stream.groups.values()) if condition == DELREF else [group]
    change(call, stream, find_rows(groups, list(acked)), deleted)
    return reply
