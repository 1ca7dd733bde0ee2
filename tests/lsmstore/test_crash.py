"""A crash after every operation of a workload, under every policy: the prefix rule holds."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from lsmstore.simfs import KEEP_ALL, LOSE_ALL, MIXED, CrashPolicy, SimFS
from lsmstore.store import Store
from tests.lsmstore.support import (
    PATH,
    SMALL,
    Progress,
    check_recovered,
    compact,
    fill,
    flush,
    open_store,
    seeded,
    simulated,
)
from tests.seeds import seeds

POLICIES = {"lose": LOSE_ALL, "keep": KEEP_ALL, "mixed": MIXED}


class Workload:
    """Commits, syncs, flushes, trims, spares and reopenings in an order drawn from a seed."""

    def __init__(self, fs: SimFS, rng: random.Random, steps: int) -> None:
        self.fs = fs
        self.rng = rng
        self.steps = steps
        self.progress = Progress()

    def run(self) -> None:
        store = self._open()
        for _ in range(self.steps):
            choice = self.rng.random()
            if choice < 0.55:
                count = self.rng.choice((1, 1, 2, 5, 30))
                self.progress.issued += count
                fill(store, 1, each=count)
            elif choice < 0.78:
                written = store.written_lsn
                store.sync()
                self.progress.durable = written
            elif choice < 0.90:
                floor = self.rng.randint(store.floor_lsn, store.written_lsn)
                if self.rng.random() < 0.4:
                    self.progress.low_water = self.rng.randint(self.progress.low_water, floor)
                flush(store, floor, low_water=self.progress.low_water)
                compact(store, self.rng.choice((0, 0, 1, 9)))
            elif choice < 0.95:
                store.prepare_spare()
            elif choice < 0.97:
                store.commit(memoryview(b""), 0)
            elif self.rng.random() < 0.5:
                store.close()
                self.progress.durable = self.progress.issued
                store = self._open()
            else:
                self.fs.hook, hook = None, self.fs.hook
                self.fs = self.fs.kill()
                self.fs.hook = hook
                store = self._open()
        store.close()
        self.progress.durable = self.progress.issued

    def _open(self) -> Store:
        store = Store.open(self.fs, PATH, SMALL)
        for _ in store.replay():
            pass
        return store


def recover(fs: SimFS, progress: Progress) -> int:
    """Recover, compare with the model, and see that the store still takes and keeps writes."""
    store, frames = open_store(fs)
    last = check_recovered(store, frames, progress)
    after = Progress(last, last, progress.low_water)
    again, frames = open_store(fs.crash(random.Random(0), LOSE_ALL))
    assert check_recovered(again, frames, after) == last, "a second recovery differs"
    fill(again, 2, each=3)
    again.sync()
    flush(again, again.written_lsn - 1)
    fill(again, 1)
    again.sync()
    after = Progress(last + 7, last + 7, progress.low_water)
    third, frames = open_store(simulated(again).crash(random.Random(0), LOSE_ALL))
    check_recovered(third, frames, after)
    return last


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", seeds(3))
def test_a_crash_after_any_operation_leaves_a_prefix(
    policy: str, seed: int, record_property: Callable[[str, object], None]
) -> None:
    rng = seeded(seed)
    workload = Workload(SimFS(), rng, steps=120)
    crash_rng = random.Random(seed * 1000 + 1)

    points = 0

    def crash_here(_operation: int, _op: str, _path: str) -> None:
        nonlocal points
        points += 1
        recover(workload.fs.crash(crash_rng, POLICIES[policy]), workload.progress)

    workload.fs.hook = crash_here
    workload.run()
    assert points > 0
    record_property("crash points", points)


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(2))
def test_what_a_killed_process_left_is_durable_once_it_is_served(
    seed: int, record_property: Callable[[str, object], None]
) -> None:
    rng = seeded(seed)
    workload = Workload(SimFS(), rng, steps=120)

    points = 0

    def crash_here(_operation: int, _op: str, _path: str) -> None:
        nonlocal points
        points += 1
        recover(workload.fs.kill(), workload.progress)

    workload.fs.hook = crash_here
    workload.run()
    assert points > 0
    record_property("crash points", points)


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_a_crash_during_recovery_is_recovered_from(policy: str) -> None:
    rng = seeded(99)
    workload = Workload(SimFS(), rng, steps=150)
    snapshots: list[tuple[SimFS, Progress]] = []

    def take(operation: int, _op: str, _path: str) -> None:
        if operation % 25 == 0:
            at = workload.progress
            copy = Progress(at.durable, at.issued, at.low_water)
            snapshots.append((workload.fs.crash(rng, MIXED), copy))

    workload.fs.hook = take
    workload.run()
    assert len(snapshots) > 10
    for fs, progress in snapshots:
        crash_within_recovery(fs, progress, POLICIES[policy], rng)


def crash_within_recovery(
    fs: SimFS, progress: Progress, policy: CrashPolicy, rng: random.Random
) -> None:
    crashed: list[SimFS] = []
    fs.hook = lambda _operation, _op, _path: crashed.append(fs.crash(rng, policy))
    store, frames = open_store(fs)
    fs.hook = None
    last = check_recovered(store, frames, progress)
    assert crashed
    for other in crashed:
        again, frames = open_store(other)
        assert check_recovered(again, frames, progress) == last
