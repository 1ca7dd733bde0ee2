"""Time, at the layer of the store: durable appends, cold ranges, ranges while a trim goes on.

Rules: stores take turns, round by round, so that what else the machine does meets all of them. What
is timed are the calls of the store alone; entries are prepared and answers are looked at outside.
Ranges are read from what the system has cached of files, so nothing is waited for and their time is
the processor time of the thread that reads, on either side.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from lsmstore.options import MIB
from tools.bench.contest import Say
from tools.bench.store import shapes
from tools.bench.store.keeper import EARLY, Keeper, Respq, Unfaithful, quiet_collector, wire
from tools.bench.store.peers import Level, Rocks
from tools.bench.store.reading import Goal, Reading, Scale
from tools.bench.store.shapes import Entry

TURNS: Final = 20
IN_FLIGHT: Final = {64: 300_000, 512: 1_000_000}
COUNT: Final = 100
COUNTS: Final = (COUNT, 1000)  # part of a block or two; blocks whole
READ_MAX: Final = 100_000  # entries of a round
RANGE_US: Final = {"sensor": 0.5, "event": 0.5, "order": 1.8}
GROUP: Final = 512
TRIM_GROUP: Final = 64
TRIM_BUDGET_BYTES: Final = 32 * MIB  # so that flushes come while trims go on


def per_second(keeper: Keeper, entries: Sequence[Entry], group: int) -> float:
    """Durable entries in a second, ``group`` of them in flight."""
    prepared = keeper.prepare(entries)
    groups = [prepared[at : at + group] for at in range(0, len(prepared), group)]
    with quiet_collector():
        began_s = time.perf_counter()
        for one in groups:
            keeper.add(one)
        return len(entries) / (time.perf_counter() - began_s)


def appends(scale: Scale, say: Say) -> list[Reading]:
    """Durable appends of sensor readings, 64 and 512 in flight.

    Many short turns, of which the median counts: a disk that is slow for a moment is slow for one.
    A peer gets its group as one batch, as a server on top of it would write it. RocksDB can gather
    what many threads write, but not through rocksdict: threads do not share a sync there.
    """
    found: list[Reading] = []
    turns = TURNS * scale.rounds
    each = max(1, scale.entries // TURNS)
    entries = shapes.sensor(each * turns)
    for group, goal in IN_FLIGHT.items():
        rates: dict[str, list[float]] = {}
        with tempfile.TemporaryDirectory(prefix="respq-bench-") as home, ExitStack() as ends:
            respq = Respq(Path(home))
            keepers = (respq, Rocks(Path(home)), Level(Path(home)))
            for keeper in keepers:
                ends.callback(keeper.close)
            for turn in range(turns):
                part = entries[turn * each : (turn + 1) * each]
                for keeper in keepers:
                    rates.setdefault(keeper.name, []).append(per_second(keeper, part, group))
            for keeper in keepers:
                keeper.check(entries)
            stats = respq.node.store.stats()
        took_s = sum(each / rate for rate in rates["respq"])
        syncs_s = stats["log_sync_us"] / 1e6
        beside = len(entries) / max(took_s - syncs_s, 1e-6)
        note = f"{syncs_s / stats['log_syncs'] * 1e6:,.0f} us a sync; {beside:,.0f}/s beside syncs"
        medians = {name: median(values) for name, values in rates.items()}
        for name, rate in medians.items():
            say(f"appends: {group} in flight: {name} {rate:,.0f}/s")
        found.append(
            Reading(
                f"appends-{group}",
                f"durable appends, {group} in flight",
                medians.pop("respq"),
                "entries/s",
                Goal(goal, 3, "rocksdict"),
                Respq.durability,
                medians,
                lower=False,
                note=note,
            )
        )
    return found


def us_an_entry(keeper: Keeper, starts: Sequence[Entry], count: int) -> float:
    """Microseconds an entry of ranges of ``count`` entries from each of ``starts``."""
    seen = 0
    with quiet_collector():
        began_s = time.thread_time()
        for start in starts:
            seen += keeper.read(start.ms, start.seq, count)[0]
        took_s = time.thread_time() - began_s
    if seen != count * len(starts):
        raise Unfaithful(f"{keeper.name}: {seen} entries in {len(starts)} ranges of {count}")
    return took_s / seen * 1e6


def ranges(scale: Scale, say: Say) -> list[Reading]:
    """Short and long XRANGEs from anywhere in a stream of which nothing is in memory, to RESP."""
    found: list[Reading] = []
    for shape, make in shapes.SHAPES.items():
        entries = make(max(scale.of(shape), 2 * max(COUNTS)))
        with tempfile.TemporaryDirectory(prefix="respq-bench-") as home, ExitStack() as ends:
            path = Path(home)
            peers = [Rocks(path, codec, caches=False) for codec in ("snappy", "zstd")]
            flushed = Respq(path / "flushed", merges=False)
            sealed = Respq(path / "sealed", options=EARLY, merges=False)
            keepers: dict[str, Keeper] = {"flushed": flushed, "sealed": sealed}
            keepers |= {peer.name: peer for peer in peers}
            for keeper in keepers.values():
                ends.callback(keeper.close)
                keeper.fill(entries, GROUP)
                keeper.settle()
            sealed.seal()
            for keeper in keepers.values():
                keeper.forget()
                keeper.check(entries)
            for count in COUNTS:
                costs = median_costs(keepers, entries, count, scale.rounds)
                for name, cost in costs.items():
                    say(f"range: {shape}, COUNT {count}: {name} {cost:.2f} us/entry")
                beside = {peer.name: costs[peer.name] for peer in peers}
                found += [
                    Reading(
                        f"range-{count}-{shape}-{state}",
                        f"cold XRANGE COUNT {count}, {shape}, {state}",
                        costs[state],
                        "us/entry",
                        Goal(RANGE_US[shape], 3, "rocksdict"),
                        "reads only",
                        beside,
                    )
                    for state in ("flushed", "sealed")
                ]
    return found


def median_costs(
    keepers: Mapping[str, Keeper], entries: Sequence[Entry], count: int, rounds: int
) -> dict[str, float]:
    """Microseconds an entry of ranges from anywhere; keepers take turns."""
    chance = random.Random(1)
    costs: dict[str, list[float]] = {name: [] for name in keepers}
    for _ in range(rounds):
        starts = [
            entries[chance.randrange(len(entries) - count)]
            for _ in range(max(1, min(READ_MAX, len(entries)) // count))
        ]
        for name, keeper in keepers.items():
            costs[name].append(us_an_entry(keeper, starts, count))
    return {name: median(values) for name, values in costs.items()}


def trim(scale: Scale, say: Say) -> list[Reading]:
    """p99 of ranges at the old end of a stream while it is trimmed there, by that without trims."""
    entries = shapes.sensor(max(scale.entries, 4 * COUNT))
    kept = entries[: len(entries) // 2]
    makers: tuple[Callable[[Path], Keeper], ...] = (
        lambda home: Respq(home, memory_budget=TRIM_BUDGET_BYTES),
        lambda home: Rocks(home, caches=False),
    )
    ratios: dict[str, float] = {}
    notes: list[str] = []
    for make in makers:
        p99s_us: dict[bool, list[float]] = {False: [], True: []}
        for number in range(2 * scale.rounds):
            trims = number % 2 == 1
            with tempfile.TemporaryDirectory(prefix="respq-bench-") as home, ExitStack() as ends:
                keeper = make(Path(home))
                ends.callback(keeper.close)
                keeper.fill(kept, GROUP)
                keeper.settle()
                keeper.forget()
                p99s_us[trims].append(range_p99_us(keeper, entries, len(kept), trims=trims))
        alone_us, trimmed_us = median(p99s_us[False]), median(p99s_us[True])
        ratios[keeper.name] = trimmed_us / alone_us
        notes.append(f"{keeper.name} {alone_us:.0f} us left alone, {trimmed_us:.0f} trimmed")
        say(f"trim: {notes[-1]}")
    return [
        Reading(
            "trim",
            f"p99 of XRANGE COUNT {COUNT} under continuous trim, by that without",
            ratios.pop("respq"),
            "x",
            Goal(1.2),
            Respq.durability,
            ratios,
            note="; ".join(notes),
        )
    ]


def range_p99_us(keeper: Keeper, entries: Sequence[Entry], length: int, *, trims: bool) -> float:
    """The p99 of ranges that move on with each group that is added.

    ``entries`` go on where those that are kept, the first ``length``, end.
    """
    times_us: list[float] = []
    step = max(1, min(TRIM_GROUP, (length - COUNT) // 2))
    groups = [
        keeper.prepare(entries[at : at + step])
        for at in range(length, min(len(entries), length + length - COUNT), step)
    ]
    with quiet_collector():
        for number, group in enumerate(groups, 1):
            keeper.add(group)
            if trims:
                keeper.trim(length)
            oldest = entries[min(number * step, len(entries) - length)]
            began_s = time.perf_counter()
            count, reply = keeper.read(*((0, 0) if trims else (oldest.ms, oldest.seq)), COUNT)
            times_us.append((time.perf_counter() - began_s) * 1e6)
            if count != COUNT or not reply.startswith(wire(oldest)):
                raise Unfaithful(f"{keeper.name}: range {number} does not begin where it should")
    return sorted(times_us)[int(0.99 * (len(times_us) - 1))]
