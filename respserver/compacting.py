"""Merges in the background of the tick, one at a time, each in a process of its own.

Rules: a merge begins and is installed while no flush is under way; streams in memory then change
over to the new files in slices of half a millisecond. One that fails is tried again later, after
twice the time each time; the server goes on without. What it found damaged stays where it is and is
said in INFO.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lsmstore.compactor import Compaction, Runner
from lsmstore.errors import Corruption, DiskFull, Poisoned, StorageError
from lsmstore.store import Store
from respserver.clock import Clock
from respserver.release import Threads
from streams.keyspace import Keyspace
from streams.loading import exchange_runs

SLICE_S = 0.0005
RETRY_MS = 1000
RETRY_MS_MAX = 600_000


class Compacting:
    """Chooses, waits, installs."""

    def __init__(
        self,
        keyspace: Keyspace,
        store: Store,
        clock: Clock,
        threads: Threads,
        runner: Runner | None,
        begin_tick: Callable[[], None],
        set_timer: Callable[[], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        """Without a ``runner`` nothing is ever merged."""
        self._keyspace = keyspace
        self._store = store
        self._clock = clock
        self._threads = threads
        self._runner = runner
        self._begin_tick = begin_tick
        self._set_timer = set_timer
        self._fail = fail
        self._merge: Compaction | None = None
        self._done = False
        self._exchange: Iterator[None] | None = None
        self._looked = False
        self._retry_at_ms = 0
        self._pause_ms = RETRY_MS
        self.failures = 0
        self.last_error = ""

    @property
    def is_waiting(self) -> bool:
        """Whether a merge waits to be installed: no flush should begin before."""
        return self._done

    def look(self) -> None:
        """What there is to be merged may have changed."""
        self._looked = False

    def step(self, flushing: bool) -> bool:
        """One slice; whether there is more to do at once. Raises StorageError."""
        if self._exchange is not None:
            return self._step_exchange()
        if self._merge is not None:
            if self._done and not flushing:
                self._install(self._merge)
                return True
            return False
        if flushing or self._looked or self._runner is None:
            return False
        if self._clock.monotonic_ms() < self._retry_at_ms:
            return False
        self._looked = True
        self._begin(self._runner)
        return False

    @property
    def is_due(self) -> bool:
        """Whether it is time to try again after a failure."""
        waits = not self._looked and self._runner is not None and self._merge is None
        return waits and 0 < self._retry_at_ms <= self._clock.monotonic_ms()

    def next_deadline_ms(self) -> int | None:
        """When to try again after a failure; None if there was none, or it is due."""
        if self._looked or self._runner is None or self._merge is not None:
            return None
        return self._retry_at_ms if self._clock.monotonic_ms() < self._retry_at_ms else None

    def stop(self) -> None:
        """The server stops: a merge that is running is of no use any more."""
        if self._runner is not None:
            self._runner.cancel()

    def _begin(self, runner: Runner) -> None:
        try:
            merge = self._merge = self._store.begin_compaction(self._keyspace.fresh_lends())
        except DiskFull:
            self._put_off("no space left for the manifest")
            return
        if merge is not None:
            self._threads.in_thread(lambda: merge.run(runner), self._ran)

    def _ran(self, _result: Any, error: BaseException | None) -> None:
        if isinstance(error, Poisoned) or not isinstance(error, StorageError | None):
            self._fail(error)
            return
        merge = self._merge
        assert merge is not None
        if error is None:
            self._done = True
        else:
            self._merge = None
            self._put_off(str(error), damaged=isinstance(error, Corruption))
            try:
                merge.abandon()
            except StorageError as failure:
                self._fail(failure)
                return
        self._begin_tick()

    def _install(self, merge: Compaction) -> None:
        self._merge = None
        self._done = False
        try:
            merge.install()
        except DiskFull:
            self._put_off("no space left for the manifest")
            return
        self._pause_ms = RETRY_MS
        self._looked = False
        if merge.replaced:
            keys = self._keyspace
            self._exchange = exchange_runs(self._store, keys.by_sid, keys.cache, merge.replaced)

    def _step_exchange(self) -> bool:
        assert self._exchange is not None
        stop_s = self._clock.perf_s() + SLICE_S
        for _ in self._exchange:
            if self._clock.perf_s() > stop_s:
                return True
        self._exchange = None
        return True

    def _put_off(self, why: str, *, damaged: bool = False) -> None:
        self.failures += 1
        self.last_error = why
        self._looked = False
        self._pause_ms = RETRY_MS_MAX if damaged else min(2 * self._pause_ms, RETRY_MS_MAX)
        self._retry_at_ms = self._clock.monotonic_ms() + self._pause_ms
        self._set_timer()
