"""Moving a source into the target: run, and the cut-over that ends it.

Rules: the links of all primaries of a cluster are served in turn by one thread. ``run`` returns
when the target is close behind; ``cutover`` goes on from there, stops the source's writers, brings
over the last of it, and makes the source refuse writes for good. Whatever fails before that lets
the writers go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cluster.slots import key_slot
from tools.migrate import aof, jsonl
from tools.migrate.errors import MigrateError, Refused, Unreachable
from tools.migrate.fence import PAUSE_MS, Fence, Hold, take_down
from tools.migrate.files import load_rdb
from tools.migrate.follow import Follower
from tools.migrate.link import Address, Link
from tools.migrate.loader import Loader, Place, drop
from tools.migrate.owner import Owned
from tools.migrate.progress import Progress
from tools.migrate.scan import TORN, Scanner, true_heads
from tools.migrate.source import PAUSE_WRITE_SINCE, File, Live, Source
from tools.migrate.takeover import Listener, own_host, take_over
from tools.migrate.target import Counts

WAIT_S: Final = 0.5
TURN_S: Final = 0.2
HEADS_S: Final = 0.6
Stop = Callable[[], bool]


@dataclass(slots=True)
class CutOver:
    """How it ended."""

    gap_s: float
    """How long nobody could write to the source before it was fenced."""
    how: str
    undo: str


class Move:
    """One source, one target. Raises MigrateError."""

    def __init__(
        self,
        source: Source,
        target: Address,
        progress: Progress,
        *,
        replace: bool = False,
        needs_mark: bool = False,
    ) -> None:
        self.source = source
        self.progress = progress
        self.counts = Counts()
        self._owned = Owned(
            target, str(source), source.mode, replace=replace, needs_mark=needs_mark
        )
        self.target = self._owned.target
        self.done: CutOver | None = None
        """Set once the source is fenced."""
        self._followers: list[Follower] = []
        self._scanners: list[Scanner] = []
        self._listener: Listener | None = None
        self._ours: set[Place] = set()
        """The keys that the latest pass of a scan brought."""

    # ── run ──────────────────────────────────────────────────────────────────────────────────────

    def run(self, *, follow: Stop | None = None) -> None:
        """Bring the target close behind the source; with ``follow`` until that says stop."""
        if isinstance(self.source, File):
            self._run_file(self.source)
            return
        if self.source.mode == "scan":
            self._scan(self.source, follow)
            return
        self._begin_following(self.source)
        for follower in self._followers:
            follower.catch_up()
        while follow is not None and not follow():
            for follower in self._followers:
                follower.follow(time.monotonic() + TURN_S)
        self.target.settle()

    def _run_file(self, source: File) -> None:
        owned, args = self._owned, (self.target, self.counts, self.progress)
        loader = Loader(*args, owned.policy)
        if source.kind == "rdb":
            load_rdb(source.path, loader)
        elif source.kind == "aof":
            aof.load_aof(source.path, loader, owned.mark)
        else:
            jsonl.load_jsonl(source.path, loader)
        owned.leave()

    def _begin_following(self, source: Live) -> None:
        alone = len(source.primaries) == 1
        if source.mode == "takeover":
            probe = Link(source.address)
            host = str(probe.socket.getsockname()[0]) if not source.address.path else "127.0.0.1"
            probe.close()
            self._listener = Listener(host)
        for address in source.primaries:
            mark = b":offset" if alone else f":offset:{address.host}:{address.port}".encode()
            self._followers.append(
                Follower(
                    *(address, self.target, self.counts, self.progress, self._owned.policy),
                    self._owned.mark,
                    mark=mark,
                    port=self._listener.port if self._listener else 0,
                    alone=alone,
                    keep_alive=self._keep_others_alive,
                )
            )
        if self._owned.policy.drops:
            self._drop_others(source)
        self._owned.policy.fresh = False

    def _drop_others(self, source: Live) -> None:
        """Delete what the snapshots had not, of those primaries that sent one."""
        seen = set().union(*(follower.seen for follower in self._followers))
        continued = {i for i, one in enumerate(self._followers) if one.continued}
        if len(continued) == len(self._followers):
            return

        def is_kept(db: int, key: bytes) -> bool:
            if hash((db, key)) in seen:
                return True
            slot = key_slot(key)
            return any(a <= slot <= b and i in continued for a, b, i in source.slots)

        if drop(self.target, is_kept):
            self.counts.note("keys that the source no longer has were deleted from the target")

    def _keep_others_alive(self) -> None:
        for follower in self._followers:
            follower.replica.keep_alive()

    def _scan(self, source: Live, follow: Stop | None) -> None:
        self._owned.drop_offsets()  # from now on the target is elsewhere
        for address in source.primaries:
            self._scanners.append(
                Scanner(
                    *(address, self.target, self.counts, self.progress, self._owned.policy),
                    exact=source.is_respq,
                    alone=len(source.primaries) == 1,
                )
            )
        self._pass()
        self._pass()
        while follow is not None and not follow():
            self._scanners[0].wait(WAIT_S)
            self._pass()

    def _pass(self) -> None:
        """Look at every key once."""
        policy = self._owned.policy
        seen: set[Place] = set()
        for scanner in self._scanners:
            seen |= scanner.run()
        ours = self._ours
        if policy.drops or ours - seen:
            gone = drop(
                self.target,
                lambda db, key: (db, key) in seen or not (policy.drops or (db, key) in ours),
            )
            for scanner in self._scanners:
                scanner.forget(gone)
        self._ours = seen
        policy.fresh = False

    # ── cut-over ─────────────────────────────────────────────────────────────────────────────────

    def cut_over(self) -> CutOver:
        """End it: the source takes no writes any more, and the target has everything."""
        source = need_primary(self.source)
        done = self._hand_over(source) if source.mode == "takeover" else self._fence(source)
        self.done = done
        try:
            self.target.settle()
            self._owned.leave(is_cut_over=True)
        except MigrateError as error:
            raise type(error)(f"{error}; {done.how}", f"to undo that: {done.undo}") from None
        return done

    def _hand_over(self, source: Live) -> CutOver:
        assert self._listener is not None
        follower = self._followers[0]
        hold = Hold(source.primaries)
        try:
            hold.begin()
            self._bring_the_last(hold)
            hold.check()
            take_over(follower, self._listener, own_host(follower))
            gap_s = time.monotonic() - hold.began_s
        finally:
            hold.end()
        return CutOver(
            gap_s,
            "the source handed over by FAILOVER TO and refuses writes (READONLY)",
            f"redis-cli -u {source.address.template} REPLICAOF NO ONE",
        )

    def _fence(self, source: Live) -> CutOver:
        can_pause = source.version >= PAUSE_WRITE_SINCE
        fences = [] if source.is_respq else [Fence(address) for address in source.primaries]
        hold = Hold(source.primaries if can_pause else [])
        try:
            hold.begin()
            if not can_pause:
                for fence in fences:
                    fence.put_up()
            self._bring_the_last(hold)
            if can_pause:
                for fence in fences:
                    fence.put_up()
                for follower in self._followers:
                    follower.drain(follower.source_offset())
                self.target.settle()
                hold.check()
            gap_s = time.monotonic() - hold.began_s
        except BaseException as error:
            left = take_down(fences)
            hold.end()
            if left:
                raise Unreachable(f"{error}; a part of the source is still fenced", left) from error
            raise
        if source.is_respq:
            hold.pause()
            hold.stop()
            return CutOver(
                gap_s,
                "the source was paused and drained, and has no fence:"
                f" its writers wait for {PAUSE_MS // 1000} s from now on, stop them",
                f"respq cli -u {source.address.template} CLIENT UNPAUSE",
            )
        hold.end()
        return CutOver(
            gap_s,
            f"the source was {'paused, ' if can_pause else ''}drained and fenced"
            " (min-replicas-to-write: NOREPLICAS)",
            "; ".join(fence.undo for fence in fences),
        )

    def _bring_the_last(self, hold: Hold) -> None:
        self.progress.guard = hold.check
        try:
            self._bring()
        finally:
            self.progress.guard = None

    def _bring(self) -> None:
        for follower in self._followers:
            follower.drain(follower.source_offset())
        self._true_heads()
        for scanner in self._scanners:
            scanner.paused = True
        if TORN in self.counts.notes:
            self.counts.notes.remove(TORN)
        if self._scanners:
            self._pass()
        self.target.settle()

    def _true_heads(self) -> None:
        """Bring over what no replica is told, for as long as writers may be kept waiting."""
        stop_s = time.monotonic() + HEADS_S
        for follower in self._followers:
            if not true_heads(
                follower.control, self.target, stop_s, alone=len(self._followers) == 1
            ):
                self.counts.note(
                    "large groups were not read again: their counts of history reads and times of"
                    " consumers are those that a replica knows"
                )

    def close(self) -> None:
        """Leave both sides."""
        for follower in self._followers:
            follower.close()
        for scanner in self._scanners:
            scanner.close()
        if self._listener is not None:
            self._listener.close()
        self.target.close()


def need_primary(source: Source) -> Live:
    """Refuse what nobody can cut over from."""
    if not isinstance(source, Live):
        raise Refused("a file is moved by run alone; there is nobody to cut over from")
    if source.role != "master":
        raise Refused(
            f"{source} is a replica: its primary's writers have to be stopped",
            "respq migrate cutover with the URL of its primary",
        )
    return source
