"""A primary as its replica sees it: the snapshot, then every command, until it was caught up with.

Rules: the offset that the target is at stands in the target, written with what it is the offset of.
So whoever comes back goes on from there, if the source still has what follows; else a snapshot
comes, and what the target has is proven against it. While a snapshot is loaded there is no offset.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from streams.rdb.reader import RdbError
from tools.migrate.apply import Applier, as_mark, from_mark
from tools.migrate.errors import Differs, Refused
from tools.migrate.link import Address, Link
from tools.migrate.loader import Loader, Policy
from tools.migrate.progress import Progress
from tools.migrate.psync import Replica
from tools.migrate.target import OWN_KEY, Counts, Target

WAIT_S: Final = 0.02
LOOK_S: Final = 0.05
CLOSE_S: Final = 0.5
"""What the source wrote so long ago has been applied: close enough."""
SETTLE_BYTES: Final = 1 << 17
PASSES_MAX: Final = 3


def info(link: Link, section: str) -> dict[str, str]:
    """A section of INFO."""
    lines = bytes(link.call("INFO", section)).decode(errors="replace").split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line and line[0] != "#")


class Follower:
    """Follows one primary into the target."""

    def __init__(
        self,
        address: Address,
        target: Target,
        counts: Counts,
        progress: Progress,
        policy: Policy,
        owner: dict[str, Any],
        *,
        mark: bytes = b":offset",
        port: int = 0,
        alone: bool = True,
        keep_alive: Callable[[], None] = lambda: None,
    ) -> None:
        """``mark``: the name of its offset in the target; ``port``: where we listen; ``alone``: no
        other primary fills the target; ``keep_alive``: called while a snapshot is loaded.
        """
        self.target = target
        self.counts = counts
        self.progress = progress
        self._address = address
        self._policy = policy
        self._owner = owner
        self._mark = mark
        self._port = port
        self._alone = alone
        self._keep_alive = keep_alive
        self.control = Link(address)
        self._loader = Loader(target, counts, progress, policy)
        self._looked_s = 0.0
        self.continued = False
        """Whether it went on without a snapshot."""
        self.seen = self._loader.seen
        self.replica, self._applier = self._begin()
        self._goal, self._goal_s = self.source_offset(), time.monotonic()
        self.caught_up = False

    def _begin(self) -> tuple[Replica, Applier]:
        known = from_mark(self.target.mark(self._mark)) if self._policy.resumed else None
        for _ in range(PASSES_MAX):
            replica = Replica(self._address, self._port, self._keep_alive)
            self.continued = replica.begin(known)
            if self.continued or self._load(replica):
                offset = replica.at
                applier = Applier(
                    *(self.target, self.counts, self.progress, offset, self._mark),
                    *(self._loader, self._owner),
                    alone=self._alone,
                )
                self.target.put_mark(self._mark, as_mark(offset, held=bool(self._loader.lives)))
                return replica, applier
            replica.close()
            known = None
        raise Differs("streams of the target are never what the source's were", "--replace")

    def _load(self, replica: Replica) -> bool:
        """Load the snapshot; False if some of it has to come once more."""
        loader = self._loader
        self.target.call(0, "DEL", OWN_KEY + self._mark)
        self.progress.phase = "load"
        try:
            file = replica.snapshot()
            loader.snapshot(file, max(0, replica.snapshot_bytes))
            replica.end_snapshot(file)
        except RdbError as error:
            raise Refused(f"the snapshot of {self._address} is damaged: {error}") from None
        if loader.conflicts:
            self._policy.remake |= loader.conflicts
            loader.conflicts.clear()
            self.progress.say(
                f"{len(self._policy.remake)} streams were made anew at the source: once more"
            )
            return False
        return True

    # ── the stream ───────────────────────────────────────────────────────────────────────────────

    def source_offset(self) -> int:
        """How far the source has written."""
        return int(info(self.control, "replication")["master_repl_offset"])

    @property
    def landed(self) -> int:
        """How far the target is."""
        return self._applier.landed

    def step(self, seconds: float = WAIT_S) -> bool:
        """Apply what has come; whether something had."""
        data = self.replica.wait(seconds)
        if data:
            self._applier.take(data)
        if len(data) < SETTLE_BYTES:
            self.target.settle()
        self.replica.acked = self._applier.landed
        if self._applier.wants_ack:
            self._applier.wants_ack = False
            self.target.settle()
            self.replica.acked = self._applier.landed
            self.replica.tell()
        self.replica.keep_alive()
        return bool(data)

    def drain(self, offset: int, *, tell: bool = False) -> None:
        """Go on until the target is at an offset."""
        while self.landed < offset:
            if self.step() and tell:
                self.replica.tell()

    def catch_up(self, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Go on until the target is close behind the source, or ``stop`` says so."""
        self.progress.phase = "catch up"
        while not stop():
            self.step()
            self.progress.lag_bytes = max(0, self._goal - self.landed)
            self.progress.show()
            if self.landed < self._goal:
                continue
            took_s = time.monotonic() - self._goal_s
            if took_s < CLOSE_S:
                break
            self._goal, self._goal_s = self.source_offset(), time.monotonic()
        self.be_close()

    def be_close(self) -> None:
        """From now on times to live are set as they come."""
        if not self.caught_up:
            self.caught_up = True
            self.target.settle()
            self._applier.catching_up = False
            self._loader.set_lives()
            self.target.put_mark(self._mark, as_mark(self._applier.offset, held=False))

    def follow(self, stop_s: float) -> None:
        """Go on until this time of the monotonic clock."""
        self.progress.phase = "follow"
        while (now_s := time.monotonic()) < stop_s:
            self.step(LOOK_S)
            if now_s - self._looked_s > 1:
                self._looked_s = now_s
                self.progress.lag_bytes = max(0, self.source_offset() - self.landed)
                self.progress.show()

    def close(self) -> None:
        """Leave the source."""
        self.target.settle()
        self.replica.acked = self._applier.landed
        self.replica.close()
        self.control.close()
