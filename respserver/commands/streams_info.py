"""What a stream, its groups and consumers look like: XINFO.

``radix-tree-keys`` is the number of virtual nodes (see streams/stream.py). There is no radix tree
here: ``radix-tree-nodes`` is right for at most one virtual node and an estimate beyond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import need_int
from respserver.commands.streams_pending import owner_name, signed
from respserver.errors import subcommand_syntax
from respserver.helptext import help_reply
from respserver.keyspec import one_key
from respserver.replies import Raw, Simple
from respserver.spec import LOADING, READONLY, STALE, command, declare
from respserver.stream_args import need_stream, no_group, option
from respserver.version import LEVEL_8_6, LEVEL_8_8
from streams import ids
from streams.producers import Producers

if TYPE_CHECKING:
    from respserver.call import Call
    from streams.group import Consumer, Group
    from streams.stream import Stream

# How many entries and pending entries FULL shows.
FULL_COUNT = 10
HELP = (
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
)

declare(
    "XINFO",
    "",
    "A container for stream introspection commands.",
    arity=-2,
    since="5.0.0",
    complexity="Depends on subcommand.",
)


@command(
    "XINFO STREAM",
    "key full-block=[FULL [COUNT count:integer]]",
    "Returns information about a stream.",
    arity=-3,
    flags=READONLY,
    acl="stream",
    keys=one_key("RO access", at=2),
    since="5.0.0",
    complexity="O(1)",
    history=(
        ("6.0.0", "Added the `FULL` modifier."),
        (
            "7.0.0",
            (
                "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, "
                "`entries-read` and `lag` fields"
            ),
        ),
        (
            "7.2.0",
            "Added the `active-time` field, and changed the meaning of `seen-time`.",
        ),
        (
            "8.6.0",
            (
                "Added the `idmp-duration`, `idmp-maxsize`, `pids-tracked`, `iids-tracked`, "
                "`iids-added` and `iids-duplicates` fields for IDMP tracking."
            ),
        ),
        ("8.8.0", "Added the `nacked-count` field to consumer groups in `FULL` output."),
    ),
)
def xinfo_stream(call: Call) -> dict[bytes, object]:
    stream = need_stream(call, call.argv[2])
    words = call.argv[3:]
    if not words:
        return {
            **counters(call, stream),
            b"groups": len(stream.groups),
            b"first-entry": entry_or_none(stream.edge(first=True)),
            b"last-entry": entry_or_none(stream.edge(first=False)),
        }
    if len(words) not in (1, 3) or option(words[0]) != b"FULL":
        raise subcommand_syntax(call.argv)
    count = FULL_COUNT
    if len(words) == 3:
        if option(words[1]) != b"COUNT":
            raise subcommand_syntax(call.argv)
        count = need_int(words[2])
        if count < 0:
            count = FULL_COUNT
    limit = count or -1
    n, entries = stream.slice(ids.MIN_ID, ids.MAX_ID, limit, False)
    return {
        **counters(call, stream),
        b"entries": Raw(b"*%d\r\n%b" % (n, entries)),
        b"groups": [
            full_group(stream, group, limit, call.redis_level)
            for _, group in sorted(stream.groups.items())
        ],
    }


def counters(call: Call, stream: Stream) -> dict[bytes, object]:
    """What both forms of XINFO STREAM begin with."""
    nodes = stream.node_count
    shown: dict[bytes, object] = {
        b"length": stream.length,
        b"radix-tree-keys": nodes,
        b"radix-tree-nodes": 1 + nodes if nodes < 2 else 2 + 2 * nodes,
        b"last-generated-id": ids.text(stream.last_id),
        b"max-deleted-entry-id": ids.text(stream.max_deleted_id),
        b"entries-added": signed(stream.entries_added),
        b"recorded-first-entry-id": ids.text(stream.first_id),
    }
    if call.redis_level >= LEVEL_8_6:
        producers = stream.producers or Producers()
        pids, iids = producers.tracked(call.now_ms)
        shown |= {
            b"idmp-duration": producers.duration_s,
            b"idmp-maxsize": producers.maxsize,
            b"pids-tracked": pids,
            b"iids-tracked": iids,
            b"iids-added": producers.iids_added,
            b"iids-duplicates": producers.iids_duplicates,
        }
    return shown


def entry_or_none(wire: bytes | None) -> Raw | None:
    """An entry as a reply."""
    return None if wire is None else Raw(wire)


def entries_read(group: Group) -> int | None:
    """How many entries the group has read, where that is known."""
    return None if group.entries_read == -1 else group.entries_read


def lag(stream: Stream, group: Group) -> int | None:
    """How many entries the group still has to read, where that is known."""
    return stream.lag_of(*group.last_id, group.entries_read)


def full_group(stream: Stream, group: Group, limit: int, redis_level: int) -> dict[bytes, object]:
    """A group as XINFO STREAM FULL shows it."""
    rows = group.pending.rows(ids.MIN_ID, ids.MAX_ID, limit)
    nacked = {}
    if redis_level >= LEVEL_8_8:
        nacked[b"nacked-count"] = group.pending.count_released()
    return {
        b"name": group.name,
        b"last-delivered-id": ids.text(group.last_id),
        b"entries-read": entries_read(group),
        b"lag": lag(stream, group),
        b"pel-count": group.pending.length,
        **nacked,
        b"pending": [
            [ids.text((ms, seq)), owner_name(group, cidx), delivered_ms, signed(count)]
            for ms, seq, cidx, delivered_ms, count in rows
        ],
        b"consumers": [
            full_consumer(group, consumer, limit) for _, consumer in sorted(group.consumers.items())
        ],
    }


def full_consumer(group: Group, consumer: Consumer, limit: int) -> dict[bytes, object]:
    """A consumer as XINFO STREAM FULL shows it."""
    rows = group.pending.rows(ids.MIN_ID, ids.MAX_ID, limit, consumer.cidx)
    return {
        b"name": consumer.name,
        b"seen-time": consumer.seen_ms,
        b"active-time": consumer.active_ms,
        b"pel-count": consumer.pending_count,
        b"pending": [
            [ids.text((ms, seq)), delivered_ms, signed(count)]
            for ms, seq, _, delivered_ms, count in rows
        ],
    }


@command(
    "XINFO GROUPS",
    "key",
    "Returns a list of the consumer groups of a stream.",
    arity=3,
    flags=READONLY,
    acl="stream",
    keys=one_key("RO access", at=2),
    since="5.0.0",
    complexity="O(1)",
    history=(("7.0.0", "Added the `entries-read` and `lag` fields"),),
)
def xinfo_groups(call: Call) -> list[dict[bytes, object]]:
    stream = need_stream(call, call.argv[2])
    return [
        {
            b"name": name,
            b"consumers": len(group.consumers),
            b"pending": group.pending.length,
            b"last-delivered-id": ids.text(group.last_id),
            b"entries-read": entries_read(group),
            b"lag": lag(stream, group),
        }
        for name, group in sorted(stream.groups.items())
    ]


@command(
    "XINFO CONSUMERS",
    "key group",
    "Returns a list of the consumers in a consumer group.",
    arity=4,
    flags=READONLY,
    acl="stream",
    keys=one_key("RO access", at=2),
    since="5.0.0",
    complexity="O(1)",
    history=(("7.2.0", "Added the `inactive` field, and changed the meaning of `idle`."),),
    tips=("nondeterministic_output",),
)
def xinfo_consumers(call: Call) -> list[dict[bytes, object]]:
    _, _, key, group_name = call.argv
    group = need_stream(call, key).groups.get(group_name)
    if group is None:
        raise no_group(key, group_name)
    return [
        {
            b"name": name,
            b"pending": consumer.pending_count,
            b"idle": max(call.now_ms - consumer.seen_ms, 0),
            b"inactive": -1 if consumer.active_ms == -1 else call.now_ms - consumer.active_ms,
        }
        for name, consumer in sorted(group.consumers.items())
    ]


@command(
    "XINFO HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    acl="stream",
    since="5.0.0",
    complexity="O(1)",
)
def xinfo_help(call: Call) -> list[Simple]:
    return help_reply("XINFO", HELP)
