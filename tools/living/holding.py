"""A worker's dealings with the server about entries of one group: get, hold, finish, give back.

Rules: everything is done with commands that Redis has, so that workers of any kind can share a
group. An entry that has been pending for the lease is *due*: it is delivered again, to whoever
asks. From Redis 8.4 on, and on respq, the read itself asks for what is due (CLAIM); on older ones
the oldest due entry is looked up and claimed, every quarter of a lease and when one of ours is due.
What a consumer holds it prolongs with XCLAIM to itself, JUSTID: the delivery is not counted. An
entry is to come again after a delay: XCLAIM with IDLE, so that it is due when the delay is over.
Before any of these the server is asked whether the entry is still ours: who was away for longer
than the lease has lost it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from tools.connection import Server, Word
from tools.living.entries import Entry, entry_of

CLAIM_LEVEL = (8, 4)
# What is not written is not acknowledged: XADD comes first, and its error ends the script.
BURY = """
local rows = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not rows[1] or rows[1][2] ~= ARGV[2] then
    return 0
end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 4))
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
"""
LATE_MS = 2  # clocks count whole milliseconds


class Delivery(NamedTuple):
    """An entry, and how often it was delivered so far, this time included."""

    entry: Entry
    deliveries: int


@dataclass(frozen=True)
class Post:
    """Where a worker reads, and under which name."""

    stream: bytes
    group: bytes
    consumer: bytes
    lease_ms: int


class Holding:
    """One connection's reads, and what it holds."""

    def __init__(self, server: Server, post: Post) -> None:
        self._server = server
        self._post = post
        self._where = (post.stream, post.group)
        self._claims: bool | None = None
        self._can_release: bool | None = None
        self._look_at_s = 0.0
        self._due_s: list[float] = []  # when entries are due that we gave back for a while

    def read(self, block_ms: int) -> Delivery | None:
        """The next entry; wait for one, unless ``block_ms`` is 0. Raises Refused, Unreachable."""
        if self._claims is None:
            self._claims = self._server.redis_level >= CLAIM_LEVEL
        if not self._claims and time.monotonic() >= self._look_at_s:
            found = self._overdue()
            if found is not None:
                return found
            now_s = time.monotonic()
            self._due_s = [due_s for due_s in self._due_s if due_s > now_s]
            self._look_at_s = min([now_s + self._post.lease_ms / 4000, *self._due_s])
        post = self._post
        if not self._claims and block_ms:
            look_ms = math.ceil((self._look_at_s - time.monotonic()) * 1000)
            block_ms = max(1, min(block_ms, look_ms))
        options: tuple[Word, ...] = ("BLOCK", block_ms) if block_ms else ()
        if self._claims:
            options += ("CLAIM", post.lease_ms)
        reply = self._server.ask(
            *("XREADGROUP", "GROUP", post.group, post.consumer, "COUNT", 1),
            *options,
            *("STREAMS", post.stream, ">"),
        )
        if not reply:
            return None
        row = reply[0][1][0]
        return Delivery(entry_of(row), row[3] + 1 if len(row) > 3 else 1)

    def _overdue(self) -> Delivery | None:
        """Claim the oldest entry that is due, on a server that does not by itself."""
        lease_ms = self._post.lease_ms
        while rows := self._server.ask("XPENDING", *self._where, "IDLE", lease_ms, "-", "+", 1):
            entry_id, _, _, deliveries = rows[0]
            consumer = self._post.consumer
            got = self._server.ask("XCLAIM", *self._where, consumer, lease_ms, entry_id)
            if got and got[0] is not None:
                return Delivery(entry_of(got[0]), deliveries + 1)
            if not got and self._still_pending(entry_id):
                return None  # somebody else was quicker
        return None

    def _still_pending(self, entry_id: bytes) -> bool:
        """Whether an entry is pending; one whose entry is gone leaves with the claim."""
        return bool(self._server.ask("XPENDING", *self._where, entry_id, entry_id, 1))

    def is_ours(self, entry_id: str) -> bool:
        """Whether an entry is still pending with us."""
        rows = self._server.ask("XPENDING", *self._where, entry_id, entry_id, 1)
        return bool(rows) and rows[0][1] == self._post.consumer

    def prolong(self, entry_id: str) -> bool:
        """Hold an entry for another lease; False if it is not ours any more."""
        return self._age(entry_id, 0)

    def again(self, entry_id: str, delay_ms: int) -> bool:
        """Let an entry be due after a delay, at most the lease; False if it is not ours."""
        ours = self._age(entry_id, max(0, self._post.lease_ms - delay_ms))
        self._due_s.append(time.monotonic() + (delay_ms + LATE_MS) / 1000)
        self._look_at_s = min(self._look_at_s, self._due_s[-1])
        return ours

    def _age(self, entry_id: str, idle_ms: int) -> bool:
        if not self.is_ours(entry_id):
            return False
        claim = ("XCLAIM", *self._where, self._post.consumer, 0, entry_id, "IDLE", idle_ms)
        return bool(self._server.ask(*claim, "JUSTID"))

    def release(self, entry_id: str) -> bool:
        """Give an entry back as if it had not been delivered, where the server knows how (XNACK),
        else let it be due at once; False if it is not ours any more.
        """
        if self._can_release is None:
            self._can_release = self._server.has("XNACK")
        if not self._can_release:
            return self.again(entry_id, 0)
        if not self.is_ours(entry_id):
            return False
        return bool(self._server.ask("XNACK", *self._where, "SILENT", "IDS", 1, entry_id))

    def finish(self, entry_id: str) -> None:
        """Acknowledge an entry."""
        self._server.ask("XACK", *self._where, entry_id)

    def bury(self, dead: bytes, delivery: Delivery, why: str) -> bool:
        """Move an entry to another stream and acknowledge it, in one step that asks whether it is
        still ours; False, and nothing is done, if it is not. Raises Refused, also for an entry of
        thousands of fields, which are more than a script can hand on.
        """
        notes: dict[bytes, Word] = {
            b"respq-stream": self._post.stream,
            b"respq-group": self._post.group,
            b"respq-id": delivery.entry.id,
            b"respq-deliveries": delivery.deliveries,
            b"respq-why": why,
        }
        flat: list[Word] = [part for pair in delivery.entry.pairs for part in pair]
        flat += [part for note in notes.items() for part in note]
        who = (self._post.group, self._post.consumer, delivery.entry.id)
        reply = self._server.ask("EVAL", BURY, 2, self._post.stream, dead, *who, *flat)
        return bool(reply)

    def leave(self) -> bool:
        """Remove our consumer, unless it has something pending; whether it is gone."""
        summary: Any = self._server.ask("XPENDING", *self._where)
        if any(row[0] == self._post.consumer for row in summary[3] or []):
            return False
        self._server.ask("XGROUP", "DELCONSUMER", *self._where, self._post.consumer)
        return True
