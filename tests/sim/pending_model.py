"""A consumer group as a few lines of Python: what is pending, for whom, and what a read gives.

Rules: everything is a dict and a sort. Source: the Redis documentation of XREADGROUP with CLAIM,
XACK, XNACK, XCLAIM; respq's own idle timeout.
"""

from __future__ import annotations

from dataclasses import dataclass

ID = tuple[int, int]
COUNT_MAX = (1 << 63) - 1


@dataclass(slots=True)
class Pending:
    consumer: str  # empty: released
    delivered_ms: int
    count: int
    release: int = 0  # which release it was

    @property
    def age(self) -> tuple[int, int]:
        return (1, self.delivered_ms) if self.consumer else (0, self.release)


class Model:
    """One stream with one group."""

    def __init__(self) -> None:
        self.live: set[ID] = set()
        self.last_added: ID = (0, 0)
        self.last_delivered: ID = (0, 0)
        self.pending: dict[ID, Pending] = {}
        self.idle_timeout_ms = 0
        self.releases = 0

    def add(self, id: ID) -> None:
        self.live.add(id)
        self.last_added = id

    def due(self, now_ms: int, claim_ms: int | None) -> list[ID]:
        """What is overdue, the oldest first, whether or not its entry is gone."""
        limits = [ms for ms in (claim_ms, self.idle_timeout_ms or None) if ms is not None]
        if not limits:
            return []
        found = [
            id
            for id, row in self.pending.items()
            if not row.consumer or now_ms - row.delivered_ms >= min(limits)
        ]
        return sorted(found, key=lambda id: (self.pending[id].age, id))

    def read(
        self, consumer: str, now_ms: int, count: int, claim_ms: int | None, noack: bool
    ) -> list[tuple[ID, int, int]]:
        """XREADGROUP >: (ID, idle, deliveries before) of each entry given; new ones 0, 0."""
        given: list[tuple[ID, int, int]] = []
        for id in self.due(now_ms, claim_ms):
            row = self.pending[id]
            if id not in self.live:
                continue
            if len(given) < count:
                idle_ms = now_ms - (row.delivered_ms if row.consumer else 0)
                given.append((id, idle_ms, row.count))
                self.pending[id] = Pending(consumer, now_ms, min(row.count + 1, COUNT_MAX))
        if self.idle_timeout_ms:
            self.drop_gone(now_ms)
        for id in sorted(id for id in self.live if id > self.last_delivered):
            if len(given) == count:
                break
            given.append((id, 0, 0))
            self.last_delivered = id
            if not noack:
                self.pending[id] = Pending(consumer, now_ms, 1)
        return given

    def drop_gone(self, now_ms: int) -> None:
        """The idle timeout drops what is overdue and gone."""
        for id, row in list(self.pending.items()):
            idle = not row.consumer or now_ms - row.delivered_ms >= self.idle_timeout_ms
            if idle and id not in self.live:
                del self.pending[id]

    def ack(self, ids: list[ID]) -> int:
        return sum(self.pending.pop(id, None) is not None for id in ids)

    def nack(self, ids: list[ID], mode: str, force: bool) -> int:
        n = 0
        for id in ids:
            row = self.pending.get(id)
            if row is None and not (force and id in self.live):
                continue
            count = 0 if row is None else row.count
            if mode == "SILENT":
                count = max(count - 1, 0)
            elif mode == "FATAL":
                count = COUNT_MAX
            self.releases += 1
            self.pending[id] = Pending("", 0, count, self.releases)
            n += 1
        return n

    def claim(self, consumer: str, ids: list[ID], now_ms: int, idle_ms: int) -> None:
        """XCLAIM 0 ... IDLE idle_ms JUSTID: what is gone is dropped."""
        for id in ids:
            row = self.pending.get(id)
            if row is None:
                continue
            if id not in self.live:
                del self.pending[id]
            else:
                self.pending[id] = Pending(consumer, now_ms - idle_ms, row.count)

    def delete_consumer(self, consumer: str) -> int:
        mine = [id for id, row in self.pending.items() if row.consumer == consumer]
        for id in mine:
            del self.pending[id]
        return len(mine)

    def next_due_ms(self, claim_ms: int | None) -> int | None:
        """When the next live entry falls due."""
        limits = [ms for ms in (claim_ms, self.idle_timeout_ms or None) if ms is not None]
        live = [row.delivered_ms for id, row in self.pending.items() if id in self.live]
        return min(live) + min(limits) if live and limits else None

    def clock_went_back(self, now_ms: int) -> None:
        """What was delivered by a clock that was ahead counts from now."""
        for row in self.pending.values():
            if row.consumer:
                row.delivered_ms = min(row.delivered_ms, now_ms)
