"""Starting again: how quickly a log is read back, and how long a server takes that was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from lsmstore.options import MIB
from tools.bench import payload
from tools.bench.contender import Contender
from tools.bench.contest import Say
from tools.bench.generator import generator
from tools.bench.loadgen import PartJob
from tools.bench.store import shapes
from tools.bench.store.keeper import KEY, Keeper, Respq, Unfaithful, file_bytes
from tools.bench.store.node import Node
from tools.bench.store.peers import RedisFiles, Rocks
from tools.bench.store.reading import Goal, Reading, Scale
from tools.bench.store.shapes import Entry

GROUP: Final = 512
FILL_GROUP: Final = 4096  # entries of a frame where only the result counts
POOL: Final = 100_000
NEVER_FLUSHED_BYTES: Final = 1 << 40
WRITE_BEFORE_KILL_S: Final = 1.0
START_S_MAX: Final = 1.0


def open_keeper(name: str, home: Path) -> Keeper:
    """A keeper that leaves what it is given in its log."""
    if name == "respq":
        return Respq(home, memory_budget=NEVER_FLUSHED_BYTES)
    return Rocks(home, log_bytes_max=NEVER_FLUSHED_BYTES)


def write_and_vanish(name: str, home: str, count: int) -> None:
    """Write a log and be killed, before anything is closed."""
    keeper = open_keeper(name, Path(home))
    keeper.fill(shapes.event(count), GROUP)
    os.kill(os.getpid(), signal.SIGKILL)


def replay(scale: Scale, say: Say) -> list[Reading]:
    """Megabytes of log read back in a second, of a writer that was killed; events."""
    count = scale.of("event")
    entries = shapes.event(count)
    rates: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for name in ("respq", "rocksdict snappy"):
        with tempfile.TemporaryDirectory(prefix="respq-bench-") as home:
            writer = multiprocessing.get_context("spawn").Process(
                target=write_and_vanish, args=(name, home, count)
            )
            writer.start()
            writer.join()
            log_bytes = file_bytes(Path(home), ".log")
            began_s = time.perf_counter()
            keeper = open_keeper(name, Path(home))
            took_s = time.perf_counter() - began_s
            if isinstance(keeper, Respq):
                log_bytes = keeper.node.store.replayed_bytes
                took_s = keeper.node.recovery_s
            keeper.check(entries)
            keeper.close()
        rates[name] = log_bytes / took_s / 1e6
        seconds[name] = took_s
        say(f"replay: {name} {log_bytes / 1e6:,.1f} MB of log in {took_s:.2f} s")
    redis = RedisFiles(scale.redis)
    try:
        redis.fill(entries, GROUP)
        size = redis.aof_bytes()
        seconds["redis AOF"] = redis.restart_s()
        rates["redis AOF"] = size / seconds["redis AOF"] / 1e6
    finally:
        redis.close()
    each = ", ".join(f"{name} {count / took_s:,.0f}" for name, took_s in seconds.items())
    return [
        Reading(
            "replay",
            f"log read back, {count:,} events",
            rates.pop("respq"),
            "MB/s",
            Goal(250),
            Respq.durability,
            rates,
            lower=False,
            note=f"entries/s: {each}",
        )
    ]


def cycled(entries: Sequence[Entry], count: int) -> Iterator[list[tuple[int, int, int]]]:
    """(ms, seq, number in ``entries``) of ``count`` entries, in groups: over and over, later."""
    span_ms = entries[-1].ms + 1 - entries[0].ms
    done = 0
    while done < count:
        size = min(FILL_GROUP, count - done)
        group: list[tuple[int, int, int]] = []
        for number in range(done, done + size):
            turn, at = divmod(number, len(entries))
            group.append((entries[at].ms + turn * span_ms, entries[at].seq, at))
        yield group
        done += size


def fill_long(path: Path, count: int) -> None:
    """A stream of ``count`` sensor readings, merged as far as a server merges it."""
    entries = shapes.sensor(min(POOL, count))
    node = Node(str(path))
    stream = node.stream(KEY)
    prepared = Respq.prepared(entries)
    for group in cycled(entries, count):
        node.add(stream, [(ms, seq, *prepared[at][2:]) for ms, seq, at in group])
    node.flush()
    if stream.length != count:
        raise Unfaithful(f"respq: {stream.length} of {count} entries are there")
    node.close()


def start(scale: Scale, say: Say) -> list[Reading]:
    """Seconds from exec to the first PONG of a server that was killed while it wrote."""
    found: list[Reading] = []
    adds = payload.adds(KEY, payload.sensor_fields(payload.POOL))
    part = PartJob("repeat", 50, [adds], min(100, len(adds)))
    for count in scale.start_entries:
        server = Contender("respq", scale.respq, "always", is_respq=True)
        try:
            fill_long(server.data, count)
            say(f"start: {count:,} entries, {file_bytes(server.data, '.seg') / MIB:,.0f} MiB")
            server.start()
            with generator(server, [part], WRITE_BEFORE_KILL_S * 10):
                time.sleep(WRITE_BEFORE_KILL_S)
                server.kill()
            took_s = server.start()
            length = int(server.control.xlen(KEY))
            if length <= count:
                raise Unfaithful(f"respq: {length} entries after the kill")
            stated = server.stated_recovery().rpartition("| ")[2]
        finally:
            server.close()
        size = count / 1e6
        found.append(
            Reading(
                f"start-{size:g}M",
                f"start after SIGKILL, {size:g} M entries",
                took_s,
                "s",
                Goal(START_S_MAX),
                "appendfsync always",
                note=stated,
            )
        )
    return found
