"""Keys that expire: deleted when somebody looks, or by the index when their time has come.

Rules: an expiry is a logged deletion with a record of its own kind. One that finds no room in the
log changes nothing: the key is hidden as if it were gone, and deleted later. What a command was
promised of the log before it looked the key up stays promised. The index is followed behind the
tick, in slices of half a millisecond. The wall clock may jump: it is looked at once a second at
least.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from respserver.clock import Clock
from respserver.errors import ReplyError
from respserver.stats import ServerStats
from respserver.verbs import Verbs
from streams import rowkeys
from streams.journal import Journal
from streams.keyrecords import KeyRecords
from streams.keyspace import Keyspace

SLICE_S: Final = 0.0005
LOOK_MS: Final = 1000
RECORD_BYTES: Final = 32


class Expiry:
    """Deletes what has expired."""

    def __init__(
        self,
        keyspace: Keyspace,
        journal: Journal,
        records: KeyRecords,
        verbs: Verbs,
        clock: Clock,
        stats: ServerStats,
        begin_tick: Callable[[], None],
        set_timer: Callable[[], None],
    ) -> None:
        self._keyspace = keyspace
        self._index = keyspace.expiry
        self._journal = journal
        self._records = records
        self._verbs = verbs
        self._clock = clock
        self._stats = stats
        self._begin_tick = begin_tick
        self._set_timer = set_timer
        self._retry_ms: int | None = None
        self.active = True
        """Whether keys are deleted that nobody asks for."""
        keyspace.on_expired = self.delete
        self._index.on_earlier = set_timer

    def start(self) -> None:
        """Recovery is over: look at what has expired meanwhile."""
        if any(tally.expiring for tally in self._keyspace.tallies.values()):
            self._begin_tick()

    def delete(self, ns: int, key: bytes) -> bool:
        """Delete a key that is due; False where the log has no room for the record."""
        verbs = self._verbs
        log_bytes = self._journal.log.length
        promised = max(verbs.promised, log_bytes)
        record_bytes = RECORD_BYTES + len(key)
        try:
            verbs.reserve(promised - log_bytes + record_bytes, True)
        except ReplyError:
            return False
        finally:
            verbs.promised = promised
        self._records.delete_expired(ns, key)
        verbs.promised += record_bytes
        self._stats.expired_keys += 1
        return True

    def step(self) -> None:
        """Delete what is due, for a slice. REQUIRES: the tick is over."""
        if not self._is_due():
            return
        now_ms = self._clock.wall_ms()
        self._retry_ms = None
        stop_s = self._clock.perf_s() + SLICE_S
        while (row_key := self._index.take(now_ms)) is not None:
            ns, key = rowkeys.expiring_key(row_key)
            row = self._keyspace.row(ns, key) if ns in self._keyspace.live else None
            if row is None or row.expires_ms != rowkeys.expiry_ms(row_key):
                continue
            self._begin_tick()
            if not self.delete(ns, key):
                self._index.add(row_key)
                self._retry_ms = self._clock.monotonic_ms() + LOOK_MS
                break
            if self._clock.perf_s() > stop_s:
                return
        self._set_timer()

    def next_deadline_ms(self) -> int | None:
        """When to look again (monotonic); None: nothing expires, or what does is due."""
        due_ms = self._index.next_ms()
        if due_ms is None or not self.active:
            return None
        if self._retry_ms is not None:
            return self._retry_ms
        wait_ms = due_ms - self._clock.wall_ms()
        return self._clock.monotonic_ms() + min(wait_ms, LOOK_MS) if wait_ms > 0 else None

    def on_timer(self) -> None:
        """Go on if something is due."""
        if self._is_due():
            self._begin_tick()

    def _is_due(self) -> bool:
        due_ms = self._index.next_ms()
        if due_ms is None or not self.active or due_ms > self._clock.wall_ms():
            return False
        return self._retry_ms is None or self._clock.monotonic_ms() >= self._retry_ms
