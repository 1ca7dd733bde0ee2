"""The scripts that are known by their SHA1, and running them.

Rules: Lua is loaded with the first script. Scripts are a cache: a restart forgets them, and of
those that came with EVAL alone the ``EVAL_SCRIPTS_MAX`` used last are known, as in Redis. The first
line ``#!lua`` may carry flags, as in Redis; ``no-writes`` refuses commands that write.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NoReturn

from respserver.errors import BUSY, ReplyError
from respserver.session import Session

if TYPE_CHECKING:
    from respserver.engine import Engine
    from respserver.scripting.runtime import Runtime

NOT_BUSY = b"NOTBUSY No scripts in execution right now."
UNKILLABLE = (
    b"UNKILLABLE Sorry the script already executed write commands against the dataset. You can "
    b"either wait the script termination or kill the server in a hard way using the SHUTDOWN "
    b"NOSAVE command."
)
FLAGS = frozenset({b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster",
                   b"allow-cross-slot-keys"})  # fmt: skip


EVAL_SCRIPTS_MAX = 500


class Scripts:
    """All scripts of one node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._runtime: Runtime | None = None
        self._compiled: dict[bytes, tuple[Any, bool]] = {}
        self.bodies: dict[bytes, bytes] = {}
        self._passing: dict[bytes, None] = {}
        """Those that came with EVAL alone, the one used last at the end."""

    @property
    def memory_bytes(self) -> int:
        """What Lua uses; 0 before the first script."""
        return 0 if self._runtime is None else self._runtime.memory_bytes

    def keep(self, body: bytes) -> bytes:
        """SCRIPT LOAD: a script that stays until all are flushed; its SHA1. Raises ReplyError."""
        sha = self.load(body)
        self._passing.pop(sha, None)
        return sha

    def load(self, body: bytes) -> bytes:
        """EVAL: compile a script unless it is known; its SHA1. Raises ReplyError."""
        sha = hashlib.sha1(body, usedforsecurity=False).hexdigest().encode()
        if sha not in self._compiled:
            code, flags = read_shebang(body)
            self._compiled[sha] = (self._lua().compile(code), b"no-writes" in flags)
            self.bodies[sha] = body
            self._passing[sha] = None
            if len(self._passing) > EVAL_SCRIPTS_MAX:
                oldest = next(iter(self._passing))
                for known in (self._passing, self._compiled, self.bodies):
                    known.pop(oldest)
        elif sha in self._passing:
            self._passing[sha] = self._passing.pop(sha)
        return sha

    def kill(self) -> None:
        """End the script that runs. Raises ReplyError where it has written, or none runs."""
        self._killable().killed = True

    def refuse_kill(self) -> NoReturn:
        """Refuse to end it as a function. Raises ReplyError."""
        self._killable()
        raise ReplyError(BUSY)

    def _killable(self) -> Runtime:
        runtime = self._runtime
        if runtime is None or not runtime.running:
            raise ReplyError(NOT_BUSY)
        if runtime.has_written:
            raise ReplyError(UNKILLABLE)
        return runtime

    def flush(self) -> None:
        """Forget all scripts, and the state of Lua with them."""
        self._compiled.clear()
        self.bodies.clear()
        self._passing.clear()
        self._runtime = None

    def run(
        self, sha: bytes, words: tuple[list[bytes], list[bytes]], caller: Session, read_only: bool
    ) -> object:
        """Run a script that is kept, with keys and arguments; its reply. Raises ReplyError."""
        function, never_writes = self._compiled[sha]
        return self._lua().run(function, sha, words, caller, read_only or never_writes)

    def _lua(self) -> Runtime:
        if self._runtime is None:
            from respserver.scripting.runtime import Runtime

            self._runtime = Runtime(self._engine)
        return self._runtime


def read_shebang(body: bytes) -> tuple[bytes, set[bytes]]:
    """The code of a script (the line of the shebang left empty), and its flags."""
    if not body.startswith(b"#!"):
        return body, set()
    line, newline, rest = body.partition(b"\n")
    if not newline:
        raise ReplyError(b"ERR Invalid script shebang")
    engine, *options = line.split() or [b""]
    if engine != b"#!lua":
        raise ReplyError(b"ERR Unexpected engine in script shebang: " + engine)
    flags: set[bytes] = set()
    for option in options:
        name, equals, value = option.partition(b"=")
        if name != b"flags" or not equals:
            raise ReplyError(b"ERR Unknown lua shebang option: " + option)
        for flag in value.split(b","):
            if flag and flag not in FLAGS:
                raise ReplyError(b"ERR Unexpected flag in script shebang: " + flag)
            flags.add(flag)
    return newline + rest, flags
