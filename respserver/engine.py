"""The node without its sockets: sessions, the tick, waiting, durability, flushes.

A tick: take input, execute, serve the parked, commit one batch, release replies. Rules:

- Nothing here does I/O of its own accord or knows a loop: the clock, the store and the ``Skin``
  (what the I/O shell offers) come in as arguments, so the whole node runs in a test.
- Replies leave when the log is as durable as ``appendfsync`` asks (respserver/release.py).
- A storage failure ends the process: nobody is told OK, connections close, the exit code is not
  zero.
- What is done in the background is done in slices behind the tick (respserver/upkeep.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from cluster.slots import key_slot
from lsmstore.compactor import Runner
from lsmstore.errors import DiskFull, StorageError
from lsmstore.store import Store
from respserver import commands as _commands  # noqa: F401 - fills the table
from respserver.busy import Busy
from respserver.call import FRAME_BYTES_MAX, Call
from respserver.checkpoints import Checkpoints
from respserver.clientlimits import ClientLimits
from respserver.clock import Clock
from respserver.errors import OUT_OF_MEMORY, ReplyError
from respserver.expiry import Expiry
from respserver.kernel import Kernel
from respserver.longreply import LongReply
from respserver.observers import Observers
from respserver.parking import Parking, null_array
from respserver.pump import Pump
from respserver.release import Releaser
from respserver.scan import Args
from respserver.scripting.scripts import Scripts
from respserver.session import Session
from respserver.settings import Config
from respserver.spec import commands_at
from respserver.stats import ServerStats
from respserver.sweeper import Sweeper
from respserver.upkeep import Upkeep
from respserver.verbs import Verbs
from respserver.version import level_of
from respserver.waiters import Parked, Waiters
from respserver.watchdog import Watchdog
from streams.blockcache import BlockCache
from streams.journal import Journal
from streams.keyrecords import KeyRecords
from streams.keyspace import Keyspace
from streams.replay import Replay
from streams.stream import Stream

# Shares of the memory budget.
MEMTABLE_SHARE = 4
CACHE_SHARE = 4
RESIDENT_SHARE = 4
MISCONF = b"MISCONF Errors writing to the AOF file: No space left on device"
FAILED = b"MISCONF Errors writing to the AOF file: "


class Skin(Protocol):
    """What the I/O shell does for the engine."""

    def call_soon(self, call: Callable[[], None], /) -> None:
        """Run ``call`` on the loop, after what is ready now."""

    def in_thread(
        self, work: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Run ``work`` on a thread, then ``done(result, error)`` on the loop."""

    def set_timer(self, deadline_ms: int | None) -> None:
        """Call ``Engine.on_timer`` once, at this monotonic time; None stops the timer."""

    def fatal(self, error: BaseException) -> None:
        """The node cannot go on: close everything and exit with a failure."""

    def shutdown(self) -> None:
        """Stop as on SIGTERM."""

    def serve_held_up(self, caller: Session) -> None:
        """Hand over what clients have sent while a command of ``caller`` holds the loop up."""

    def end_holdup(self) -> None:
        """The loop turns again."""

    def leave(self) -> None:
        """End the process as it stands, as if it were killed, but with success."""


class Engine:
    """One node."""

    def __init__(
        self,
        store: Store,
        config: Config,
        clock: Clock,
        skin: Skin,
        releaser: type[Releaser] = Releaser,
        runner: Runner | None = None,
    ) -> None:
        """``runner`` merges the files of the store; without one they are not merged."""
        self.store = store
        self.config = config
        self.clock = clock
        self.skin = skin
        self.sessions: dict[int, Session] = {}
        self.waiters = Waiters()
        self.parking = Parking(self)
        self.park = self.parking.park
        self.park_cold = self.parking.park_cold
        self.serve_ready = self.parking.serve_ready
        self.on_change = self.parking.on_change
        self.unblock = self.parking.unblock
        self.run_id = os.urandom(20).hex()
        self.port = config.port
        self.now_ms = clock.wall_ms()
        self.started_ms = self.now_ms
        self.last_save_ms = self.now_ms
        self.recovered = 0
        self.recovery_ms = 0
        self._stats = ServerStats()
        budget = config.memory_budget
        cache = BlockCache(budget // CACHE_SHARE)
        self.keyspace = Keyspace(store, config.databases, key_slot, cache, budget // RESIDENT_SHARE)
        self.journal = Journal(self.keyspace)
        self.key_records = KeyRecords(self.journal, self.keyspace)
        args = Args()
        self.verbs = Verbs(args, self.journal, self.keyspace, self.on_change, self._make_room)
        self.verbs.redis_level = level_of(config.redis_version)
        self.table = commands_at(self.verbs.redis_level)
        self.kernel = Kernel(self.table, self.verbs, args, self.journal, self, self._make_call)
        self._next_session_id = 1
        self._stalled: set[int] = set()
        self._timer_ms: int | None = None
        self.releaser = releaser(store, config, clock, skin, self._write, self._fail)
        self.expiry = Expiry(
            self.keyspace,
            self.journal,
            self.key_records,
            self.verbs,
            clock,
            self._stats,
            self.begin_tick,
            self._set_timer,
        )
        self.upkeep = Upkeep(
            self.keyspace,
            store,
            self.journal,
            self.expiry,
            clock,
            skin,
            self.begin_tick,
            self._log_room_changed,
            self._set_timer,
            self._fail,
            runner,
        )
        self.upkeep.memtable_limit_bytes = budget // MEMTABLE_SHARE
        self.sweeper = Sweeper(self.keyspace, self.journal, clock, self._make_room)
        self.observers = Observers(self)
        self.checkpoints = Checkpoints(self)
        self.scripts = Scripts(self)
        self.busy = Busy(self)
        self.watchdog = Watchdog(self)
        self.releaser.on_sync = self.watchdog.log_synced
        self.releaser.wake_by = self.wake_by
        self.limits = ClientLimits(config, self.sessions)
        self._pump = Pump(store, cache, self.kernel, skin, self.has_replies)
        self.failed = False
        self.settings_changed(frozenset())
        self.keyspace.on_change = self.on_change
        self.keyspace.on_database = self.parking.on_database

    # ── start and stop ───────────────────────────────────────────────────────────────────────────

    def recover(self, progress: Callable[[int], None] | None = None) -> None:
        """Apply what the log has beyond the last flush, and tell ``progress`` how many percent of
        the log have been read. Raises StorageError or RecordError.
        """
        began_ms = self.clock.monotonic_ms()
        replay = Replay(self.keyspace)
        replayed_bytes = 0
        for first_lsn, payload in self.store.replay():
            self.recovered += replay.apply(first_lsn, payload)
            replayed_bytes += len(payload)
            if progress is not None:
                progress(self.store.replayed_percent)
        self.journal.base_lsn = self.store.next_lsn - 1
        self.journal.dirty.extend(self.keyspace.dirty_sink)
        self.keyspace.dirty_sink.clear()
        self.journal.memtable_bytes = replayed_bytes
        self.verbs.log_room = self.store.log_room
        self.recovery_ms = self.clock.monotonic_ms() - began_ms
        self.expiry.start()

    def close(self, wait_for_threads: Callable[[], None]) -> None:
        """Commit and sync what is left, release replies, close the store.

        The threads come first: a flush that is being written must not meet the next process.
        """
        self.tick()
        if self.failed:
            return
        try:
            self.store.sync()
            self.releaser.release_held()
            self.upkeep.compacting.stop()
            wait_for_threads()
            self.store.close()
            self.failed = True  # what still comes in is not served
        except StorageError as error:
            self._fail(error)

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────

    def connect(self, addr: str, laddr: str, fd: int, transport: Any) -> Session:
        """A client connected."""
        session = Session(
            self._next_session_id, addr, laddr, fd, self.clock.wall_ms(), self, self.kernel.feed
        )
        self._next_session_id += 1
        session.transport = transport
        self.limits.connected(session)
        session.authenticated = self.config.requirepass == ""
        self.sessions[session.id] = session
        self._stats.total_connections_received += 1
        return session

    def disconnect(self, session: Session) -> None:
        """A client is gone."""
        session.closed = True
        if isinstance(session.blocked, Parked):
            self.parking.end(session.blocked)
        session.stream_reply = None
        self.observers.forget(session)
        self.sessions.pop(session.id, None)

    def reads(self, session: Session) -> bool:
        """Whether a client's socket is read."""
        return session.id not in self._stalled

    def kill(self, session: Session) -> None:
        """Close a client's connection once its replies are out."""
        session.close_after_reply = True
        self.has_replies(session)

    def has_replies(self, session: Session) -> None:
        """Release a client's replies with the tick."""
        if not session.queued:
            session.queued = True
            self.kernel.dirty.append(session)
        self.begin_tick()
        if session.paused and self.limits.is_reached(session, self.clock.monotonic_ms()):
            self._too_much_output(session)

    def query_limit_reached(self, session: Session) -> None:
        """A client sent more than it may without a command in it."""
        self._stats.client_query_buffer_limit_disconnections += 1
        session.closed = True  # nothing more of it is executed or answered
        session.transport.abort()

    def cross_protocol(self, session: Session) -> None:
        """A browser talks to us: close without an answer."""
        session.close_after_reply = True

    def socket_full(self, session: Session) -> None:
        """The client does not take its replies: execute nothing more of it."""
        session.paused = True
        if self.limits.is_reached(session, self.clock.monotonic_ms()):
            self._too_much_output(session)
        else:
            self._set_timer()

    def socket_drained(self, session: Session) -> None:
        """The client took its replies."""
        session.paused = False
        if session.stream_reply is not None and not self.failed:
            self._pump.go_on(session)
        if session.id in self._stalled:
            self.begin_tick()
        self.kernel.resume(session)

    def input_waits(self, session: Session) -> None:
        """Read nothing more of a client until its input is executed and flushes have caught up."""
        if session.closed or session.transport.is_closing():
            return
        if session.id not in self._stalled:
            session.transport.pause_reading()
            self._stalled.add(session.id)

    @property
    def stats(self) -> ServerStats:
        """What was counted so far."""
        self._stats.total_net_input_bytes = self.kernel.received_bytes
        self._stats.total_net_output_bytes = self.releaser.sent_bytes
        self._stats.total_commands_processed = sum(
            verb.calls + sum(inner.calls for inner in verb.subcommands.values())
            for verb in self.kernel.table.values()
        )
        return self._stats

    def count_error(self, line: bytes) -> None:
        """An error reply was sent."""
        self._stats.count_error(line)

    # ── the tick ─────────────────────────────────────────────────────────────────────────────────

    def begin_tick(self) -> None:
        """Read the clock once and ask for the tick that ends with a commit."""
        if self.kernel.ticking:
            return
        self.kernel.ticking = True
        self.now_ms = self.clock.wall_ms()
        self.verbs.now_ms = self.now_ms
        self.keyspace.now_ms = self.now_ms
        self.skin.call_soon(self.tick)

    def tick(self) -> None:
        """Serve the parked, commit one batch, release replies, move background work on."""
        if self.failed:
            return
        try:
            self.serve_ready()
            if self.sweeper.step():
                self._set_timer()
            self.observers.end_tick()
            self._commit()
            self.kernel.ticking = False
            dirty = self.kernel.take_dirty()
            self.releaser.release(dirty)
            self.upkeep.step()  # before anybody goes on: it may write what is in the log, no more
            if self.upkeep.note_stall():
                for session in dirty:
                    self.input_waits(session)
            for session in self.kernel.take_unfinished():
                self.kernel.resume(session)
            if self._stalled:
                self._wake_stalled()
        except StorageError as error:
            self._fail(error)

    def _wake_stalled(self) -> None:
        if self.upkeep.is_behind:
            return
        for session_id in list(self._stalled):
            session = self.sessions.get(session_id)
            if session is None:
                self._stalled.discard(session_id)
            elif self.kernel.may_run(session):
                self._stalled.discard(session_id)
                session.transport.resume_reading()

    def commit_early(self) -> None:
        """The batch of this tick has grown large: write a frame of it now."""
        try:
            self._commit()
        except StorageError as error:
            self._fail(error)

    def _commit(self) -> None:
        journal = self.journal
        if journal.count:
            self.observers.before_commit()
            self.store.commit(journal.log.view(), journal.count)
            journal.committed()
            self._log_room_changed()

    def commit_until(self, end: int, count: int) -> None:
        """Commit the first ``count`` records of the tick, ``end`` bytes, within the command that
        writes the others. Raises StorageError.
        """
        if count:
            promised = self.verbs.promised - end
            self.observers.before_commit(end)
            self.store.commit(self.journal.log.view()[:end], count)
            self.journal.committed_until(end, count)
            self._log_room_changed()
            self.verbs.promised = max(promised, 0)

    def fail(self, error: BaseException) -> None:
        """The storage failed: nobody is told anything any more."""
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.failed = True
        self.skin.fatal(error)

    def _refuse_and_fail(self, error: StorageError) -> ReplyError:
        """The storage failed within a command: nobody is told anything any more."""
        self._fail(error)
        return ReplyError(FAILED + str(error).encode())

    def _make_call(self, argv: list[bytes], session: Session) -> Call:
        return Call(argv, session, self)

    def _make_room(self, record_bytes: int, frees_space: bool) -> int:
        if self.upkeep.refuses_writes and not frees_space:
            raise ReplyError(MISCONF)
        if record_bytes > FRAME_BYTES_MAX:
            raise ReplyError(OUT_OF_MEMORY)
        try:
            self.store.make_room(record_bytes, frees_space=frees_space)
        except DiskFull:
            raise ReplyError(MISCONF) from None
        except StorageError as error:
            raise self._refuse_and_fail(error) from None
        return max(self.store.log_room, record_bytes)

    def _log_room_changed(self) -> None:
        self.verbs.log_room = 0 if self.upkeep.refuses_writes else self.store.log_room
        self.verbs.promised = 0

    def reserve(self, record_bytes: int, frees: bool) -> None:
        """Make sure that so many more bytes of records fit in the log (see ``Call.reserve``)."""
        self.verbs.reserve(self.kernel.cold_record_bytes() + record_bytes, frees)

    def _write(self, session: Session, data: bytes, is_last: bool, reply: LongReply | None) -> None:
        if session.closed or self.failed:
            return
        if data:
            session.write(data)
            self.releaser.sent_bytes += len(data)
        if is_last:
            session.transport.close()
        elif reply is not None:
            reply.begun = True
            self._pump.go_on(session)

    def _too_much_output(self, session: Session) -> None:
        self._stats.client_output_buffer_limit_disconnections += 1
        session.transport.abort()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def wake_by(self, deadline_ms: int) -> None:
        """Set the timer, if it would go off later than that (monotonic)."""
        if self._timer_ms is None or deadline_ms < self._timer_ms:
            self._set_timer()

    def _set_timer(self) -> None:
        deadlines = [
            self.waiters.next_deadline_ms(),
            self.waiters.next_due_ms(),
            self.releaser.next_sync_ms(),
            self.releaser.next_mark_ms(),
            self.limits.next_deadline_ms(),
            self.upkeep.next_deadline_ms(),
            self.sweeper.next_deadline_ms(),
            self.expiry.next_deadline_ms(),
            self.observers.holding.next_deadline_ms,
        ]
        known = [deadline for deadline in deadlines if deadline is not None]
        self._timer_ms = min(known) if known else None
        self.skin.set_timer(self._timer_ms)

    def on_timer(self) -> None:
        """The timer went off: end waits that are over, sync each second, close overdue clients."""
        if self.failed:
            return
        now_ms = self.clock.monotonic_ms()
        mark_ms = self.releaser.next_mark_ms()
        if mark_ms is not None and mark_ms <= now_ms:
            self._mark_log()  # first: what follows begins a tick
        for parked in self.waiters.expired(now_ms):
            self.parking.end_wait(parked, null_array(parked.session))
        if due := self.waiters.take_due(now_ms):
            self.parking.ready.update(dict.fromkeys(due))
            self.begin_tick()
        self.releaser.on_timer(now_ms)
        for session in self.limits.too_much_output(now_ms):
            self._too_much_output(session)
        for session in self.limits.silent(now_ms, self.clock.wall_ms()):
            session.transport.close()
        self.upkeep.on_timer(now_ms)
        self.expiry.on_timer()
        if self.sweeper.wants_tick():
            self.begin_tick()
        self.observers.on_timer(now_ms)
        self._set_timer()

    def _mark_log(self) -> None:
        """Mark the end of the log; within a tick records are counted on that it has no room for."""
        try:
            if self.releaser.mark(may=not self.kernel.ticking):
                self._log_room_changed()
        except StorageError as error:
            self._fail(error)

    def reset_timer(self) -> None:
        """Something ends sooner than what was known."""
        self._set_timer()

    # ── long replies ─────────────────────────────────────────────────────────────────────────────

    def begin_long_reply(self, session: Session, what: tuple[Stream, int, int, int, bool]) -> None:
        """A range reply is too long to be built at once."""
        stream, first, stop, count, reverse = what
        reply = LongReply(stream, first, stop, count, reverse)
        session.stream_reply = reply
        session.say(reply.header)

    # ── what commands ask ────────────────────────────────────────────────────────────────────────

    def flush_now(self) -> None:
        """Sync the log and begin to move the memtable into segments."""
        self.sync_now()
        self.last_save_ms = self.now_ms
        self.upkeep.ask_flush()

    def sync_now(self) -> None:
        """Make all that was executed durable; within a transaction the tick does."""
        if self.kernel.within:
            return
        try:
            self._commit()
            self.store.sync()
        except StorageError as error:
            raise self._refuse_and_fail(error) from None

    def reload(self, session: Session) -> None:
        """DEBUG RELOAD: everything to the disk, out of memory what may leave; then answer OK."""
        self.sync_now()
        answer = self.observers.delay(session, b"+OK\r\n", 0)

        def flushed() -> None:
            self.keyspace.let_go()
            self.observers.answer(answer)

        self.upkeep.ask_flush(flushed)

    def request_shutdown(self) -> None:
        """SHUTDOWN."""
        self.skin.shutdown()

    def settings_changed(self, _names: frozenset[str]) -> None:
        """Settings are in force from now on."""
        config = self.config
        self.verbs.node_max_bytes = config.stream_node_max_bytes
        self.verbs.node_max_entries = config.stream_node_max_entries
        self.journal.idmp_duration_s = config.stream_idmp_duration
        self.journal.idmp_maxsize = config.stream_idmp_maxsize
        self.kernel.query_limit_bytes = config.client_query_buffer_limit
        self.kernel.set_bulk_limit(config.proto_max_bulk_len)
        self.observers.settings_changed()
        self.watchdog.settings_changed()
        self.limits.settings_changed(self.clock.monotonic_ms())
        self._set_timer()

    @property
    def compaction_error(self) -> str:
        """Why the last merge that failed did; empty where none has."""
        return self.upkeep.compacting.last_error

    def stream_figures(self) -> dict[str, int]:
        """For INFO's section on streams."""
        streams = list(self.keyspace.by_sid.values())
        groups = [group for stream in streams for group in stream.groups.values()]
        figures = {
            "streams_resident": len(streams),
            "groups_resident": len(groups),
            "pending_entries": sum(group.pending.length for group in groups),
            "pending_bytes": sum(group.pending.bytes_used for group in groups),
            "memtable_bytes": self.journal.memtable_bytes,
            "memtable_flushes": self.upkeep.flushes,
            "write_stalls": self.upkeep.stalls,
            "write_stalls_ms": self.upkeep.stalled_ms,
            "checkpoint_failures": self.checkpoints.failures,
            "checkpoint_loop_us": self.checkpoints.last_us,
            "compaction_failures": self.upkeep.compacting.failures,
            "block_cache_bytes": self.keyspace.cache.held_bytes,
            "block_cache_loads": self.keyspace.cache.loads,
            "recovered_records": self.recovered,
            "recovery_ms": self.recovery_ms,
            "blocked_on_keys": self.waiters.count,
        }
        figures.update(self.store.stats())
        return figures
