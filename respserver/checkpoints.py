"""XQ.CHECKPOINT: a copy of the store, made while the server goes on.

Rules: the memtable is flushed first, so that a checkpoint is opened quickly; writing it is a
thread's work (lsmstore/checkpoint.py). The client is answered when all of it is durable. One is
made at a time. One that fails is an error for its client and nothing else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lsmstore.buf import Buf
from lsmstore.checkpoint import Checkpoint, Refused, checkpoint_path
from lsmstore.errors import DiskFull, StorageError
from respserver.errors import ReplyError
from respserver.replies import encode

if TYPE_CHECKING:
    from respserver.engine import Engine
    from respserver.pause import Held
    from respserver.session import Session

UNDER_WAY = b"ERR a checkpoint is being made already"


class Checkpoints:
    """Makes checkpoints, one at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._under_way = False
        self.made = 0
        self.failures = 0
        self.last_us = 0
        """For how long the last one has held the loop up."""

    def begin(self, session: Session, name: bytes) -> None:
        """Make one in the directory ``name`` and answer the client then. Raises ReplyError."""
        engine = self._engine
        if self._under_way:
            raise ReplyError(UNDER_WAY)
        try:
            path = checkpoint_path(engine.store.fs, engine.store.path, os.fsdecode(name))
        except Refused as error:
            raise _refusal(error) from None
        self._under_way = True
        held = engine.observers.delay(session, b"", 0)

        def flushed() -> None:
            self._write(held, path)

        def refused(error: DiskFull) -> None:
            self._end(held, _refusal(error))

        engine.upkeep.ask_flush(flushed, refused)

    def _write(self, held: Held, path: str) -> None:
        engine = self._engine
        began_s = engine.clock.perf_s()
        try:
            checkpoint = engine.store.begin_checkpoint(path)
        except StorageError as error:
            self._end(held, _refusal(error))
            return
        self.last_us = int((engine.clock.perf_s() - began_s) * 1e6)

        def done(_result: Any, error: BaseException | None) -> None:
            checkpoint.end()
            engine.begin_tick()
            if error is None:
                self.made += 1
                self._end(held, _told(checkpoint))
            elif isinstance(error, StorageError):
                self._end(held, _refusal(error))
            else:
                engine.fail(error)

        engine.skin.in_thread(checkpoint.write, done)

    def _end(self, held: Held, reply: dict[bytes, object] | ReplyError) -> None:
        """Answer the client; it may be gone."""
        self._under_way = False
        if isinstance(reply, ReplyError):
            self.failures += 1
            self._engine.count_error(reply.line)
        if held.session.closed:
            return
        encoded = Buf(256)
        encode(reply, held.session.proto, encoded)
        held.reply = encoded.copy()
        self._engine.observers.answer(held)


def _told(checkpoint: Checkpoint) -> dict[bytes, object]:
    return {
        b"path": os.fsencode(checkpoint.path),
        b"lsn": checkpoint.lsn,
        b"files-linked": checkpoint.linked,
        b"files-copied": checkpoint.copied,
        b"bytes-linked": checkpoint.bytes_linked,
        b"bytes-written": checkpoint.bytes_written,
    }


def _refusal(error: StorageError) -> ReplyError:
    return ReplyError(b"ERR the checkpoint was not made: " + os.fsencode(str(error)))
