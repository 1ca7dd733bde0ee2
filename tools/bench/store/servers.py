"""Servers as a whole: a million streams, more data than memory, and who waits for flushes.

The peer is redis-server. Where all of it would have to be in its memory it gets a twentieth, and
the memory that it took for that counts twenty times.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from lsmstore.options import MIB
from tools.bench import payload
from tools.bench.contender import Contender
from tools.bench.contest import Say
from tools.bench.generator import LoadFailed, generator, run_load
from tools.bench.loadgen import PartJob
from tools.bench.store import shapes
from tools.bench.store.keeper import Unfaithful
from tools.bench.store.peers import send
from tools.bench.store.reading import Goal, Reading, Scale

ENTRIES_EACH: Final = 10
VISITS: Final = 2
BATCH: Final = 500
POOL: Final = 20_000
ONE_STREAM_MAX: Final = 1_000_000
REST_S_MAX: Final = 900.0
REST_POLL_S: Final = 0.05
FILL_S_MAX: Final = 3600.0
WIDE_STREAMS: Final = 10
FILL_DEPTH: Final = 50
REDIS_SHARE: Final = 20
TWENTIETH: Final = f"redis, {REDIS_SHARE} times a {REDIS_SHARE}th"
ORDER_LOGICAL_BYTES: Final = payload.ORDER_BYTES + 20  # with field and ID
READ_COUNT: Final = 100
WRITERS: Final = 64
QUIET_BUDGET: Final = str(1 << 40)
BUSY_BUDGET: Final = str(32 * MIB)  # so that flushes and merges come one after the other
MERGES: Final = {f"compactions_{kind}" for kind in ("rows", "rewrite", "graduate", "join")}
ALWAYS: Final = "appendfsync always"
EVERYSEC: Final = "appendfsync everysec"


@contextmanager
def serving(
    scale: Scale, appendfsync: str, *options: str, redis: bool = False
) -> Iterator[Contender]:
    """A server, started, and gone at the end."""
    program = scale.redis if redis else scale.respq
    name = "redis" if redis else "respq"
    server = Contender(name, program, appendfsync, is_respq=not redis, options=options)
    try:
        server.start()
        yield server
    finally:
        server.close()


def rest(server: Contender) -> dict[str, Any]:
    """Flush respq and wait until nothing is left to be merged; its INFO then."""
    server.control.save()
    deadline_s = time.monotonic() + REST_S_MAX
    quiet = 0
    while quiet < 3:  # a merge that was just installed makes the next one due
        if time.monotonic() > deadline_s:
            raise LoadFailed(f"{server.name}: merges do not come to an end")
        time.sleep(REST_POLL_S)
        info = server.info()
        quiet = quiet + 1 if int(info["compaction_debt_bytes"]) == 0 else 0
    return info


def visits(count: int, fields: Sequence[tuple[bytes, ...]]) -> Iterator[list[bytes]]:
    """XADDs to ``count`` streams: each is visited twice and gets five entries each time."""
    group: list[bytes] = []
    number = 0
    for _ in range(VISITS):
        for stream in range(count):
            key = b"s:%07d" % stream
            for _ in range(ENTRIES_EACH // VISITS):
                group.append(payload.command(b"XADD", key, b"*", *fields[number % len(fields)]))
                number += 1
            if len(group) >= BATCH:
                yield group
                group = []
    if group:
        yield group


def fields_of_pool() -> list[tuple[bytes, ...]]:
    """Fields of sensor readings."""
    return [entry.fields for entry in shapes.sensor(POOL)]


def streams(scale: Scale, say: Say) -> list[Reading]:
    """A million streams of ten entries: memory, start, bytes an entry."""
    count = scale.streams
    total = count * ENTRIES_EACH
    fields = fields_of_pool()
    peers: dict[str, float] = {}
    with serving(scale, "everysec") as server:
        say(f"streams: filling {count:,} streams of {ENTRIES_EACH}")
        answered = send(server, visits(count, fields))
        see_streams(server, count, answered == total)
        info = rest(server)
        peak_bytes = server.resident_bytes(peak=True)
        many = int(info["segment_bytes"]) / total
        rows = int(info["row_bytes"]) / total
        say(f"streams: RSS {peak_bytes / MIB:,.0f} MiB, {many:.1f} B/entry; killed now")
        server.kill()
        start_s = server.start()
        see_streams(server, count, True)
        started_bytes = server.resident_bytes()
    one = bytes_in_one_stream(scale, min(total, ONE_STREAM_MAX), fields)
    share = max(1, count // REDIS_SHARE)
    with serving(scale, "everysec", redis=True) as redis:
        empty_bytes = redis.resident_bytes()
        send(redis, visits(share, fields))
        see_streams(redis, share, True)
        peers[TWENTIETH] = REDIS_SHARE * (redis.resident_bytes() - empty_bytes) / 1e6
    title = f"{count:,} streams of {ENTRIES_EACH}"
    return [
        Reading(
            *("streams-rss", f"RSS, {title}", peak_bytes / 1e6, "MB", Goal(400), EVERYSEC, peers),
            note=f"the most while filled; {started_bytes / 1e6:,.0f} MB after a start",
        ),
        Reading("streams-start", f"start after SIGKILL, {title}", start_s, "s", Goal(1), EVERYSEC),
        Reading(
            *("streams-bytes", f"bytes an entry, {title}, by those of one stream", many / one),
            *("x", Goal(2), EVERYSEC),
            note=f"{many:.1f} B in segments, {rows:.1f} B in rows; one stream {one:.1f} B",
        ),
    ]


def see_streams(server: Contender, count: int, answered: bool) -> None:
    """See that ``count`` streams are there, and that those at either end and between are whole."""
    keys = int(server.control.dbsize())
    lengths = {int(server.control.xlen(b"s:%07d" % at)) for at in (0, count // 2, count - 1)}
    if not answered or keys != count or lengths != {ENTRIES_EACH}:
        raise Unfaithful(f"{server.name}: {keys} streams of {count}, lengths {lengths}")


def bytes_in_one_stream(scale: Scale, count: int, fields: Sequence[tuple[bytes, ...]]) -> float:
    """Bytes an entry in segments of the same entries in one stream."""
    with serving(scale, "everysec") as server:
        groups = (
            [
                payload.command(b"XADD", b"one", b"*", *fields[number % len(fields)])
                for number in range(at, min(at + BATCH, count))
            ]
            for at in range(0, count, BATCH)
        )
        if send(server, groups) != count or int(server.control.xlen(b"one")) != count:
            raise Unfaithful("respq: the one stream has another length")
        return int(rest(server)["segment_bytes"]) / count


def memory(scale: Scale, say: Say) -> list[Reading]:
    """RSS with gigabytes of streams and a million entries pending."""
    with serving(scale, "everysec") as server:
        say(f"memory: filling {scale.memory_bytes / 1e9:g} GB of entries")
        count = fill_wide(server, scale.memory_bytes, scale.pending)
        rest(server)
        peak_bytes = server.resident_bytes(peak=True)
        at_rest_bytes = server.resident_bytes()
    with serving(scale, "everysec", redis=True) as redis:
        empty_bytes = redis.resident_bytes()
        size = scale.memory_bytes // REDIS_SHARE
        fill_wide(redis, size, scale.pending // REDIS_SHARE)
        redis_bytes = redis.resident_bytes() - empty_bytes
    peers = {TWENTIETH: REDIS_SHARE * redis_bytes / 1e6}
    return [
        Reading(
            "memory",
            f"RSS, {scale.memory_bytes / 1e9:g} GB in {WIDE_STREAMS} streams, {count:,} pending",
            peak_bytes / 1e6,
            "MB",
            Goal(400),
            EVERYSEC,
            peers,
            note=f"the most while filled; {at_rest_bytes / 1e6:,.0f} MB at rest",
        )
    ]


def fill_wide(server: Contender, size: int, pending: int) -> int:
    """Fill ten streams and deliver of each; how many entries are pending."""
    keys = [b"wide:%d" % number for number in range(WIDE_STREAMS)]
    orders = payload.order_fields(payload.ORDER_POOL)
    scripts = [payload.adds(key, orders) for key in keys]
    batches = max(1, size // ORDER_LOGICAL_BYTES // WIDE_STREAMS // FILL_DEPTH)
    part = PartJob("fill", WIDE_STREAMS, scripts, FILL_DEPTH, batches_each=batches)
    run_load(server, [part], FILL_S_MAX)
    each = batches * FILL_DEPTH
    wanted = min(each, pending // WIDE_STREAMS)
    count = max(1, min(READ_COUNT, wanted))
    delivered = 0
    for key in keys:
        server.control.xgroup_create(key, "workers", 0)
        read = payload.group_read(key, b"workers", b"slow", count)
        part = PartJob(
            "fill", 1, [[read]], 1, entries_depth=2, batches_each=max(1, wanted // count)
        )
        run_load(server, [part], FILL_S_MAX)
        held = int(server.control.xpending(key, "workers")["pending"])
        delivered += held
        if int(server.control.xlen(key)) != each or held != max(1, wanted // count) * count:
            raise Unfaithful(f"{server.name}: {key!r} is not as long as it was filled")
    return delivered


def latency(scale: Scale, say: Say) -> list[Reading]:
    """Milliseconds that flushes and merges add for others, and the p99 of XADD beside them."""
    quiet: list[Probe] = []
    busy: list[Probe] = []
    redis: list[Probe] = []
    for _ in range(scale.rounds):
        quiet.append(probed(scale, QUIET_BUDGET))
        busy.append(probed(scale, BUSY_BUDGET))
        with serving(scale, "always", redis=True) as server:
            redis.append(probe(server, scale.seconds))
        done = f"{busy[-1].flushes} flushes, {busy[-1].merges} merges"
        say(
            f"latency: p99.9 of PING {quiet[-1].ping_ms:.2f} ms beside writers,"
            f" {busy[-1].ping_ms:.2f} beside {done} as well; redis {redis[-1].ping_ms:.2f}"
        )
    ping_ms = [median(one.ping_ms for one in side) for side in (quiet, busy, redis)]
    add_ms = [median(one.add_ms for one in side) for side in (quiet, busy, redis)]
    return [
        Reading(
            "latency-loop",
            "p99.9 of PING that flushes and merges add",
            max(0.0, ping_ms[1] - ping_ms[0]),
            "ms",
            Goal(1),
            ALWAYS,
            note=f"{ping_ms[1]:.2f} beside {done}, {ping_ms[0]:.2f} without;"
            f" redis {ping_ms[2]:.2f}",
        ),
        Reading(
            "latency-xadd",
            f"p99 of XADD, {WRITERS} clients, beside flushes and merges",
            add_ms[1],
            "ms",
            Goal(4),
            ALWAYS,
            {"redis": add_ms[2]},
            note=f"{add_ms[0]:.2f} without them",
        ),
    ]


@dataclass(frozen=True)
class Probe:
    """p99.9 of PING and p99 of XADD, and what went on in the background."""

    ping_ms: float
    add_ms: float
    flushes: int = 0
    merges: int = 0


def probed(scale: Scale, budget: str) -> Probe:
    """Latencies of a respq with this memory budget, flushes and merges meanwhile."""
    with serving(scale, "always", "--memory-budget", budget) as server:
        seen = probe(server, scale.seconds)
        info = server.info()
    merges = sum(int(n) for name, n in info.items() if name in MERGES)
    return replace(seen, flushes=int(info["memtable_flushes"]), merges=merges)


def probe(server: Contender, seconds: float) -> Probe:
    """Latencies while 64 clients add events one at a time."""
    fields = [entry.fields for entry in shapes.event(payload.POOL)]
    adds = PartJob("repeat", WRITERS, [payload.adds(b"events", fields)])
    ping = PartJob("repeat", 1, [[payload.command(b"PING")]])
    with (
        generator(server, [adds], seconds) as (_, _, written, _),
        generator(server, [ping], seconds) as (_, _, pinged, _),
    ):
        writers = json.loads(written.read())["parts"][0]
        pings = json.loads(pinged.read())["parts"][0]
    added = int(server.control.xlen("events"))
    if writers["errors"] or pings["errors"] or not 0 <= added - writers["replies"] <= WRITERS:
        raise LoadFailed(f"{server.name}: {writers['replies']} added, {added} there")
    return Probe(pings["p999_us"] / 1000, writers["p99_us"] / 1000)
