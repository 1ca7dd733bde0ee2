"""MEMORY: what keys and the server cost in memory.

Rules: figures are what this server counts. Of a stream that is what is in memory of it, not what it
has on disk. Names in MEMORY STATS are Redis' where they mean the same; those of the store are ours.
"""

from __future__ import annotations

import ctypes
import gc
from typing import TYPE_CHECKING

from respserver.args import need_int
from respserver.commands.info import peak_bytes, resident_bytes
from respserver.errors import SYNTAX, ReplyError
from respserver.helptext import help_reply
from respserver.keyspec import one_key
from respserver.replies import OK, Simple, Verbatim
from respserver.spec import LOADING, READONLY, STALE, command, declare

if TYPE_CHECKING:
    from respserver.call import Call
    from streams.keyrow import KeyRow

KEY_BYTES = 200
"""What a key costs beside its name and its string."""
EXPIRY_BYTES = 150
PEAK_FACTOR = 1.5

declare(
    "MEMORY",
    "",
    "A container for memory diagnostics commands.",
    arity=-2,
    since="4.0.0",
    group="server",
    complexity="Depends on subcommand.",
)


@command(
    "MEMORY DOCTOR",
    "",
    "Outputs a memory problems report.",
    arity=2,
    since="4.0.0",
    group="server",
    complexity="O(1)",
    tips=(
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ),
)
def memory_doctor(call: Call) -> Verbatim:
    used, budget = resident_bytes(), call.server.config.memory_budget
    found = []
    if peak_bytes() > PEAK_FACTOR * used:
        found.append(
            " * Peak memory: In the past this instance used more than 150% of the memory that is"
            " currently using. The allocator may not have given all of it back.\n\n"
        )
    if used > 2 * budget:
        found.append(
            f" * Memory budget: the process holds {used} bytes, more than twice the memory-budget"
            f" of {budget}. Large values, many clients or long replies are held besides it.\n\n"
        )
    if not found:
        return Verbatim(
            b"Hi Sam, I can't find any memory issue in your instance. I can only account for what "
            b"occurs on this base.\n"
        )
    opening = "Sam, I detected a few issues in this instance memory implants:\n\n"
    closing = "I'm here to keep you safe, Sam. I want to help you.\n"
    return Verbatim("".join((opening, *found, closing)).encode())


@command(
    "MEMORY HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    since="4.0.0",
    group="server",
    complexity="O(1)",
)
def memory_help(call: Call) -> list[Simple]:
    return help_reply("MEMORY", MEMORY_HELP)


MEMORY_HELP = (
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
)


@command(
    "MEMORY MALLOC-STATS",
    "",
    "Returns the allocator statistics.",
    arity=2,
    since="4.0.0",
    group="server",
    complexity="Depends on how much memory is allocated, could be slow",
    tips=(
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ),
)
def memory_malloc_stats(call: Call) -> bytes:
    return b"Stats not supported for the current allocator"


@command(
    "MEMORY PURGE",
    "",
    "Asks the allocator to release memory.",
    arity=2,
    since="4.0.0",
    group="server",
    complexity="Depends on how much memory is allocated, could be slow",
    tips=(
        "request_policy:all_shards",
        "response_policy:all_succeeded",
    ),
)
def memory_purge(call: Call) -> Simple:
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc has it
        trim(0)
    return OK


@command(
    "MEMORY STATS",
    "",
    "Returns details about memory usage.",
    arity=2,
    since="4.0.0",
    group="server",
    complexity="O(1)",
    tips=(
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ),
)
def memory_stats(call: Call) -> dict[bytes, object]:
    used, peak = resident_bytes(), peak_bytes()
    keyspace, figures = call.keyspace, call.server.stream_figures()
    sessions = call.server.sessions.values()
    buffers = sum(session.query_buffer_bytes + session.output_bytes for session in sessions)
    keys = sum(tally.keys for tally in keyspace.tallies.values())
    held = figures["memtable_bytes"] + figures["block_cache_bytes"] + keyspace.resident_bytes
    stats: dict[bytes, object] = {
        b"peak.allocated": peak,
        b"total.allocated": used,
        b"replication.backlog": 0,
        b"clients.slaves": 0,
        b"clients.normal": buffers,
        b"cluster.links": 0,
        b"aof.buffer": call.journal.log.length,
        b"lua.caches": 0,
        b"functions.caches": 0,
        b"script.VMs": 0,
    }
    for db, ns in enumerate(keyspace.namespaces):
        tally = keyspace.tallies[ns]
        if tally.keys:
            stats[b"db.%d" % db] = {
                b"keys": tally.keys,
                b"expires": tally.expiring,
                b"resident.streams": len(keyspace.live[ns]),
            }
    stats[b"memtable.bytes"] = figures["memtable_bytes"]
    stats[b"block.cache.bytes"] = figures["block_cache_bytes"]
    stats[b"resident.streams.bytes"] = keyspace.resident_bytes
    stats[b"overhead.total"] = max(used - held, 0)
    stats[b"keys.count"] = keys
    stats[b"keys.bytes-per-key"] = held // keys if keys else 0
    stats[b"dataset.bytes"] = held
    stats[b"dataset.percentage"] = min(100.0 * held / used, 100.0)
    stats[b"peak.percentage"] = 100.0 * used / peak
    stats[b"memory.budget"] = call.server.config.memory_budget
    return stats


@command(
    "MEMORY USAGE",
    "key [SAMPLES count:integer]",
    "Estimates the memory usage of a key.",
    arity=-3,
    flags=READONLY,
    keys=one_key("RO", 2),
    since="4.0.0",
    group="server",
    complexity="O(N) where N is the number of samples.",
)
def memory_usage(call: Call) -> int | None:
    words = call.argv[3:]
    while words:
        if words[0].upper() != b"SAMPLES" or len(words) == 1:
            raise ReplyError(SYNTAX)
        if need_int(words[1]) < 0:
            raise ReplyError(SYNTAX)
        words = words[2:]
    key = call.argv[2]
    row = call.keyspace.find(call.ns, key)
    if row is None:
        return None
    size = KEY_BYTES + len(key) + value_bytes(call, key, row)
    if row.expires_ms:
        size += EXPIRY_BYTES + len(key)
    return size


def value_bytes(call: Call, key: bytes, row: KeyRow) -> int:
    """What the value of a key takes in memory."""
    size = len(row.data)
    stream = call.keyspace.live[call.ns].get(key)
    if stream is not None:
        size += stream.memory_bytes + sum(group.memory_bytes for group in stream.groups.values())
    return size
