"""Who looks on while commands are executed.

WATCH, keyspace notifications and client-side caches are told what has changed. While anybody looks
on, ``Kernel.special`` is set and every command is performed here; while nobody does, the kernel
does not come here and nothing is paid.

Rules: what has changed is read from the records that the command wrote (streams/changes.py), so a
change cannot be missed, whoever made it. ``_seen`` is how much of the log was read: what was
written before somebody began to look on is none of theirs. Messages to the client whose command is
being executed stand behind its reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.monitor import SCRIPTS, is_shown, line
from respserver.notifications import class_of, copied_to, missed, told_of
from respserver.pause import MAY_REPLICATE, Held, Holding
from respserver.pubsub import PubSub
from respserver.session import NO_REPLIES, REPLIES, SKIP_NEXT, SKIP_THIS
from respserver.spec import READONLY, WRITE
from respserver.tracking import Trackers
from respserver.transactions import ABORTED_BY, Watches, Watching
from respserver.version import LEVEL_8_2
from streams.changes import FLUSHED, SWAPPED, changes

if TYPE_CHECKING:
    from respserver.engine import Engine
    from respserver.kernel import Verb
    from respserver.session import Session

# Changes after which a key is another for WATCH and for client-side caches; Redis does not count
# what happens to groups, nor XSETID.
MODIFYING = frozenset(
    {b"new", b"set", b"del", b"xadd", b"xtrim", b"xdel"}
    | {b"expire", b"persist", b"expired", b"copy_to", b"rename_from", b"rename_to"}
)
# What keys hold, by namespace and name; None: there is no such key.
Kinds = dict[tuple[int, bytes], bytes | None]
FLUSHES = frozenset({b"flushall", b"flushdb"})


class Observers:
    """All that happens around commands, as long as somebody wants it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kernel = engine.kernel
        self._journal = engine.journal
        self._keyspace = engine.keyspace
        self.watches = Watches()
        self.pubsub = PubSub(self.deliver)
        self.trackers = Trackers(engine.sessions, self.deliver)
        self.holding = Holding()
        self.monitors: dict[Session, None] = {}
        self._classes = ""
        self._seen = 0

    def settle(self) -> None:
        """Somebody began or ceased to look on."""
        paused = self.holding.until_ms is not None
        special = bool(
            self.watches
            or self.trackers
            or self._classes
            or self.monitors
            or paused
            or self._kernel.busy
        )
        if special and not self._kernel.special:
            self._seen = self._journal.log.length
        self._kernel.special = special
        self._kernel.holding = paused

    def settings_changed(self) -> None:
        """Which events are told may be others now."""
        text = self._engine.config.notify_keyspace_events
        classes = text
        if self._engine.verbs.redis_level < LEVEL_8_2:
            classes = text.replace("o", "").replace("c", "")
        # events go nowhere while neither kind of channel is chosen
        self._classes = classes if "K" in classes or "E" in classes else ""
        self.settle()

    def forget(self, session: Session) -> None:
        """A client is gone, or begins anew."""
        self.unwatch(session)
        self.pubsub.forget(session)
        self.trackers.end(session)
        self.holding.forget(session)
        self.monitors.pop(session, None)
        session.monitoring = False
        session.pushes.clear()
        self.settle()

    def deliver(self, session: Session, data: bytes) -> None:
        """Send a client a message it did not ask for, with the tick."""
        if session.closed or session.close_after_reply:
            return
        session.take_push(data, session is self._kernel.executing)
        self._engine.has_replies(session)

    # ── around a command ─────────────────────────────────────────────────────────────────────────

    def perform(self, verb: Verb, session: Session) -> int:
        """Perform the command in the kernel's arguments and tell what it changed."""
        words: list[bytes] = self._kernel.words()
        kinds: Kinds = {}
        self._look()  # what was done in the background is not this command's
        if self.monitors and verb.name in SCRIPTS:  # shown before what it calls
            self._show(verb, session, words)
        if self._classes:
            kinds = self._look_before(verb, session, words)
        if verb.name in FLUSHES and self.trackers:
            self.trackers.flushed()
            session.put_pushes()
        try:
            return self._kernel.run_verb(verb, session)
        finally:
            if self.monitors and verb.name not in SCRIPTS:
                self._show(verb, session, words)
            self._look(verb, session, words, kinds)
            self._remember(verb, session, words)

    def _show(self, verb: Verb, session: Session, words: list[bytes]) -> None:
        """Show a command to those who monitor."""
        if is_shown(verb.name, verb.spec.flags):
            shown = line(words, session.db, session.addr, self._engine.now_ms)
            for monitor in list(self.monitors):
                self.deliver(monitor, shown)

    def monitor(self, session: Session) -> None:
        """Show a client every command from now on."""
        session.monitoring = True
        self.monitors[session] = None
        session.settle()
        self.settle()

    def _look_before(self, verb: Verb, session: Session, words: list[bytes]) -> Kinds:
        """What a command's keys hold; tells of those that are missing where it reads them."""
        keyspace = self._keyspace
        ns = keyspace.namespaces[session.db]
        keys = [words[at] for at in verb.spec.find_keys(words)]
        kinds = {(ns, key): keyspace.kind(ns, key) for key in keys}
        if verb.name == b"copy":
            to_ns = keyspace.namespaces[copied_to(words, session.db, len(keyspace.namespaces))]
            kinds[(to_ns, words[2])] = keyspace.kind(to_ns, words[2])
        self._look(verb, session)  # those that were found to have expired
        if "m" in self._classes:
            for key in missed(verb.name, verb.spec.flags, keys, words):
                if kinds[(ns, key)] is None:
                    self._notify(b"keymiss", key, session.db, False)
        return kinds

    def _remember(self, verb: Verb, session: Session, words: list[bytes]) -> None:
        """Note what a tracking client has read."""
        tracking = session.tracking
        if tracking is None:
            return
        if verb.spec.flags & READONLY and tracking.remembers():
            keys = [words[at] for at in verb.spec.find_keys(words)]
            keys_max = self._engine.config.tracking_table_max_keys
            # what a script reads, its caller has read
            reader = self._kernel.executing or session
            self.trackers.remember(reader, keys, keys_max)

    def after(self, session: Session, before: int) -> None:
        """A command of a special client, or at a special time, is over; its reply begins at
        ``before``.
        """
        self._kernel.executing = None
        if session.reply_mode != REPLIES:
            if session.reply_mode in (NO_REPLIES, SKIP_THIS):
                session.cut_reply(before)
            if session.reply_mode != NO_REPLIES:
                session.reply_mode = SKIP_THIS if session.reply_mode == SKIP_NEXT else REPLIES
                session.settle()
        tracking = session.tracking
        if tracking is not None and tracking.caching and session.multi is None:
            last = session.last_command
            if last is None or not last.name.startswith(b"client|"):
                tracking.caching = False
        if session.put_pushes():
            self._engine.has_replies(session)

    def _look(
        self,
        verb: Verb | None = None,
        session: Session | None = None,
        words: list[bytes] | None = None,
        kinds: Kinds | None = None,
    ) -> None:
        """Take notice of what has changed since the last look."""
        log = self._journal.log
        if log.length <= self._seen:
            return
        found = changes(log, self._seen)
        self._seen = log.length
        held = {} if kinds is None else kinds
        for event, number, key in found:
            if event == FLUSHED:
                self.watches.touch_database(number)
                continue
            if event == SWAPPED:
                self._swapped(number)
                continue
            if key is None:
                stream = self._keyspace.by_sid.get(number)
                if stream is None:
                    continue
                ns, key = stream.ns, stream.key
            else:
                ns = number
            db = self._keyspace.db_of[ns]
            if event in MODIFYING:
                self.watches.touch((db, key))
                by = None if event == b"expired" else self._kernel.executing or session
                self.trackers.changed(key, by)
            if self._classes:
                name = b"" if verb is None else verb.name
                before = held.get((ns, key))
                after = before and self._keyspace.kind(ns, key)
                for told in told_of(event, name, words or [], before, after):
                    self._notify(told, key, db, event == b"set")
                if event == b"set" and (ns, key) in held:
                    held[(ns, key)] = b"string"

    def _swapped(self, db: int) -> None:
        """A database is another now: keys that are there, or were, are not what they were."""
        ns = self._keyspace.namespaces[db]
        self.watches.touch_database(db)
        for key in self.watches.keys_of(db):
            if self._keyspace.kind(ns, key) is not None:
                self.watches.touch((db, key))

    def _notify(self, event: bytes, key: bytes, db: int, of_string: bool) -> None:
        """Tell of an event, if its class is chosen."""
        if class_of(event, of_string) not in self._classes:
            return
        if "K" in self._classes:
            self.pubsub.publish(b"__keyspace@%d__:%b" % (db, key), event)
        if "E" in self._classes:
            self.pubsub.publish(b"__keyevent@%d__:%b" % (db, event), key)

    def before_commit(self, end: int | None = None) -> None:
        """The log is handed over, up to ``end`` or all of it, and begins anew."""
        if self._kernel.special:
            self._look()
        self._seen = 0 if end is None else max(self._seen - end, 0)

    def end_tick(self) -> None:
        """Tell what is told once a tick."""
        if self.trackers:
            self.trackers.tell_by_prefix()

    # ── CLIENT PAUSE, WAIT ───────────────────────────────────────────────────────────────────────

    def holds(self, verb: Verb, session: Session) -> bool:
        """Whether a command must wait for the end of the pause; then it does."""
        if self.holding.writes_only:
            transaction = session.multi
            writes = verb.spec.flags & WRITE or verb.name in MAY_REPLICATE
            if transaction is not None:
                writes = verb.name == b"exec" and transaction.record_bytes
            if not writes:
                return False
        held = Held(session, self._kernel.wire(), b"", None)
        session.blocked = held
        self.holding.commands.append(held)
        return True

    def pause(self, until_ms: int, writes_only: bool) -> None:
        """Hold commands until then, in monotonic time."""
        self.holding.pause(until_ms, writes_only)
        self.settle()
        self._engine.reset_timer()

    def unpause_soon(self) -> None:
        """End the pause once the command that says so is over."""
        self.holding.until_ms = 0 if self.holding.until_ms is not None else None
        self._engine.skin.call_soon(self._unpause_if_due)

    def _unpause_if_due(self) -> None:
        if self.holding.until_ms == 0 and not self._engine.failed:
            self.unpause()

    def unpause(self) -> None:
        """Execute what was held."""
        commands = self.holding.end()
        self.settle()
        for held in commands:
            if held.session.blocked is held and not held.session.closed:
                held.session.blocked = None
                self._kernel.execute_held(held.session, held.wire)

    def delay(self, session: Session, reply: bytes, timeout_ms: int) -> Held:
        """Answer a client after a time; 0 is never, or when ``answer`` is called."""
        now_ms = self._engine.clock.monotonic_ms()
        held = Held(session, b"", reply, now_ms + timeout_ms if timeout_ms else None)
        session.blocked = held
        self.holding.answers.append(held)
        self._engine.reset_timer()
        return held

    def answer(self, held: Held) -> None:
        """What the client waited for is done."""
        session = held.session
        if session.blocked is not held:
            return
        session.blocked = None
        self.holding.forget(session)
        if session.reply_mode == REPLIES:
            session.say(held.reply)
        self._engine.has_replies(session)
        self._kernel.resume(session)

    def on_timer(self, now_ms: int) -> None:
        """End what is over."""
        for held in self.holding.answers_due(now_ms):
            self.answer(held)
        if self.holding.until_ms is not None and self.holding.until_ms <= now_ms:
            self.unpause()

    # ── WATCH ────────────────────────────────────────────────────────────────────────────────────

    def watch(self, session: Session, keys: list[bytes]) -> None:
        """A client watches keys of its database."""
        if session.watching is None:
            session.watching = Watching()
        ns = self._keyspace.namespaces[session.db]
        for key in keys:
            is_there = self._keyspace.kind(ns, key) is not None
            self.watches.add(session.watching, (session.db, key), is_there)
        self.settle()

    def unwatch(self, session: Session) -> None:
        """A client watches nothing any more."""
        if session.watching is not None:
            self.watches.remove(session.watching)
            session.watching = None
            self.settle()

    def end_transaction(self, session: Session) -> None:
        """Forget what is queued and what is watched."""
        session.multi = None
        session.settle()
        self.unwatch(session)

    def abort_exec(self, session: Session, line: bytes) -> bytes:
        """EXEC was refused at a gate: the transaction is discarded, and the refusal says so."""
        self.end_transaction(session)
        return ABORTED_BY + line.removeprefix(b"ERR ")

    def is_dirty(self, watching: Watching) -> bool:
        """Whether a watched key is not what it was."""
        if watching.dirty:
            return True
        keyspace = self._keyspace
        return any(
            was_there and keyspace.kind(keyspace.namespaces[db], key) is None
            for (db, key), was_there in watching.keys.items()
        )
