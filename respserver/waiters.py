"""Who waits for which key, and until when.

Rules: a waiting client holds arguments, never state: its command in wire form, run again when one
of its keys grows or vanishes, or when pending entries of its group fall due. Plain readers of a key
are all tried; readers of one group are tried first come first served and stop at the first that
gets nothing, since then there is nothing left for the group, but for those who claim sooner. A
group's entries fall due for whoever stands in its line: there is one timer for each line.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from respserver.session import Session

Key = tuple[int, bytes]

# What is no longer watched leaves the heap when it comes up, or when it is most of the heap.
STALE_MAX = 64
NEVER_MS = 1 << 63
"""For a client that claims nothing: no entry is pending for so long."""


@dataclass(eq=False, slots=True)
class Parked:
    """A client that waits. ``deadline_ms`` is monotonic; None waits for ever."""

    session: Session
    wire: bytes
    keys: list[Key]
    group: bytes | None
    deadline_ms: int | None
    claim_ms: int = NEVER_MS
    """CLAIM: it gets what is pending for so long."""
    cold: bool = False
    """Waits for blocks that are being read, not for keys."""
    cold_rounds: int = 0
    """How many times it did."""


class Line:
    """Clients in the order in which they came. Made and dropped with most waits, so it is lean."""

    __slots__ = ("_claims", "_clients")

    def __init__(self) -> None:
        self._clients: OrderedDict[Parked, None] = OrderedDict()
        self._claims: dict[int, int] = {}  # of those who claim

    def __iter__(self) -> Iterator[Parked]:
        return iter(self._clients)

    def __contains__(self, parked: Parked) -> bool:
        return parked in self._clients

    @property
    def first(self) -> Parked | None:
        """Who came first."""
        return next(iter(self._clients), None)

    def add(self, parked: Parked) -> None:
        """A client joins the end."""
        self._clients[parked] = None
        if parked.claim_ms != NEVER_MS:
            self._claims[parked.claim_ms] = self._claims.get(parked.claim_ms, 0) + 1

    def remove(self, parked: Parked) -> None:
        """A client that is in the line leaves it."""
        del self._clients[parked]
        if parked.claim_ms != NEVER_MS:
            self._claims[parked.claim_ms] -= 1
            if not self._claims[parked.claim_ms]:
                del self._claims[parked.claim_ms]

    def sooner(self, claim_ms: int) -> list[Parked]:
        """Those who claim what is pending for less than ``claim_ms``."""
        if not self._claims or min(self._claims) >= claim_ms:
            return []
        return [parked for parked in self._clients if parked.claim_ms < claim_ms]


class _Queue:
    """Who waits for one key: a line for each group, one for plain readers (None)."""

    __slots__ = ("count", "lines")

    def __init__(self) -> None:
        self.lines: dict[bytes | None, Line] = {}
        self.count = 0


class Waiters:
    """All clients that wait for keys."""

    def __init__(self) -> None:
        self._queues: dict[Key, _Queue] = {}
        self._deadlines: list[tuple[int, int, Parked]] = []
        self._due: list[tuple[int, Key, bytes]] = []
        self._due_of: dict[tuple[Key, bytes], int] = {}
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
            line = queue.lines.get(parked.group)
            if line is None:
                line = queue.lines[parked.group] = Line()
            if parked not in line:
                line.add(parked)
                queue.count += 1
        if parked.deadline_ms is not None:
            self._serial += 1
            heapq.heappush(self._deadlines, (parked.deadline_ms, self._serial, parked))
        self.count += 1

    def remove(self, parked: Parked) -> None:
        """A client waits no more. Its deadline is dropped when it comes up."""
        for key in parked.keys:
            queue = self._queues.get(key)
            line = None if queue is None else queue.lines.get(parked.group)
            if queue is None or line is None or parked not in line:
                continue
            line.remove(parked)
            queue.count -= 1
            if line.first is None:
                del queue.lines[parked.group]
                if parked.group is not None and self._due_of:
                    self._due_of.pop((key, parked.group), None)
            if queue.count == 0:
                del self._queues[key]
        self.count -= 1

    def waiting_for(self, key: Key) -> int:
        """How many clients wait for ``key``."""
        queue = self._queues.get(key)
        return 0 if queue is None else queue.count

    def keys_of(self, db: int) -> list[bytes]:
        """The keys of a database that somebody waits for."""
        return [key for waited_db, key in self._queues if waited_db == db]

    def readers(self, key: Key) -> list[Parked]:
        """The plain readers of ``key``, longest wait first."""
        queue = self._queues.get(key)
        line = None if queue is None else queue.lines.get(None)
        return [] if line is None else list(line)

    def group_lines(self, key: Key) -> list[Line]:
        """A line for each group whose readers wait for ``key``; who is served leaves it."""
        queue = self._queues.get(key)
        if queue is None:
            return []
        return [line for group, line in queue.lines.items() if group is not None]

    def watch(self, key: Key, group: bytes, due_ms: int) -> None:
        """Entries pending in a group that somebody waits for fall due then, in monotonic time."""
        known_ms = self._due_of.get((key, group))
        if known_ms is None or due_ms < known_ms:
            self._due_of[key, group] = due_ms
            heapq.heappush(self._due, (due_ms, key, group))
            if len(self._due) > 2 * len(self._due_of) + STALE_MAX:
                self._due = [(ms, *where) for where, ms in self._due_of.items()]
                heapq.heapify(self._due)

    def take_due(self, now_ms: int) -> list[Key]:
        """The keys with groups whose entries have fallen due; they are no longer watched."""
        found = []
        while self._due and self._due[0][0] <= now_ms:
            due_ms, key, group = heapq.heappop(self._due)
            if self._due_of.get((key, group)) == due_ms:
                del self._due_of[key, group]
                found.append(key)
        return found

    def next_due_ms(self) -> int | None:
        """When entries that somebody waits for fall due next."""
        while self._due:
            due_ms, key, group = self._due[0]
            if self._due_of.get((key, group)) == due_ms:
                return due_ms
            heapq.heappop(self._due)
        return None

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
