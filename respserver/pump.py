"""Sends long replies (respserver/longreply.py), each as its socket drains and its blocks are read.

Rules: what cannot be read any more ends the connection, since the number of entries is already
sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lsmstore.block import Block, Run
from lsmstore.errors import Corruption, InputOutputError
from lsmstore.store import Store
from respserver.kernel import Kernel
from respserver.longreply import LongReply
from respserver.release import Threads
from respserver.session import Session
from streams.blockcache import BlockCache


class Loop(Threads, Protocol):
    """Where input that waited behind a long reply is taken up again."""

    def call_soon(self, call: Callable[[], None], /) -> None:
        """Run ``call`` on the loop, after what is ready now."""


class Pump:
    """Sends long replies, each as fast as its socket takes it and its blocks are read."""

    def __init__(
        self,
        store: Store,
        cache: BlockCache,
        kernel: Kernel,
        loop: Loop,
        has_replies: Callable[[Session], None],
    ) -> None:
        self._store = store
        self._cache = cache
        self._kernel = kernel
        self._loop = loop
        self._has_replies = has_replies

    def go_on(self, session: Session) -> None:
        """Send more of a client's long reply, as much as the socket takes."""
        reply = session.stream_reply
        if not isinstance(reply, LongReply) or not reply.begun or session.closed:
            return
        while not reply.done and not session.paused:
            cold = reply.cold()
            if cold:
                self._load(session, reply, cold)
                return
            try:
                piece = reply.piece()
            except (Corruption, InputOutputError):
                session.transport.abort()
                return
            session.write(piece)
        if reply.done:
            session.stream_reply = None
            if session.put_pushes():
                self._has_replies(session)
            self._loop.call_soon(lambda: self._kernel.resume(session))

    def _load(self, session: Session, reply: LongReply, cold: list[tuple[Run, int]]) -> None:
        store = self._store

        def read() -> list[Block]:
            return [store.read_block(run, index) for run, index in cold]

        def done(blocks: list[Block] | None, error: BaseException | None) -> None:
            if error is not None or blocks is None:
                session.transport.abort()
                return
            self._cache.keep(cold, blocks)
            if session.stream_reply is reply:
                self.go_on(session)
            self._cache.make_room()

        self._loop.in_thread(read, done)
