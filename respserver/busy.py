"""A script runs for longer than it should: other clients are answered, most of them with BUSY.

Rules: the command whose script it is stays one. What was executed before it in the same tick is
committed and answered first; of itself nothing is committed before it is over, nobody who waits is
served and no timer goes off. What others are told meanwhile (refusals, mostly) depends on nothing
that the script has done, and leaves at once. The gate itself stands in the kernel, beside the
others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lsmstore.errors import StorageError
from respserver.errors import BUSY, ReplyError

if TYPE_CHECKING:
    from respserver.engine import Engine
    from respserver.session import Session


class Busy:
    """Lets others be answered within a command."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._caller: Session | None = None
        self._before = (0, 0)

    @contextmanager
    def command(self, caller: Session) -> Iterator[None]:
        """A command runs that may take long, for a client; within it there may be others."""
        if self._caller is not None:
            yield
            return
        journal = self._engine.journal
        self._before = (journal.log.length, journal.count)
        self._caller = caller
        try:
            yield
        finally:
            self._caller = None
            if self._engine.kernel.busy:
                self._end()

    def serve(self) -> bool:
        """Answer what has come from others; False where the storage has failed."""
        engine, kernel = self._engine, self._engine.kernel
        assert self._caller is not None
        try:
            if not kernel.busy:
                self._begin(self._caller)
            held = kernel.step_aside()
            try:
                engine.skin.serve_held_up(self._caller)
                engine.releaser.release(kernel.take_dirty())
            finally:
                kernel.come_back(held)
        except StorageError as error:
            engine.fail(error)
        return not engine.failed

    def _begin(self, caller: Session) -> None:
        """Have done with what came before the command, as the end of the tick does."""
        engine, kernel = self._engine, self._engine.kernel
        engine.commit_until(*self._before)
        dirty = kernel.take_dirty()
        engine.releaser.release_within([session for session in dirty if session is not caller])
        kernel.dirty.extend(session for session in dirty if session is caller)
        kernel.busy = True
        engine.observers.settle()

    def _end(self) -> None:
        self._engine.kernel.busy = False
        self._engine.observers.settle()
        self._engine.skin.end_holdup()

    def shutdown(self) -> None:
        """SHUTDOWN NOSAVE: the script goes with the process, and what it has done as well."""
        self._engine.store.sync()
        self._engine.skin.leave()

    def refuse(self) -> None:
        """Refuse a command that may be called now, but not so."""
        if self._engine.kernel.busy:
            raise ReplyError(BUSY)
