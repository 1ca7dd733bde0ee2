"""A fault somewhere in a workload, then a crash: what was told is there, as of one moment.

A full disk is survived: the node goes on, refusing what does not fit. Any other failed write or
sync ends the node, and what the disk holds of it is not known; the log says.
"""

from __future__ import annotations

import errno
import random

import pytest

from lsmstore.errors import Poisoned
from lsmstore.simfs import Rule
from tests.seeds import seeds
from tests.sim.node import Unfinished
from tests.sim.test_crash import POLICIES, STEPS, Crashes

FAULTS = [
    ("pwrite", errno.EIO),
    ("pwrite", errno.ENOSPC),
    ("fdatasync", errno.EIO),
    ("fsync_dir", errno.EIO),
    ("create", errno.EIO),
    ("create", errno.ENOSPC),
    ("rename", errno.EIO),
    ("unlink", errno.EIO),
]
PATHS = ["*", "*/wal/*", "*/seg/*", "*/MANIFEST*", "*.row", "*.seg"]


def faulty(seed: int) -> tuple[Crashes, Rule]:
    crashes = Crashes(seed, random.Random(seed).choice(("always", "everysec")))
    op, error = crashes.rng.choice(FAULTS)
    return crashes, crashes.fs.inject(
        Rule(
            op,
            crashes.rng.choice(PATHS),
            nth=crashes.rng.choice((1, 3, 10, 40, 120)),
            times=crashes.rng.choice((1, 1, 5)),
            error=error,
        )
    )


@pytest.mark.parametrize("seed", seeds(25))
def test_what_was_told_survives_a_fault_and_a_crash(seed: int) -> None:
    print(f"seed {seed}")
    crashes, rule = faulty(seed)
    node = crashes.node
    print(crashes.appendfsync, rule)
    for _ in range(STEPS):
        crashes.driver.step()
        if node.skin.dead:
            break
    if not node.skin.dead:
        try:
            crashes.driver.finish()
        except Unfinished:
            assert node.skin.dead, "the fault met the node at the last moment"
    if node.skin.dead:
        assert isinstance(node.skin.error, Poisoned)
        assert rule.seen >= rule.nth
    told = max(node.acknowledged_lsn, node.store.synced_lsn)
    for policy in POLICIES.values():
        crashes.check(crashes.fs.crash(crashes.crash_rng, policy), told, policy)


def test_the_faults_are_met() -> None:
    """Some end the node, some do not, and some never come."""
    ended = went_on = 0
    for seed in range(20):
        crashes, rule = faulty(seed)
        for _ in range(STEPS):
            crashes.driver.step()
            if crashes.node.skin.dead:
                break
        ended += crashes.node.skin.dead
        went_on += not crashes.node.skin.dead and rule.seen >= rule.nth
    assert ended > 4
    assert went_on > 0
