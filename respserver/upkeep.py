"""Work in the background of the tick: flushes, merges, log files zero-filled ahead, keys that
expire.

Rules: a flush is planned on the loop in slices of half a millisecond, longer ones where the
memtable fills up again meanwhile, so that writers slow down instead of stopping; it is written on
a thread and installed on the loop; one at a time. One that finds the disk full is taken back and
tried again later; until then nobody waits for it: writers are refused once the log is full, too, or
the memtable is beyond all measure. What was deleted is flushed soon even if the memtable has room:
only a flush gives space back. Merges: respserver/compacting.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lsmstore.compactor import Runner
from lsmstore.errors import DiskFull, StorageError
from lsmstore.store import Store
from respserver.clock import Clock
from respserver.compacting import Compacting
from respserver.expiry import Expiry
from respserver.release import Threads
from streams.flush import FlushJob
from streams.journal import Journal
from streams.keyspace import Keyspace

SLICE_S = 0.0005
RETRY_MS = 1000
RECLAIM_MS = 10_000
SHED_BYTES = 16 << 20
BEHIND = 4
BEHIND_FULL_DISK = 16
PRESSURE_SLICES = 8
SLICES_MAX = 40


Asked = tuple[Callable[[], None], Callable[[DiskFull], None] | None]
"""What to call after a flush, and what to call where the disk is full."""


class Loop(Threads, Protocol):
    """Where the next slice is asked for."""

    def call_soon(self, call: Callable[[], None], /) -> None:
        """Run ``call`` on the loop, after what is ready now."""


class Upkeep:
    """Moves flushes and log files on, a slice a tick."""

    def __init__(
        self,
        keyspace: Keyspace,
        store: Store,
        journal: Journal,
        expiry: Expiry,
        clock: Clock,
        loop: Loop,
        begin_tick: Callable[[], None],
        log_room_changed: Callable[[], None],
        set_timer: Callable[[], None],
        fail: Callable[[BaseException], None],
        runner: Runner | None,
    ) -> None:
        self._keyspace = keyspace
        self._journal = journal
        self._expiry = expiry
        self._store = store
        self._clock = clock
        self._loop = loop
        self._begin_tick = begin_tick
        self._log_room_changed = log_room_changed
        self._set_timer = set_timer
        self._fail = fail
        self._job: FlushJob | None = None
        self._planned = False
        self._asked = False
        self._spare_running = False
        self._retry_ms: int | None = None
        self._waiting: list[Asked] = []
        self._served: list[Asked] = []
        self._reclaim_ms: int | None = None
        self.compacting = Compacting(
            keyspace, store, clock, loop, runner, begin_tick, set_timer, fail
        )
        self.memtable_limit_bytes = 0
        self.flushes = 0
        self.stalls = 0
        self._stalled_ms = 0
        self._stalled_from_ms: int | None = None

    def ask_flush(
        self,
        then: Callable[[], None] | None = None,
        refused: Callable[[DiskFull], None] | None = None,
    ) -> None:
        """Flush at the next tick, whatever the memtable holds, and call ``then``.

        ``refused`` is called instead where the disk is full; else ``then`` waits for room.
        """
        self._asked = True
        if then is not None:
            self._waiting.append((then, refused))
        self._begin_tick()

    def step(self) -> None:
        """One slice. REQUIRES: the journal's tick is over. Raises StorageError."""
        if self._job is not None or (self._flush_wanted() and not self.compacting.is_waiting):
            self._step_flush()
        if self.compacting.step(self._job is not None):
            self._loop.call_soon(self._begin_tick)
        self._note_garbage()
        if self._keyspace.is_crowded:
            self._keyspace.make_room(self._in_flight())
        if not self._spare_running and self._store.spare_wanted:
            self._prepare_spare()
        self._expiry.step()  # last: it makes records, and a flush begins where there are none

    @property
    def is_behind(self) -> bool:
        """Whether the memtable has outgrown its share by far: writers must wait for flushes."""
        if self._retry_ms is not None:
            return False
        return self._journal.memtable_bytes > BEHIND * self.memtable_limit_bytes

    def note_stall(self) -> bool:
        """``is_behind``, counted: how often, and for how long."""
        behind = self.is_behind
        if behind != (self._stalled_from_ms is not None):
            now_ms = self._clock.monotonic_ms()
            if self._stalled_from_ms is None:
                self.stalls += 1
                self._stalled_from_ms = now_ms
            else:
                self._stalled_ms += now_ms - self._stalled_from_ms
                self._stalled_from_ms = None
        return behind

    @property
    def stalled_ms(self) -> int:
        """For how long writers have waited for flushes."""
        since_ms = self._stalled_from_ms
        return self._stalled_ms + (0 if since_ms is None else self._clock.monotonic_ms() - since_ms)

    @property
    def refuses_writes(self) -> bool:
        """Whether flushes find the disk full while the log, whose files are smaller, does not."""
        limit_bytes = BEHIND_FULL_DISK * self.memtable_limit_bytes
        return self._retry_ms is not None and self._journal.memtable_bytes > limit_bytes

    def next_deadline_ms(self) -> int | None:
        """When a flush that found the disk full is tried again; None once that is due."""
        merge_ms = self.compacting.next_deadline_ms()
        flush_ms = self._reclaim_ms if self._retry_ms is None else self._retry_ms
        if self._job is not None:
            flush_ms = None
        known = [at for at in (merge_ms, flush_ms) if at is not None]
        now_ms = self._clock.monotonic_ms()
        return min([at for at in known if at > now_ms], default=None)

    def on_timer(self, now_ms: int) -> None:
        """Try again, or begin, what is due."""
        due = [self._reclaim_ms if self._retry_ms is None else self._retry_ms]
        if any(at is not None and now_ms >= at for at in due) or self.compacting.is_due:
            self._begin_tick()

    def _slice_s(self) -> float:
        """How long a slice may take: longer the further writers are ahead, to slow them down."""
        pressure = self._journal.memtable_bytes / max(self.memtable_limit_bytes, 1)
        return SLICE_S * min(1 + PRESSURE_SLICES * pressure * pressure, SLICES_MAX)

    def _in_flight(self) -> set[int]:
        return set() if self._job is None else self._job.sids

    def _flush_wanted(self) -> bool:
        if self._retry_ms is not None:
            return self._clock.monotonic_ms() >= self._retry_ms
        if self._reclaim_ms is not None and self._clock.monotonic_ms() >= self._reclaim_ms:
            return True
        return self._asked or self._journal.memtable_bytes > self.memtable_limit_bytes

    def _note_garbage(self) -> None:
        """What was deleted is given back by a flush, and nobody may ever fill the memtable."""
        much = self._keyspace.has_garbage or self._journal.shed_bytes > SHED_BYTES
        if self._reclaim_ms is None and self._job is None and much:
            self._reclaim_ms = self._clock.monotonic_ms() + RECLAIM_MS
            self._set_timer()

    def _step_flush(self) -> None:
        if self._job is None:
            if self._journal.count:
                return
            self._asked = False
            self._served, self._waiting = self._waiting, []
            self._reclaim_ms = None
            self._job = FlushJob(self._keyspace, self._store, self._journal)
            self._planned = False
        if self._planned:
            return
        stop_s = self._clock.perf_s() + self._slice_s()
        while self._job.step():
            if self._clock.perf_s() > stop_s:
                self._loop.call_soon(self._begin_tick)
                return
        self._planned = True
        self._loop.in_thread(self._job.flush.write, self._written)

    def _written(self, _result: Any, error: BaseException | None) -> None:
        job = self._job
        assert job is not None
        if error is None:
            try:
                job.install()
            except StorageError as failure:
                error = failure
        self._job = None
        if isinstance(error, DiskFull):
            # what was planned becomes dirty again; the log still has it all
            job.abort()
            self._disk_is_full(error)
            self._retry_ms = self._clock.monotonic_ms() + RETRY_MS
            self._set_timer()
            self._begin_tick()
            return
        if error is not None:
            self._fail(error)
            return
        self._retry_ms = None
        self.flushes += 1
        self._keyspace.make_room(set())
        served, self._served = self._served, []
        for then, _ in served:
            then()
        self.compacting.look()
        self._begin_tick()

    def _disk_is_full(self, error: DiskFull) -> None:
        """Whoever asked for the flush is told, or waits for the next one."""
        asked, self._served = self._served, []
        self._waiting = [(then, None) for then, refused in asked if refused is None] + self._waiting
        for _, refused in asked:
            if refused is not None:
                refused(error)

    def _prepare_spare(self) -> None:
        self._spare_running = True

        def done(_result: Any, error: BaseException | None) -> None:
            self._spare_running = False
            if error is not None and not isinstance(error, DiskFull):
                self._fail(error)
                return
            self._log_room_changed()
            if error is None and self._store.is_untidy:
                self._begin_tick()

        self._loop.in_thread(self._store.prepare_spare, done)
