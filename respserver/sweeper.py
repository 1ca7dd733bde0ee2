"""Sees to it that idempotent IDs leave once they have expired (streams/producers.py).

Rules: streams with iids stand in a heap by the whole second of the wall clock at which their next
sweep may find something; a node without them pays one comparison a tick. A sweep is a record of the
log and belongs to the tick. It comes behind the tick's commands, and those that look at iids sweep
their own stream first, so how late it is shows in nothing but the memory held. Streams that have
left memory are not loaded for it: they are swept when they come back. Where the log is full it is
tried again a second later.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from respserver.clock import Clock
from respserver.errors import ReplyError
from streams.journal import Journal
from streams.keyspace import Keyspace

STREAMS_PER_TICK = 256
RECORD_BYTES = 32
RETRY_MS = 1000
# Timers are not set further ahead than this.
TIMER_MS_MAX = 3_600_000


class Sweeper:
    """Sweeps the streams whose iids expire."""

    def __init__(
        self,
        keyspace: Keyspace,
        journal: Journal,
        clock: Clock,
        make_room: Callable[[int, bool], int],
    ) -> None:
        self._keyspace = keyspace
        self._journal = journal
        self._clock = clock
        self._make_room = make_room
        self._heap: list[tuple[int, int]] = []
        self._due_ms: dict[int, int] = {}
        self._retry_ms = 0
        self._tick_is_asked = False

    def step(self) -> bool:
        """Sweep what is due, some streams at a time; whether the next deadline is another now.

        REQUIRES: within a tick, before its commit.
        """
        changed = self._take_unwatched() or self._tick_is_asked
        self._tick_is_asked = False
        if not self._heap:
            return changed
        now_ms = self._clock.wall_ms()
        if self._next_ms() > now_ms:
            return changed
        try:
            self._make_room(self._journal.log.length + STREAMS_PER_TICK * RECORD_BYTES, True)
        except ReplyError:
            self._retry_ms = now_ms + RETRY_MS
            return True
        self._retry_ms = 0
        for _ in range(STREAMS_PER_TICK):
            if not self._heap or self._heap[0][0] > now_ms:
                break
            due_ms, sid = heapq.heappop(self._heap)
            if self._due_ms.get(sid) == due_ms:
                self._sweep(sid, now_ms)
        return True

    def next_deadline_ms(self) -> int | None:
        """When the next sweep is due, by the monotonic clock; None where no timer is needed."""
        if not self._heap:
            return None
        wait_ms = self._next_ms() - self._clock.wall_ms()
        if wait_ms <= 0 and self._tick_is_asked:
            return None
        return self._clock.monotonic_ms() + min(max(wait_ms, 0), TIMER_MS_MAX)

    def wants_tick(self) -> bool:
        """Whether a sweep is due; the tick that follows makes it."""
        self._tick_is_asked = bool(self._heap) and self._next_ms() <= self._clock.wall_ms()
        return self._tick_is_asked

    def _next_ms(self) -> int:
        return max(self._heap[0][0], self._retry_ms)

    def _take_unwatched(self) -> bool:
        if not self._keyspace.unwatched:
            return False
        streams, self._keyspace.unwatched = self._keyspace.unwatched, []
        for stream in streams:
            due_ms = None if stream.producers is None else stream.producers.next_sweep_ms()
            if due_ms is not None and not stream.dropped:
                self._watch(stream.sid, due_ms)
        return True

    def _watch(self, sid: int, due_ms: int) -> None:
        known_ms = self._due_ms.get(sid)
        if known_ms is None or due_ms < known_ms:
            self._due_ms[sid] = due_ms
            heapq.heappush(self._heap, (due_ms, sid))

    def _sweep(self, sid: int, now_ms: int) -> None:
        del self._due_ms[sid]
        stream = self._keyspace.by_sid.get(sid)
        if stream is None or stream.producers is None:
            return
        self._journal.sweep_producers(stream, now_ms)
        due_ms = stream.producers.next_sweep_ms()
        stream.producers.watched = due_ms is not None
        if due_ms is not None:
            self._watch(sid, due_ms)
