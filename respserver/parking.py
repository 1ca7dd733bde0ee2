"""Clients that wait, for keys or for cold blocks: parked, and tried again in their turn.

Rules: a waiting client is a verb that left its arguments behind (respserver/context.py); trying
again runs it as if it had just come. What changed within a tick is served behind the command that
changed it. Who waits where is kept in respserver/waiters.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsmstore.block import Block, Run
from respserver.session import REPLIES, Session
from respserver.waiters import NEVER_MS, Key, Line, Parked
from streams.stream import Stream

if TYPE_CHECKING:
    from respserver.engine import Engine

COLD_READ_BLOCKS = 256
# Others who read cold data may push out what was read for a client that needs more than the cache
# holds; after so many rounds it reads the rest in place.
COLD_ROUNDS_MAX = 64


class Parking:
    """Parks clients and serves them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiters = engine.waiters
        self.ready: dict[Key, None] = {}
        """Keys that have changed, whose waiters are due."""

    def park(self, session: Session) -> None:
        """A client waits for what the verb has left behind; BLOCK 0 is for ever."""
        verbs = self._engine.verbs
        block_ms = verbs.block_ms
        deadline_ms = self._engine.clock.monotonic_ms() + block_ms if block_ms else None
        claim_ms = NEVER_MS if verbs.wait_idle_ms < 0 else verbs.wait_idle_ms
        parked = Parked(
            session, verbs.retry, verbs.wait_keys, verbs.wait_group, deadline_ms, claim_ms
        )
        session.blocked = parked
        self._waiters.add(parked)
        self._note_waiters(parked.keys)
        if deadline_ms is not None:
            self._engine.wake_by(deadline_ms)
        self._watch(parked)

    def _watch(self, parked: Parked) -> None:
        """Wake a client's group when pending entries fall due, as the verb has just reckoned."""
        if not self._engine.verbs.wait_due or parked.group is None:
            return
        now_ms = self._engine.clock.monotonic_ms()
        for key, due_ms in self._engine.verbs.wait_due:
            self._waiters.watch(key, parked.group, now_ms + max(due_ms - self._engine.now_ms, 1))
        next_ms = self._waiters.next_due_ms()
        if next_ms is not None:
            self._engine.wake_by(next_ms)

    def park_cold(self, session: Session, wire: bytes, missing: list[tuple[Run, int]]) -> None:
        """A client waits for cold blocks; its place among the waiters of a key is kept."""
        held = session.blocked
        if isinstance(held, Parked):
            held.cold = True
            parked = held
        else:
            parked = Parked(session, wire, [], None, None, cold=True)
            session.blocked = parked
            self._waiters.count += 1
        parked.cold_rounds += 1
        is_last = len(missing) <= COLD_READ_BLOCKS or parked.cold_rounds >= COLD_ROUNDS_MAX
        wanted = missing[:COLD_READ_BLOCKS]
        store = self._engine.store

        def read() -> list[Block]:
            return [store.read_block(run, index) for run, index in wanted]

        def done(blocks: list[Block] | None, error: BaseException | None) -> None:
            parked.cold = False
            self._engine.begin_tick()
            if parked.group is not None:  # those behind it in the line have waited for it
                self.ready.update([(key, None) for key in parked.keys if key in self._waiters])
            if session.blocked is not parked:
                return
            self._engine.keyspace.cache.keep(wanted, blocks)
            if self._engine.kernel.retry(session, wire, is_last or error is not None):
                self.end(parked)
                self._engine.kernel.resume(session)
            elif not parked.cold and not parked.keys:
                self.end(parked)
                self.park(session)
            elif not parked.cold:
                self._watch(parked)
            if not parked.cold:  # else the next blocks would push out those just read for it
                parked.cold_rounds = 0
                self._engine.keyspace.cache.make_room()

        self._engine.skin.in_thread(read, done)

    def on_change(self, ns: int, key: bytes) -> None:
        """A key grew, appeared or vanished."""
        where = (self._engine.keyspace.db_of[ns], key)
        if where in self._waiters:
            self.ready[where] = None
            self._engine.kernel.woken = True
            self._note_waiters([where])
            self._engine.begin_tick()

    def on_database(self, db: int) -> None:
        """A database was emptied, or swapped with another."""
        for key in self._waiters.keys_of(db):
            self.on_change(self._engine.keyspace.namespaces[db], key)

    def _note_waiters(self, keys: list[Key]) -> None:
        """Tell resident streams how many clients wait for them, so that XADD knows whom to wake."""
        for db, key in keys:
            stream = self._engine.keyspace.tables[db].get(key)
            if isinstance(stream, Stream):
                stream.waiters = self._waiters.waiting_for((db, key))

    def serve_ready(self) -> None:
        """Try again those who wait for keys that changed; called behind each such command."""
        self._engine.kernel.woken = False
        while self.ready:
            key = next(iter(self.ready))
            del self.ready[key]
            db, name = key
            kind = self._engine.keyspace.kind(self._engine.keyspace.namespaces[db], name)
            if kind != b"string":  # Redis leaves plain readers of such a key waiting
                for parked in self._waiters.readers(key):
                    if parked.session.blocked is parked and not parked.cold:
                        self._try_again(parked)
            for line in self._waiters.group_lines(key):
                self._serve_line(line)

    def _serve_line(self, line: Line) -> None:
        """Serve the readers of a group who wait for a key until one gets nothing."""
        while (first := line.first) is not None:
            if first.cold or not self._try_again(first):
                if first.cold:
                    return  # it keeps its place, and the others theirs behind it
                left_ms = first.claim_ms
                for parked in line.sooner(left_ms):
                    waits = parked.session.blocked is parked and not parked.cold
                    if waits and parked.claim_ms < left_ms and not self._try_again(parked):
                        left_ms = parked.claim_ms
                return

    def _try_again(self, parked: Parked) -> bool:
        if not self._engine.kernel.retry(parked.session, parked.wire, False):
            if not parked.cold:
                self._watch(parked)
            return False
        self.end(parked)
        self._engine.kernel.unfinished.append(parked.session)
        return True

    def end(self, parked: Parked) -> None:
        """A client waits no more."""
        parked.session.blocked = None
        self._waiters.remove(parked)
        self._note_waiters(parked.keys)

    def end_wait(self, parked: Parked, reply: bytes) -> None:
        """End a client's wait with a reply."""
        session = parked.session
        self.end(parked)
        self._engine.begin_tick()
        if session.reply_mode == REPLIES:
            session.say(reply)
        self._engine.has_replies(session)
        self._engine.kernel.resume(session)

    def unblock(self, session: Session, with_error: bool) -> bool:
        """CLIENT UNBLOCK: end a client's wait; whether it was waiting."""
        parked = session.blocked
        if not isinstance(parked, Parked) or not parked.keys:
            return False
        if with_error:
            line = b"UNBLOCKED client unblocked via CLIENT UNBLOCK"
            self._engine.count_error(line)
            self.end_wait(parked, b"-" + line + b"\r\n")
        else:
            self.end_wait(parked, null_array(session))
        return True


def null_array(session: Session) -> bytes:
    """What a wait ends with when nothing came."""
    return b"*-1\r\n" if session.proto == 2 else b"_\r\n"
