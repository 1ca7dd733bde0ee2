"""XQ.INSPECT: what a stream is made of. How its frames are compressed is read on a thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lsmstore.anatomy import anatomy
from lsmstore.buf import Buf
from lsmstore.errors import StorageError
from respserver.errors import ReplyError
from respserver.replies import encode
from streams.description import describe

if TYPE_CHECKING:
    from respserver.engine import Engine
    from respserver.session import Session
    from streams.stream import Stream


def inspect(engine: Engine, session: Session, stream: Stream) -> None:
    """Describe a stream to a client, when what is read was read."""
    runs = list(stream.runs)  # they stay readable, whatever is merged meanwhile
    held = engine.observers.delay(session, b"", 0)

    def done(parts: Any, error: BaseException | None) -> None:
        reply: object
        if error is None:
            reply = _as_reply(describe(stream, parts))
        elif isinstance(error, StorageError):
            reply = ReplyError(b"ERR " + os.fsencode(str(error)))
            engine.count_error(reply.line)
        else:
            engine.fail(error)
            return
        engine.begin_tick()
        if not session.closed:
            encoded = Buf(1024)
            encode(reply, session.proto, encoded)
            held.reply = encoded.copy()
            engine.observers.answer(held)

    engine.skin.in_thread(lambda: anatomy(runs), done)


def _as_reply(value: object) -> object:
    """Plain data with bytes for text."""
    if isinstance(value, dict):
        return {name.encode(): _as_reply(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_reply(member) for member in value]
    return value.encode() if isinstance(value, str) else value
