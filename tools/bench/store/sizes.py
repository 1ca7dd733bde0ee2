"""Bytes: what entries take on disk, and how often they are written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from lsmstore.options import StoreOptions
from respserver.server import LOG_COMPRESSED_BYTES_MIN
from tools.bench.contest import Say
from tools.bench.store import shapes
from tools.bench.store.keeper import EARLY, Keeper, Respq
from tools.bench.store.peers import Level, RedisFiles, Rocks
from tools.bench.store.reading import Goal, Reading, Scale
from tools.bench.store.shapes import Entry

GROUP: Final = 512
SMALL_GROUP: Final = 16
FLIGHTS: Final = 336_776
HOT: Final = {"sensor": 11, "event": 66, "order": 280}
SEALED: Final = {"sensor": 4, "event": 64, "order": 266}
UNIT: Final = "B/entry"
LOG_GOALS: Final = {"yes": 1.0, "no": 1.8}  # by the setting log-compression
COMPRESSED: Final = replace(EARLY, log_compressed_bytes_min=LOG_COMPRESSED_BYTES_MIN)
PEERS: Final[Sequence[Callable[[Path], Keeper]]] = (
    lambda home: Rocks(home, "snappy"),
    lambda home: Rocks(home, "zstd"),
    Level,
)


def sizes(scale: Scale, say: Say) -> list[Reading]:
    """Bytes an entry on disk for the made shapes."""
    found: list[Reading] = []
    for shape, make in shapes.SHAPES.items():
        entries = make(scale.of(shape))
        say(f"sizes: {len(entries):,} entries of the shape {shape}")
        goals = (Goal(HOT[shape], 1), Goal(SEALED[shape], 1))
        found += size_readings(shape, entries, goals, scale)
    return found


def flights(scale: Scale, say: Say) -> list[Reading]:
    """Bytes a flight on disk."""
    entries = shapes.flights(min(scale.entries, FLIGHTS))
    say(f"flights: {len(entries):,} rows")
    return size_readings("flights", entries, (Goal(times=1), Goal(times=1)), scale)


def size_readings(
    name: str, entries: Sequence[Entry], goals: tuple[Goal, Goal], scale: Scale
) -> list[Reading]:
    """As flushed and sealed, beside every peer; each is read back whole."""
    count = len(entries)
    peers: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="respq-bench-") as home:
        respq = Respq(Path(home), options=EARLY, merges=False)
        respq.fill(entries, GROUP)
        respq.settle()
        respq.check(entries)
        hot = respq.disk_bytes() / count
        manifest = respq.manifest_bytes() / count
        respq.seal()
        respq.check(entries)
        sealed = respq.disk_bytes() / count
        respq.close()
        for make in PEERS:
            peer = make(Path(home))
            peer.fill(entries, GROUP)
            peer.settle()
            peer.check(entries)
            peers[peer.name] = peer.disk_bytes() / count
            peer.close()
    redis = RedisFiles(scale.redis)
    try:
        redis.fill(entries, GROUP)
        peers["redis AOF"] = redis.aof_bytes() / count
        peers["redis RDB"] = redis.rdb_bytes() / count
    finally:
        redis.close()
    logical = sum(entry.logical_bytes for entry in entries) / count
    note = f"{count:,} entries of {logical:.0f} B with their IDs; manifest with dictionaries"
    note += f" {manifest:.2f} B/entry"
    durability = Respq.durability
    return [
        Reading(f"{name}-hot", f"{name}, flushed", hot, UNIT, goals[0], durability, peers),
        Reading(
            *(f"{name}-sealed", f"{name}, sealed", sealed, UNIT, goals[1], durability, peers),
            note=note,
        ),
    ]


def amplification(scale: Scale, say: Say) -> list[Reading]:
    """Bytes written by bytes of entries, groups of 16: log, flush and one graduation."""
    found: list[Reading] = []
    for shape, make in shapes.SHAPES.items():
        entries = make(scale.of(shape))
        say(f"amplification: {len(entries):,} entries of the shape {shape}, {SMALL_GROUP} a frame")
        logical = sum(entry.logical_bytes for entry in entries)
        peers: dict[str, float] = {}
        with tempfile.TemporaryDirectory(prefix="respq-bench-") as home:
            for codec in ("snappy", "zstd"):
                before = handed_over()
                peer = Rocks(Path(home), codec)
                peer.fill(entries, SMALL_GROUP)
                peer.settle()
                peers[peer.name] = (handed_over() - before) / logical
                peer.check(entries)
                peer.close()
        redis = RedisFiles(scale.redis)
        try:
            redis.fill(entries, SMALL_GROUP)
            peers["redis AOF"] = redis.aof_bytes() / logical
        finally:
            redis.close()
        for setting, limit in LOG_GOALS.items():
            parts = written(entries, COMPRESSED if setting == "yes" else EARLY)
            shares = ", ".join(f"{part} {size / logical:.2f}" for part, size in parts.items())
            found.append(
                Reading(
                    f"amplification-{shape}-{setting}",
                    f"written / logical, {shape}, groups of {SMALL_GROUP}",
                    sum(parts.values()) / logical,
                    "x",
                    Goal(limit),
                    f"{Respq.durability}, log-compression {setting}",
                    peers,
                    note=shares,
                )
            )
    return found


def written(entries: Sequence[Entry], options: StoreOptions) -> dict[str, int]:
    """What respq writes of entries, by what it is written for.

    Zeros that log files are filled with are not in it: files are used again.
    """
    with tempfile.TemporaryDirectory(prefix="respq-bench-") as home:
        respq = Respq(Path(home), options=options)
        respq.fill(entries, SMALL_GROUP)
        respq.settle()
        respq.check(entries)
        stats = respq.node.store.stats()
        respq.close()
    return {
        "log": stats["log_bytes_written"],
        "flushes": stats["flush_bytes_written"],
        "merges": stats["compaction_bytes_written"],
        "manifest": stats["manifest_bytes_written"],
    }


def handed_over() -> int:
    """Bytes that this process has handed to write calls so far."""
    lines = Path(f"/proc/{os.getpid()}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])
