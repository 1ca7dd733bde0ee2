"""When replies leave: once their log position is as durable as ``appendfsync`` asks.

Rules: reads wait like writes, so nobody is shown what a crash could take back; replies of one
client leave in order, and what stands behind them (the end of the connection, a long reply) waits
with them. ``always``: a sync at the end of the tick, in place while its running median is below
half a millisecond, on a thread above; what is computed while a sync runs waits for one of its own.
``everysec``: a thread syncs each second and replies leave once the log is written. ``no``: the
system decides when to sync.

Once the log is synced, at the latest ``MARK_MS`` afterwards, a marker goes behind its last frame:
from then on damage to that frame is told from a frame that a crash tore.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from lsmstore.store import Store
from respserver.clock import Clock
from respserver.longreply import LongReply
from respserver.session import Session, send
from respserver.settings import Config

SYNC_IN_PLACE_S = 0.0005
SYNC_SAMPLES = 31
EVERYSEC_MS = 1000
MARK_MS = 20


Outgoing = tuple[Session, bytes, bool, LongReply | None]
"""Replies of a client, whether its connection ends behind them, and the long reply behind them."""


class Threads(Protocol):
    """Where a sync may run off the loop."""

    def in_thread(
        self, work: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Run ``work`` on a thread, then ``done(result, error)`` on the loop."""


class Releaser:
    """Holds replies back until their log position is durable."""

    def __init__(
        self,
        store: Store,
        config: Config,
        clock: Clock,
        threads: Threads,
        write: Callable[[Session, bytes, bool, LongReply | None], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._threads = threads
        self._write = write
        self._fail = fail
        self.sent_bytes = 0
        self.on_sync: Callable[[float], None] = _ignore
        """Is told how long each sync took, in seconds."""
        self._running = False
        self._held: deque[tuple[int, list[Outgoing]]] = deque()
        self._sync_times_s: deque[float] = deque(maxlen=SYNC_SAMPLES)
        self._next_sync_ms = clock.monotonic_ms() + EVERYSEC_MS
        self.wake_by: Callable[[int], None] = _ignore
        """Is told when ``on_timer`` is to be called, in monotonic time."""
        self._mark_ms: int | None = None
        self._marked_lsn = -1

    def release(self, dirty: list[Session]) -> None:
        """Send these clients' replies, now or when the log is durable. Raises StorageError."""
        store = self._store
        if self._held:
            self.release_held()
        if not self._held and (
            self._config.appendfsync != "always" or store.written_lsn == store.synced_lsn
        ):
            self._send(dirty)
            return
        if not self._running and not self._held and self._is_quick():
            began_s = self._clock.perf_s()
            store.sync()
            self._note_sync(self._clock.perf_s() - began_s)
            self._send(dirty)
            self.mark_soon()
            return
        self._held.append((store.written_lsn, [_outgoing(session) for session in dirty]))
        self.start_sync()

    def release_held(self) -> None:
        """Send what the last sync made durable."""
        synced_lsn = self._store.synced_lsn
        while self._held and self._held[0][0] <= synced_lsn:
            _, batch = self._held.popleft()
            for outgoing in batch:
                self._write(*outgoing)

    def release_within(self, dirty: list[Session]) -> None:
        """Send these clients' replies, and those that are held, within a command: now or never.
        Raises StorageError.
        """
        if self._config.appendfsync == "always":
            self._store.sync()
        self.release(dirty)

    def next_sync_ms(self) -> int | None:
        """When ``everysec`` syncs next, in monotonic time."""
        return self._next_sync_ms if self._config.appendfsync == "everysec" else None

    def next_mark_ms(self) -> int | None:
        """When to mark the end of the log, in monotonic time."""
        return self._mark_ms

    def mark_soon(self) -> None:
        """Mark the end of the log after a while, if it is not marked and that is not due yet."""
        if self._mark_ms is None and self._store.written_lsn != self._marked_lsn:
            self._mark_ms = self._clock.monotonic_ms() + MARK_MS
            self.wake_by(self._mark_ms)

    def mark(self, *, may: bool) -> bool:
        """Mark the end of the log, or do so later where it may not be done now, or more was
        written than is synced. Raises StorageError.
        """
        store, self._mark_ms = self._store, None
        if not may or store.written_lsn != store.synced_lsn:
            self.mark_soon()
            return False
        store.commit(b"", 0)
        self._marked_lsn = store.written_lsn
        return True

    def on_timer(self, now_ms: int) -> None:
        """Sync if a second has passed."""
        if self._config.appendfsync == "everysec" and now_ms >= self._next_sync_ms:
            self._next_sync_ms = now_ms + EVERYSEC_MS
            self.start_sync()

    def start_sync(self) -> None:
        """Sync on a thread what is not synced, unless that is under way."""
        if self._running or self._store.written_lsn == self._store.synced_lsn:
            return
        self._running = True
        began_s = self._clock.perf_s()

        def done(_result: Any, error: BaseException | None) -> None:
            self._running = False
            if error is not None:
                self._fail(error)
                return
            self._note_sync(self._clock.perf_s() - began_s)
            self.mark_soon()
            self.release_held()
            if self._held:
                self.start_sync()

        self._threads.in_thread(self._store.sync, done)

    def _note_sync(self, took_s: float) -> None:
        self._sync_times_s.append(took_s)
        self.on_sync(took_s)

    def _is_quick(self) -> bool:
        times_s = self._sync_times_s
        return len(times_s) < SYNC_SAMPLES or statistics.median(times_s) < SYNC_IN_PLACE_S

    def _send(self, dirty: list[Session]) -> None:
        rest: list[Session] = []
        self.sent_bytes += send(dirty, rest)
        for session in rest:
            self._write(*_outgoing(session))


def _ignore(_what: float) -> None:
    """Nobody wants to know."""


def _outgoing(session: Session) -> Outgoing:
    session.queued = False
    return session, session.take_output(), session.close_after_reply, session.stream_reply
