"""A crash after every operation on the disk: what was told is there, and it is one moment.

For each operation of a workload, and each of three policies of what an unsynced write may become,
the disk as a crash would leave it is opened by a new node. Its log ends at some position, and then

* nothing is missing that a client was told of under ``always`` (reads count), nor what was synced;
* every key, entry, group, pending entry, deletion and trim is as it was at that very position;
* opening it again changes nothing, and neither does a crash while it is being opened;
* a checkpoint that was answered is there and is what there was at its position; one that was not
  is whole, or has no CURRENT;
* no file is missing or left over, and the node goes on to take writes and to keep them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from lsmstore.compaction import Kind
from lsmstore.options import StoreOptions
from lsmstore.simfs import KEEP_ALL, LOSE_ALL, MIXED, CrashPolicy, SimFS
from tests.lsmstore.support import check_files
from tests.seeds import seeds
from tests.sim.dump import difference, dump
from tests.sim.node import PATH, SMALL, SimNode
from tests.sim.reference import Reference
from tests.sim.workload import Driver

POLICIES = {"lose": LOSE_ALL, "keep": KEEP_ALL, "mixed": MIXED}
STEPS = 200
CHECKPOINTS = 3
COPIES = f"{PATH}/checkpoints"


class Crashes:
    """Crashes one run at each of its operations."""

    def __init__(self, seed: int, appendfsync: str, options: StoreOptions = SMALL) -> None:
        self.rng = random.Random(seed)
        if self.rng.random() < 0.5:
            options = replace(options, manifest_bytes_max=1000)
        self.options = options
        self.appendfsync = appendfsync
        self.memtable_bytes = self.rng.choice((15_000, 30_000, 60_000))
        self.fs = SimFS()
        self.node = SimNode(
            self.fs,
            seed=seed,
            options=options,
            appendfsync=appendfsync,
            memtable_bytes=self.memtable_bytes,
            cache_bytes=self.rng.choice((1, 20_000, 1 << 20)),
            resident_bytes=self.rng.choice((1, 20_000, 1 << 20)),
            sync_on_thread=self.rng.random() < 0.5,
            slow_slices=self.rng.random() < 0.5,
            settings={
                "stream-node-max-entries": self.rng.choice(("2", "7", "100")),
                "stream-idmp-duration": self.rng.choice(("1", "100")),
                "stream-idmp-maxsize": self.rng.choice(("2", "100")),
            },
        )
        self.reference = Reference()
        self.reference.follow(self.node)
        self.driver = Driver(self.node, self.rng, checkpoints=CHECKPOINTS)
        self.first_manifest = self.node.store._manifest.number
        self.points = 0
        self.recovered: dict[bytes, int] = {}
        """By fingerprint of a disk: where the log ended that was found on it."""
        self.copies: dict[bytes, int] = {}
        """By fingerprint of a checkpoint: up to which record it goes."""
        self.crash_rng = random.Random(seed)

    def run(self) -> None:
        self.fs.hook = self.crash
        self.work()
        self.fs.hook = None
        expected = self.reference.states[self.reference.last_lsn]
        for node in (self.node, self.open(self.fs.kill())):
            found = difference(expected, dump(node))
            assert not found, found

    def work(self) -> None:
        for _ in range(STEPS):
            self.driver.step()
        self.driver.finish()

    def crash(self, operation: int, what: str, path: str) -> None:
        told = self.node.acknowledged_lsn
        synced = self.node.store.synced_lsn
        for name, policy in POLICIES.items():
            where = f"crash {name} after operation {operation}: {what} {path}"
            self.points += 1
            with explained(where):
                self.check(self.fs.crash(self.crash_rng, policy), max(told, synced), policy)

    def open(self, disk: SimFS, *, merges: bool = False) -> SimNode:
        return SimNode(
            disk,
            options=self.options,
            appendfsync=self.appendfsync,
            memtable_bytes=self.memtable_bytes,
            merges=merges,
        )

    def check(self, disk: SimFS, told: int, policy: CrashPolicy) -> None:
        """Recover from a disk and look; a disk that was found before is known already."""
        disk_found = disk.fingerprint()
        self.check_copies(disk)
        known = self.recovered.get(disk_found)
        if known is not None:
            assert told <= known, f"the log ends at {known}, told was {told}"
            return
        choice = self.crash_rng.random()
        again: list[SimFS] = []
        if choice < 0.2:
            self.crash_while_opening(disk, policy, again)
        node = self.open(disk, merges=choice > 0.9)
        disk.hook = None
        lsn = self.recovered[disk_found] = self.same_moment(node, told)
        for other in again:
            # more may be found: a file whose new name was lost may get it by the first recovery
            assert self.same_moment(self.open(other), told) >= lsn, "a second crash took something"
        if choice > 0.9:
            self.go_on(node)

    def check_copies(self, disk: SimFS) -> None:
        """Checkpoints are what there was, and those that were answered are there."""
        answered = self.driver.checkpoints
        names = disk.listdir(COPIES) if disk.exists(COPIES) else []
        for name in names:
            if disk.exists(f"{COPIES}/{name}/CURRENT"):
                found = disk.fingerprint(f"{COPIES}/{name}")
                if found not in self.copies:
                    self.copies[found] = self.open_copy(disk, name)
                if name in answered:
                    assert self.copies[found] == answered[name], f"{name} is another moment"
                continue
            assert name not in answered, f"{name} was answered and is no checkpoint"
        assert answered.keys() <= set(names), "a checkpoint is gone"

    def open_copy(self, disk: SimFS, name: str) -> int:
        node = SimNode(disk.kill(), options=self.options, path=f"{COPIES}/{name}")
        lsn = node.recovered_lsn
        found = difference(self.reference.states[lsn], dump(node))
        assert not found, f"{name} is not as it was at {lsn}: {found}"
        check_files(node.store)
        return lsn

    def same_moment(self, node: SimNode, told: int) -> int:
        lsn = node.recovered_lsn
        assert told <= lsn, f"the log ends at {lsn}, told was {told}"
        found = difference(self.reference.states[lsn], dump(node))
        assert not found, f"not as it was at {lsn}: {found}"
        check_files(node.store)
        return lsn

    def crash_while_opening(self, disk: SimFS, policy: CrashPolicy, found: list[SimFS]) -> None:
        """Crash once more, at some operation of the recovery."""
        at = disk.operations + self.crash_rng.randrange(1, 9)

        def hook(operation: int, _what: str, _path: str) -> None:
            if operation == at:
                found.append(disk.crash(self.crash_rng, policy))

        disk.hook = hook

    def go_on(self, node: SimNode) -> None:
        """The node takes writes; they are there after yet another crash."""
        reference = Reference()
        reference.last_lsn = node.recovered_lsn
        driver = Driver(node, self.crash_rng, clients=2)
        for _ in range(6):
            driver.step()
        driver.finish()
        node.store.sync()
        before = dump(node)
        after = self.open(node.fs.crash(self.crash_rng, LOSE_ALL))
        found = difference(before, dump(after))
        assert not found, f"went on, crashed again: {found}"


class explained:  # noqa: N801 - reads as a word
    """Adds to a failure where it happened."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if error is not None:
            error.add_note(self.where)


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
@pytest.mark.parametrize("seed", seeds(4))
def test_what_was_told_survives_a_crash(
    seed: int, appendfsync: str, record_property: Callable[[str, object], None]
) -> None:
    print(f"seed {seed}")
    crashes = Crashes(seed, appendfsync)
    crashes.run()
    assert crashes.points > 3 * STEPS
    assert len(crashes.driver.checkpoints) == CHECKPOINTS
    assert len(crashes.copies) >= CHECKPOINTS
    rolls = crashes.node.store._manifest.number - crashes.first_manifest
    assert rolls > 0 or crashes.options is SMALL
    record_property("crash points", crashes.points)
    record_property("different disks after them", len(crashes.recovered))
    print(f"{crashes.points} crashes, {len(crashes.recovered)} different disks, {rolls} rolls")


class WordyCrashes(Crashes):
    """Values are made of some words, so that dictionaries are trained; some entries are deleted."""

    def work(self) -> None:
        words = [random.Random(i).randbytes(12).hex() for i in range(60)]
        for round_ in range(5):
            for i in range(14):
                for n in range(3):
                    value = " ".join(self.rng.choices(words, k=14))
                    self.node.client.send("XADD", f"s{i}", f"{round_ + 1}-{n}", "f", value)
            self.node.run()
            self.node.client.replies()
            self.node.call("XDEL", "s0", f"{round_ + 1}-1")
            self.node.call("COPY", "s1", f"s{round_ % 2 + 2}", "REPLACE")
            self.node.call("DEL", "s4")
            self.node.flush()

    def crash(self, operation: int, what: str, path: str) -> None:
        if path.startswith(f"{PATH}/seg") or self.crash_rng.random() < 0.1:
            super().crash(operation, what, path)


@pytest.mark.parametrize("seed", seeds(1))
def test_what_was_told_survives_where_dictionaries_are_trained(
    seed: int, record_property: Callable[[str, object], None]
) -> None:
    print(f"seed {seed}")
    options = replace(
        SMALL,
        dictionary_bytes=4096,
        frame_bytes=1024,
        merge_width=2,
        log_compressed_bytes_min=200,
    )
    crashes = WordyCrashes(seed, "everysec", options)
    crashes.run()
    record_property("crash points", crashes.points)
    record_property("different disks after them", len(crashes.recovered))
    store = crashes.node.store
    assert len(store._version.dictionaries) > 0
    assert store.compactions[Kind.JOIN] > 0
    assert store.stats()["segments"] < 6


@pytest.mark.parametrize(
    "trim",
    [
        ("XTRIM", "s", "MAXLEN", "~", 7),
        ("XTRIM", "s", "MAXLEN", "~", 1, "LIMIT", 4),
        ("XTRIM", "s", "MINID", "~", "8-0"),
        ("XTRIM", "s", "MINID", "~", "8-0", "DELREF"),
        ("XTRIM", "s", "MAXLEN", "~", 2, "ACKED"),
        ("XADD", "s", "MAXLEN", "~", 7, "21-0", "f", "v"),
    ],
)
def test_an_approximate_trim_is_replayed_as_what_it_took_away(trim: tuple[str | int, ...]) -> None:
    """What nodes were then decides; the node that replays has others."""
    node = SimNode(settings={"stream-node-max-entries": "3"})
    node.call("XGROUP", "CREATE", "s", "g", 0, "MKSTREAM")
    for i in range(1, 21):
        node.call("XADD", "s", f"{i}-0", "f", "v")
    node.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 18, "STREAMS", "s", ">")
    node.call("XACK", "s", "g", *(f"{i}-0" for i in range(1, 12)))
    node.call(*trim)
    before = node.raw("XRANGE", "s", "-", "+"), node.call("XPENDING", "s", "g")
    assert 20 > node.call("XLEN", "s") > 2
    again = node.reopen(settings={"stream-node-max-entries": "5"})
    assert (again.raw("XRANGE", "s", "-", "+"), again.call("XPENDING", "s", "g")) == before
    again.check()
