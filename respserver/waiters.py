"""Who waits for which key, and until when.

Rules: a waiting client holds arguments, never state: its command in wire form, run again when one
of its keys grows or vanishes. Plain readers of a key are all tried; readers of one group are tried
first come first served and stop at the first that gets nothing, since then there is nothing left
for the group.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field

from respserver.session import Session

Key = tuple[int, bytes]


@dataclass(eq=False, slots=True)
class Parked:
    """A client that waits. ``deadline_ms`` is monotonic; None waits for ever."""

    session: Session
    wire: bytes
    keys: list[Key]
    group: bytes | None
    deadline_ms: int | None
    cold: bool = False
    """Waits for blocks that are being read, not for keys."""


Line = OrderedDict[Parked, None]
"""Clients in the order in which they came."""


@dataclass(slots=True)
class _Queue:
    readers: Line = field(default_factory=OrderedDict)
    groups: dict[bytes, Line] = field(default_factory=dict)
    count: int = 0

    def line(self, group: bytes | None) -> Line:
        if group is None:
            return self.readers
        found = self.groups.get(group)
        if found is None:
            found = self.groups[group] = OrderedDict()
        return found


class Waiters:
    """All clients that wait for keys."""

    def __init__(self) -> None:
        self._queues: dict[Key, _Queue] = {}
        self._deadlines: list[tuple[int, int, Parked]] = []
        self._serial = 0
        self.count = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._queues

    def add(self, parked: Parked) -> None:
        """A client begins to wait."""
        for key in parked.keys:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue()
            line = queue.line(parked.group)
            if parked not in line:
                line[parked] = None
                queue.count += 1
        if parked.deadline_ms is not None:
            self._serial += 1
            heapq.heappush(self._deadlines, (parked.deadline_ms, self._serial, parked))
        self.count += 1

    def remove(self, parked: Parked) -> None:
        """A client waits no more. Its deadline is dropped when it comes up."""
        for key in parked.keys:
            queue = self._queues.get(key)
            if queue is None:
                continue
            line = queue.line(parked.group)
            if parked in line:
                del line[parked]
                queue.count -= 1
            if not line and parked.group is not None:
                del queue.groups[parked.group]
            if queue.count == 0:
                del self._queues[key]
        self.count -= 1

    def waiting_for(self, key: Key) -> int:
        """How many clients wait for ``key``."""
        queue = self._queues.get(key)
        return 0 if queue is None else queue.count

    def keys(self) -> list[Key]:
        """All keys that somebody waits for."""
        return list(self._queues)

    def readers(self, key: Key) -> list[Parked]:
        """The plain readers of ``key``, longest wait first."""
        queue = self._queues.get(key)
        return [] if queue is None else list(queue.readers)

    def group_lines(self, key: Key) -> list[Line]:
        """A line for each group whose readers wait for ``key``; who is served leaves it."""
        queue = self._queues.get(key)
        return [] if queue is None else list(queue.groups.values())

    def next_deadline_ms(self) -> int | None:
        """When the next wait ends."""
        while self._deadlines:
            deadline_ms, _, parked = self._deadlines[0]
            if parked.session.blocked is parked:
                return deadline_ms
            heapq.heappop(self._deadlines)
        return None

    def expired(self, now_ms: int) -> list[Parked]:
        """The clients whose wait has ended; they are still in their lines."""
        found = []
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            _, _, parked = heapq.heappop(self._deadlines)
            if parked.session.blocked is parked:
                found.append(parked)
        return found
