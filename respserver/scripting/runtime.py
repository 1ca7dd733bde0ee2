"""One Lua state for all scripts: compiles and runs them, and lets them call commands.

Rules: a script is one command: one time, one batch, no waiting. Its commands run in a session of
its own, with the database and protocol it chooses. It ends when it asks for more memory than
``LUA_BYTES_MAX``, and when it is killed, which it may be while it has written nothing: what is half
done cannot be taken back. From its time limit on it lets other clients be answered
(respserver/busy.py). No Python object is a value that a script can hold: callbacks answer with
plain values, and the exception of redis.call is replaced where a script could catch it.

Lua has no way out of a full memory while Python hands it a value, so the limit is lifted for that;
if Lua has too much then, the limit stays lifted until the script has ended by it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lupa import lua51

from respserver.context import encode_command
from respserver.errors import ReplyError
from respserver.scripting.convert import Get, Reader, argument, flatten, out_of_lua
from respserver.scripting.libraries import Libraries
from respserver.scripting.prelude import PRELUDE
from respserver.session import Session
from respserver.spec import NOSCRIPT, WRITE

if TYPE_CHECKING:
    from respserver.engine import Engine

LUA_BYTES_MAX = 64 << 20
LUA_BYTES_SPARE = 1 << 20
INSTRUCTIONS = 20_000
NO_MEMORY = b"ERR not enough memory script: "
KILLED = b"ERR Script killed by user with SCRIPT KILL..."
LEVELS = (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING)


class ScriptError(Exception):
    """redis.call met an error; what it is stands in the runtime."""


class Runtime:
    """Lua, and what it needs of the node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lua = lua51.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_refuse_attributes,
            max_memory=LUA_BYTES_MAX,
        )
        self.session = Session(0, "lua", "", -1, 0, engine, engine.kernel.feed)
        self._read_only = False
        self._began_s = 0.0
        self._limit_s = 0.0
        self._error = b""
        self.running = False
        self.has_written = False
        """Whether the script has called a command that writes."""
        self.killed = False
        libraries = Libraries(self)
        self._functions = libraries.functions
        limit = self.make(
            {
                b"version": engine.config.redis_version.encode(),
                b"level": engine.verbs.redis_level,
                b"instructions": INSTRUCTIONS,
            }
        )
        load = self._lua.eval(b"function(text, ...) return loadstring(text, '=prelude')(...) end")
        self._api = load(
            PRELUDE.encode(),
            self._call,
            self._call_or_raise,
            self._take_error,
            self._log,
            _sha1,
            self._library,
            self._tick,
            limit,
        )
        self.null = self._api[b"null"]
        self._rawget = self._api[b"rawget"]
        self._run = self._api[b"run"]
        self._compile = self._api[b"compile"]

    # ── tables ───────────────────────────────────────────────────────────────────────────────────

    def make(self, pairs: dict[Any, Any]) -> Any:
        """A Lua table."""
        return self._lua.table_from(pairs)

    def is_table(self, value: Any) -> bool:
        """Whether a value is one."""
        return bool(lua51.lua_type(value) == "table")

    def is_null(self, value: Any) -> bool:
        """Whether a value is cjson.null."""
        return bool(lua51.lua_type(value) == "userdata")

    @property
    def memory_bytes(self) -> int:
        """What Lua uses."""
        return int(self._lua.get_memory_used() or 0)

    def _hand(self, make: Callable[[], Any]) -> Any:
        """What ``make`` makes, for Lua. Raises MemoryError if Lua has too much then."""
        self._lua.set_max_memory(0)
        value = make()
        try:
            self._insist_on_room(len(value) if isinstance(value, bytes) else 0)
        except MemoryError:
            value = None  # else the error would keep it
            raise
        self._lua.set_max_memory(LUA_BYTES_MAX)
        return value

    def _insist_on_room(self, wanted: int) -> None:
        most = LUA_BYTES_MAX - LUA_BYTES_SPARE - wanted
        if self.memory_bytes > most:
            self._lua.gccollect()
            if self.memory_bytes > most:
                raise MemoryError

    def _limit_again(self) -> None:
        """No script runs, and Lua has what scripts left behind."""
        if self.memory_bytes > LUA_BYTES_MAX - LUA_BYTES_SPARE:
            self._lua.gccollect()
        self._lua.set_max_memory(LUA_BYTES_MAX)

    # ── scripts ──────────────────────────────────────────────────────────────────────────────────

    def compile(self, body: bytes) -> Any:
        """A script as a function. Raises ReplyError."""
        try:
            self._insist_on_room(len(body))
        except MemoryError:
            raise ReplyError(
                b"ERR Error compiling script (new function): not enough memory"
            ) from None
        made = self._compile(body)
        function, why = made if isinstance(made, tuple) else (made, None)
        if function is None:
            raise ReplyError(
                b"ERR Error compiling script (new function): " + (why or b"").split(b"\0")[0]
            )
        return function

    def run(
        self,
        function: Any,
        sha: bytes,
        words: tuple[list[bytes], list[bytes]],
        caller: Session,
        read_only: bool,
    ) -> object:
        """Run a script with its keys and arguments; its reply. Raises ReplyError."""
        session = self.session
        session.db, session.proto = caller.db, 2
        session.tracking = caller.tracking
        session.authenticated = True
        self._read_only = read_only
        self.has_written = self.killed = False
        self.running = True
        self._began_s = self._engine.clock.perf_s()
        self._limit_s = self._engine.config.busy_reply_threshold / 1000
        try:
            keys, argv = self._hand(lambda: [self.make(dict(enumerate(part, 1))) for part in words])
            with self._engine.busy.command(caller):
                result = self._run(function, keys, argv)
        except (lua51.LuaMemoryError, MemoryError):
            raise ReplyError(NO_MEMORY + sha) from None
        except lua51.LuaError as error:
            raise ReplyError(b"ERR " + str(error).encode()) from None
        finally:
            session.tracking = None
            self.running = False
            self._limit_again()
        ok, value = (*result, None)[:2] if isinstance(result, tuple) else (result, None)
        if not ok:
            raise ReplyError(_described(value, sha, self._rawget))
        reply = out_of_lua(value, self.is_table, self._rawget, session.proto)
        return flatten(reply, caller.proto)

    # ── what Lua calls ───────────────────────────────────────────────────────────────────────────

    def _call(self, *args: Any) -> Any:
        """redis.call: the reply as a Lua value; an error as a table with ``err``."""
        if len(args) == 2 and args[1] == b"\0setresp" and args[0] in (2, 3):
            self.session.proto = int(args[0])
            return None
        try:
            words = self._checked(args)
        except ReplyError as refusal:
            return self.make({b"err": refusal.line})
        session, engine = self.session, self._engine
        engine.kernel.run_within(session, [encode_command(words)])
        session.pushes.clear()
        return self._hand(Reader(session.take_output(), self.make).value)

    def _call_or_raise(self, *args: Any) -> Any:
        """The same; an error ends the script, or what it protects with pcall."""
        reply = self._call(*args)
        if self.is_table(reply) and isinstance(line := reply[b"err"], bytes):
            self._error = line
            raise ScriptError
        return reply

    def _take_error(self) -> bytes:
        """The error that redis.call has just met; empty if there was none."""
        line, self._error = self._error, b""
        return line

    def _checked(self, args: tuple[Any, ...]) -> list[bytes]:
        """The words of a command that a script may call. Raises ReplyError."""
        if not args:
            raise ReplyError(b"ERR Please specify at least one argument for this redis lib call")
        words = [argument(value) for value in args]
        if any(word is None for word in words):
            raise ReplyError(b"ERR Lua redis lib command arguments must be strings or integers")
        found = [word for word in words if word is not None]
        verb = self._engine.kernel.table.get(found[0].lower())
        if verb is not None and verb.subcommands and len(found) > 1:
            verb = verb.subcommands.get(found[1].lower())
        if verb is None:
            raise ReplyError(b"ERR Unknown Redis command called from script")
        if not verb.spec.takes(len(found)):
            raise ReplyError(b"ERR Wrong number of args calling Redis command from script")
        if verb.spec.flags & NOSCRIPT:
            raise ReplyError(b"ERR This Redis command is not allowed from script")
        if self._read_only and verb.spec.flags & WRITE:
            raise ReplyError(b"ERR Write commands are not allowed from read-only scripts.")
        if verb.spec.flags & WRITE:
            self.has_written = True
        return found

    def _tick(self) -> Any:
        """Every so many instructions: the error with which the script ends, or None."""
        ran_s = self._engine.clock.perf_s() - self._began_s
        if 0 < self._limit_s <= ran_s and not self.killed:
            self.killed = not self._engine.busy.serve() or self.killed
        return self.make({b"err": KILLED}) if self.killed else None

    def _library(self, name: bytes, *args: Any) -> Any:
        """A function of a library: whether it worked, and its results or the error."""
        self._lua.set_max_memory(0)
        try:
            found = self._functions[name](*args)
        except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
            self._lua.set_max_memory(LUA_BYTES_MAX)
            return False, str(error).encode()
        return True, self._hand(lambda: self._results(found))

    def _results(self, found: list[Any]) -> Any:
        table = self.make({at: value for at, value in enumerate(found, 1) if value is not None})
        table[b"n"] = len(found)
        return table

    def _log(self, level: int, text: bytes) -> None:
        shown = text.decode("utf-8", "replace")
        logging.getLogger("respq.script").log(LEVELS[int(level)], "%s", shown)


def _sha1(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def _refuse_attributes(_object: object, _name: object, _setting: bool) -> object:
    raise AttributeError("scripts do not look into Python")


def _described(value: Any, sha: bytes, get: Get) -> bytes:
    """The error line of a script that failed."""
    if isinstance(value, bytes):  # Lua had no memory left to say more
        return b"ERR " + value
    message = get(value, b"err")
    if not isinstance(message, bytes):
        message = b"ERR unknown error"
    source, line = get(value, b"source"), get(value, b"line")
    if isinstance(source, bytes) and isinstance(line, int):
        return message + b" script: %b, on %b:%d." % (sha, source, line)
    return message
