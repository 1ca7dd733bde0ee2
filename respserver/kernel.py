"""From received bytes to replies: scan, look up, pass the gates, run.

Rules: the gates stand in ``execute`` in Redis' order, one line each: known command, arity,
authentication. A verb that is compiled and one that is a Python handler pass the same gates and
stand in the same table. Three failures are never mixed: a refusal (ReplyError) answers; malformed
input answers and closes; a failing store ends the server. Commands of one client run in order;
while it is blocked, paused or being sent a long reply, its input waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.string import memcmp
from cython.cimports.respserver.replies import encode
from cython.cimports.respserver.stopwatch import fine_ns

from lsmstore.errors import Corruption, InputOutputError
from respserver.call import COLD
from respserver.context import encode_command
from respserver.errors import (
    BUSY,
    NOAUTH,
    WRONGTYPE,
    ReplyError,
    unknown_command,
    unknown_subcommand,
    wrong_arity,
)
from respserver.scan import Args, split_inline
from respserver.session import Session
from respserver.spec import ALLOW_BUSY, NO_AUTH, NO_MULTI, READONLY, WRITE, CommandSpec
from respserver.stopwatch import Stopwatch, Times
from respserver.verbs import HOT, Verbs
from streams.journal import Journal
from streams.keyspace import WrongTypeError

BACKLOG_BYTES = cython.declare(cython.Py_ssize_t, 4 << 20)
COMMIT_BYTES = cython.declare(cython.Py_ssize_t, 1 << 20)
REPLY_BYTES = cython.declare(cython.Py_ssize_t, 1 << 18)
COLD_RECORD_BYTES = cython.declare(cython.Py_ssize_t, 4096)
COLD_ARGUMENT_BYTES = cython.declare(cython.Py_ssize_t, 96)

NO_MULTI_REFUSAL = b"ERR Command not allowed inside a transaction"
SUBSCRIBED_REFUSAL = (
    b"ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
    b"allowed in this context"
)

# These give space back and may draw on the log's reserve when the disk is full.
FREEING = frozenset(
    {
        b"xack",
        b"xackdel",
        b"xdel",
        b"xdelex",
        b"xtrim",
        b"del",
        b"unlink",
        b"getdel",
        b"flushdb",
        b"flushall",
        b"xgroup|destroy",
        b"xgroup|delconsumer",
    }
)
# These act on a transaction instead of being queued in it.
STEERING = frozenset({b"exec", b"discard", b"multi", b"watch", b"quit", b"reset"})
# What a client that has subscribed may send while it speaks RESP2.
OF_SUBSCRIBERS = frozenset(
    {
        b"subscribe",
        b"psubscribe",
        b"ssubscribe",
        b"unsubscribe",
        b"punsubscribe",
        b"sunsubscribe",
        b"ping",
        b"quit",
        b"reset",
    }
)
# Verbs that are timed together where they come one behind the other (respserver/stopwatch.py).
QUICK = frozenset({"XADD", "XACK", "XLEN", "PING"})
# A browser that was tricked into talking to this port says one of these first.
CROSS_PROTOCOL = frozenset({b"post", b"host:"})


@cython.final
@cython.cclass
class Verb:
    """A command as the kernel needs it."""

    def __init__(self, spec: CommandSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.arity = spec.arity
        self.writes = (spec.flags & WRITE) != 0
        self.frees = spec.name in FREEING
        self.open_to_all = (spec.flags & NO_AUTH) != 0
        self.no_multi = (spec.flags & NO_MULTI) != 0
        self.steers = spec.name in STEERING
        self.of_subscribers = spec.name in OF_SUBSCRIBERS
        self.allow_busy = (spec.flags & ALLOW_BUSY) != 0
        self.alone = spec.hot not in QUICK
        self.handler = spec.handler
        self.hot = 0 if spec.hot is None else HOT[spec.hot]
        self.subcommands = {word: Verb(sub) for word, sub in spec.subcommands.items()}
        self.times = Times()
        self.calls = 0
        self.rejected = 0
        self.failed = 0

    def reset_stats(self) -> None:
        """Count from nothing."""
        self.times.reset()
        self.calls = self.rejected = self.failed = 0


@cython.final
@cython.cclass
class Kernel:
    """Executes what clients send."""

    def __init__(
        self,
        table: dict[bytes, CommandSpec],
        verbs: Verbs,
        args: Args,
        journal: Journal,
        server: Any,
        make_call: Callable[[list[bytes], Session], Any],
    ) -> None:
        self.table = {name: Verb(spec) for name, spec in table.items()}
        self.verbs = verbs
        self.args = args
        self.journal = journal
        self.server = server
        self.make_call = make_call
        self.dirty = []
        self.unfinished = []
        self.ticking = False
        self.woken = False
        self.special = False
        self.holding = False
        self.within = False
        self.busy = False
        self.executing = None
        self.stopwatch = Stopwatch()
        self.argv = None
        self.query_limit_bytes = 1 << 30
        self.received_bytes = 0
        self.recent_name = None
        self.recent = None

    def feed(self, session: Session, data: bytes) -> None:
        """Bytes arrived from a client."""
        used: cython.Py_ssize_t
        n: cython.Py_ssize_t = PyBytes_GET_SIZE(data)
        if not self.ticking:
            self.server.begin_tick()
        session.last_interaction_ms = self.verbs.now_ms
        session.received_bytes += n
        self.received_bytes += n
        if session.inp.n == 0 and self.may_run(session):
            used = self.run(session, PyBytes_AS_STRING(data), n)
            self.stopwatch.close()
            if used < n and not session.close_after_reply:
                session.inp.put(PyBytes_AS_STRING(data) + used, n - used)
        else:
            session.inp.put(PyBytes_AS_STRING(data), n)
            self.resume(session)
            if session.inp.n > BACKLOG_BYTES and not self.may_run(session):
                self.server.input_waits(session)
        if session.inp.n > self.query_limit_bytes:
            self.server.query_limit_reached(session)

    def resume(self, session: Session) -> None:
        """Go on with input that has waited."""
        used: cython.Py_ssize_t
        if session.inp.n < session.wanted or not self.may_run(session):
            return
        if not self.ticking:
            self.server.begin_tick()
        outer = self.stopwatch.pause()
        used = self.run(session, session.inp.p, session.inp.n)
        self.stopwatch.close()
        if outer is not None:
            self.stopwatch.go_on(outer)
        session.inp.drop_front(used)
        if session.inp.n == 0:
            session.inp.clear()

    def may_run(self, session: Session) -> bool:
        """Whether commands of this client may be executed now."""
        return (
            session.blocked is None
            and session.stream_reply is None
            and not session.paused
            and not session.close_after_reply
            and not session.closed
        )

    def run(self, session, p, n):
        """Execute the commands in the ``n`` bytes at ``p``; returns how many bytes were used."""
        status: cython.int
        at: cython.Py_ssize_t = 0
        next_at: cython.Py_ssize_t
        args: Args = self.args
        session.wanted = 0
        while at < n:
            status = args.scan(p + at, n - at, session.authenticated)
            if status == SCAN_MORE:
                session.wanted = args.wanted
                return at
            if status == SCAN_ERROR:
                session.refuse(b"ERR Protocol error: " + args.error)
                session.close_after_reply = True
                self.queue(session)
                self.server.count_error(b"ERR")
                return n
            next_at = args.end - p
            if status == SCAN_EMPTY:
                at = next_at
                continue
            if status == SCAN_INLINE and not self.take_inline(session):
                at = next_at
                if session.close_after_reply:
                    return n
                continue
            at = next_at
            self.execute(session)
            self.queue(session)
            if self.woken:
                self.stopwatch.close()
                self.server.serve_ready()
            if self.journal.log.n > COMMIT_BYTES and not self.busy:
                self.stopwatch.close()
                self.server.commit_early()
            if not self.may_run(session):
                return at
            if session.out.n > REPLY_BYTES and at < n:
                self.unfinished.append(session)
                return at
        return at

    def take_inline(self, session):
        """Turn an inline line into arguments in wire form; False if there is no command in it."""
        words = split_inline(self.args.word(0))
        if words is None:
            session.refuse(b"ERR Protocol error: unbalanced quotes in request")
            session.close_after_reply = True
            self.queue(session)
            self.server.count_error(b"ERR")
            return False
        if not words:
            return False
        self.inline_wire = encode_command(words)
        self.args.scan(PyBytes_AS_STRING(self.inline_wire), len(self.inline_wire), True)
        return True

    def queue(self, session):
        """The client has replies that the tick must release."""
        if not session.queued:
            session.queued = True
            self.dirty.append(session)
        return 0

    def find_verb(self):
        """The command that the arguments call. Raises ReplyError: unknown, or wrong arity."""
        args: Args = self.args
        verb: Verb = self.recent
        inner: Verb
        if (
            verb is not None
            and PyBytes_GET_SIZE(self.recent_name) == args.n[0]
            and memcmp(PyBytes_AS_STRING(self.recent_name), args.p[0], args.n[0]) == 0
        ):
            pass
        else:
            verb = self.table.get(args.word(0).lower())
            if verb is None:
                raise unknown_command(args.words())
            self.recent = verb
            self.recent_name = args.word(0)
        if verb.subcommands and args.count > 1:
            inner = verb.subcommands.get(args.word(1).lower())
            if inner is None:
                raise unknown_subcommand(args.words())
            verb = inner
        if args.count != verb.arity if verb.arity >= 0 else args.count < -verb.arity:
            verb.rejected += 1
            raise wrong_arity(verb.name)
        return verb

    def execute(self, session):
        """Execute the command in ``args``: gates, then the verb."""
        found: Verb
        verb: Verb = None
        status: cython.int
        slow_ns: cython.longlong
        before: cython.Py_ssize_t = session.out.n
        special: cython.bint = session.special or self.special
        try:
            found = self.find_verb()
            if not session.authenticated and not found.open_to_all:
                found.rejected += 1
                raise ReplyError(NOAUTH)
            if special and self.detour(found, session):
                status = VERB_DONE
            else:
                verb = found
                verb.calls += 1
                session.total_commands += 1
                session.last_command = verb
                self.stopwatch.begin(verb.times)
                status = self.attend(verb, session) if special else self.perform(verb, session)
        except ReplyError as refusal:
            status = VERB_DONE
            self.refuse(session, verb, before, refusal.line)
        except WrongTypeError:
            status = VERB_DONE
            self.refuse(session, verb, before, WRONGTYPE)
        except (Corruption, InputOutputError) as unreadable:
            status = VERB_DONE
            self.refuse(session, verb, before, b"ERR cannot read data: " + str(unreadable).encode())
        if verb is not None:
            slow_ns = self.stopwatch.passed(verb.alone)
            if slow_ns >= 0:
                self.tell_slow(verb, session, slow_ns)
            self.argv = None
        if special or session.special:
            self.server.observers.after(session, before)
        if status == VERB_DONE:
            return 0
        if status == VERB_BLOCK:
            self.server.park(session)
        elif status == VERB_COLD:
            self.server.park_cold(session, self.verbs.retry, self.verbs.missing)
        else:
            self.server.begin_long_reply(session, self.verbs.long_reply)
        return 0

    def detour(self, verb, session):
        """The gates of a special client or time; whether the command is not to run now."""
        if session.multi is not None and verb.no_multi:
            verb.rejected += 1
            raise ReplyError(NO_MULTI_REFUSAL)
        if session.subscriptions is not None and session.proto == 2 and not verb.of_subscribers:
            verb.rejected += 1
            raise ReplyError(SUBSCRIBED_REFUSAL % verb.name)
        if session.monitoring and (verb.writes or verb.spec.flags & READONLY):
            verb.rejected += 1
            raise ReplyError(b"ERR Replica can't interact with the keyspace")
        if self.busy and not verb.allow_busy:
            verb.rejected += 1
            raise ReplyError(BUSY)
        if self.holding and self.server.observers.holds(verb, session):
            return True
        if session.multi is not None and not verb.steers:
            return self.queue_command(verb, session)
        self.executing = session
        return False

    def queue_command(self, verb, session):
        """Keep a command for EXEC."""
        args: Args = self.args
        wire: bytes = args.wire()
        session.last_command = verb
        record_bytes: cython.Py_ssize_t = 0
        if verb.writes:
            record_bytes = self.cold_record_bytes()
            if verb.hot:
                record_bytes -= COLD_RECORD_BYTES - COLD_ARGUMENT_BYTES
        if session.multi.queue(wire, record_bytes, verb.frees) > self.query_limit_bytes:
            self.server.query_limit_reached(session)
        session.out.put(b"+QUEUED\r\n", 9)
        return True

    def attend(self, verb, session):
        """Perform a command before the eyes of whoever looks on."""
        if self.special or session.tracking is not None:
            return self.server.observers.perform(verb, session)
        return self.perform(verb, session)

    def wire(self) -> bytes:
        """The command in ``args``, in wire form."""
        return self.args.wire()

    def execute_held(self, session: Session, wire: bytes) -> None:
        """Execute a command that was held back, then what came behind it."""
        if not self.ticking:
            self.server.begin_tick()
        self.args.scan(PyBytes_AS_STRING(wire), len(wire), True)
        self.execute(session)
        self.stopwatch.close()
        self.queue(session)
        if self.woken:
            self.server.serve_ready()
        self.resume(session)

    def words(self) -> list[bytes]:
        """The words of the command in ``args``."""
        return self.args.words()

    def run_verb(self, verb: Verb, session: Session) -> int:
        """Perform the command in ``args``; its status."""
        return cython.cast(cython.int, self.perform(verb, session))

    def run_within(self, session: Session, wires: list[bytes]) -> None:
        """Execute commands within another: they do not wait, and errors are replies like others."""
        wire: bytes
        verb: Verb
        began_ns: cython.longlong = fine_ns()
        ns: cython.longlong
        outer: tuple = (self.within, self.verbs.may_park)
        self.within = True
        self.verbs.may_park = False
        try:
            for wire in wires:
                self.args.scan(PyBytes_AS_STRING(wire), len(wire), True)
                verb = self.run_one_within(session)
                if verb is not None:
                    ns = -began_ns
                    began_ns = self.stopwatch.lap(verb.times, 1, began_ns)
                    ns += began_ns
                    if 0 <= self.stopwatch.slow_ns <= ns:
                        self.tell_slow(verb, session, ns)
        finally:
            self.within, self.verbs.may_park = outer

    def run_one_within(self, session: Session) -> Verb | None:
        """Execute the command in ``args`` within another; which it was."""
        verb: Verb = None
        status: cython.int
        before: cython.Py_ssize_t = session.out.n
        try:
            verb = self.find_verb()
            verb.calls += 1
            session.total_commands += 1
            status = self.attend(verb, session)
            if status == VERB_BLOCK:  # as if its time were over at once
                self.verbs.put_null_array(session)
        except ReplyError as refusal:
            self.refuse(session, verb, before, refusal.line)
        except WrongTypeError:
            self.refuse(session, verb, before, WRONGTYPE)
        except (Corruption, InputOutputError) as unreadable:
            self.refuse(session, verb, before, b"ERR cannot read data: " + str(unreadable).encode())
        return verb

    def refuse(
        self, session: Session, verb: Verb | None, before: cython.Py_ssize_t, line: bytes
    ) -> None:
        """Answer with a refusal; whatever of a reply was begun is taken back."""
        session.out.n = before
        if verb is None:
            if session.multi is not None:
                session.multi.failed = True
            if self.args.word(0).lower() == b"exec":
                line = self.server.observers.abort_exec(session, line)
            elif self.args.word(0).lower() in CROSS_PROTOCOL:
                self.server.cross_protocol(session)
                return
        else:
            verb.failed += 1
        session.refuse(line)
        self.server.count_error(line)

    def perform(self, verb, session):
        """Run a verb or a handler."""
        self.argv = None
        if verb.hot:
            return self.verbs.run(verb.hot, session)
        if verb.writes:
            self.verbs.reserve(self.cold_record_bytes(), verb.frees)
        return self.call_handler(verb, session)

    def cold_record_bytes(self) -> cython.Py_ssize_t:
        """The most that a Python handler logs: at most a row an argument."""
        i: cython.Py_ssize_t
        n: cython.Py_ssize_t = COLD_RECORD_BYTES
        for i in range(self.args.count):
            n += self.args.n[i] + COLD_ARGUMENT_BYTES
        return n

    def call_handler(self, verb, session):
        """Run a Python handler and encode what it returns."""
        words: list = self.args.words()
        try:
            value = verb.handler(self.make_call(words, session))
        finally:
            self.argv = words
        if value is COLD:
            return VERB_COLD
        encode(value, session.proto, session.out)
        return VERB_DONE

    def tell_slow(self, verb, session, ns):
        """The command that was just executed was slow."""
        argv = self.args.words() if self.argv is None else self.argv
        self.server.watchdog.slow(verb, session, argv, ns)
        return 0

    def step_aside(self) -> object:
        """Commands of others are executed within one that goes on later; what is to come back."""
        held = (self.within, self.woken, self.executing, self.dirty, self.unfinished,
                self.verbs.may_park, self.argv, self.stopwatch)  # fmt: skip
        self.within = self.woken = False
        self.executing = None
        self.dirty = []
        self.unfinished = []
        self.verbs.may_park = True
        self.stopwatch = Stopwatch()
        return held

    def come_back(self, held: Any) -> None:
        """Go on with the command that stepped aside."""
        late: list = self.dirty
        unfinished: list = self.unfinished
        (self.within, self.woken, self.executing, self.dirty, self.unfinished,
         self.verbs.may_park, self.argv, self.stopwatch) = held  # fmt: skip
        self.dirty += late
        self.unfinished += unfinished

    def retry(self, session: Session, wire: bytes, in_place: bool) -> bool:
        """Run a parked command again; False if it waits on. ``in_place``: read cold blocks now."""
        status: cython.int
        verb: Verb = None
        before: cython.Py_ssize_t = session.out.n
        special: cython.bint = session.special or self.special
        began_ns: cython.longlong = fine_ns()
        self.args.scan(PyBytes_AS_STRING(wire), len(wire), True)
        self.verbs.may_park = not in_place
        try:
            verb = self.find_verb()
            if special:
                self.executing = session
                status = self.attend(verb, session)
            else:
                status = self.perform(verb, session)
        except ReplyError as refusal:
            status = VERB_DONE
            self.refuse(session, verb, before, refusal.line)
        except WrongTypeError:
            status = VERB_DONE
            self.refuse(session, verb, before, WRONGTYPE)
        except (Corruption, InputOutputError) as unreadable:
            status = VERB_DONE
            self.refuse(session, verb, before, b"ERR cannot read data: " + str(unreadable).encode())
        finally:
            self.verbs.may_park = True
        if verb is not None:
            self.stopwatch.lap(verb.times, 0, began_ns)
        if special:
            self.server.observers.after(session, before)
        if status == VERB_DONE:
            self.queue(session)
            return True
        if status == VERB_COLD:
            self.server.park_cold(session, wire, self.verbs.missing)
        elif status == VERB_STREAM:
            self.server.begin_long_reply(session, self.verbs.long_reply)
            self.queue(session)
            return True
        return False

    def set_bulk_limit(self, limit_bytes: int) -> None:
        """proto-max-bulk-len."""
        self.args.max_bulk_bytes = limit_bytes

    def take_dirty(self) -> list[Session]:
        """The clients with replies to release."""
        taken = self.dirty
        self.dirty = []
        return taken

    def take_unfinished(self) -> list[Session]:
        """The clients that were cut short because their replies grew long."""
        taken = self.unfinished
        self.unfinished = []
        return taken
