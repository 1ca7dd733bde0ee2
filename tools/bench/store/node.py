"""A node without its sockets, on a real directory: what the server does, for entries at hand.

Rules: the engine, the store, the threads and the process that merges are those of the server; only
sessions are missing. ``add`` is durable when it returns: one frame of the log and its sync, which
the server puts behind each tick under ``appendfsync always``. A writer that is too far ahead of the
flushes waits for them, as the server's clients do.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from lsmstore.fs import OsFS
from lsmstore.options import MIB, StoreOptions
from lsmstore.runner import ChildRunner
from lsmstore.store import Store
from respserver.clock import SystemClock
from respserver.engine import Engine
from respserver.session import Session
from respserver.settings import load
from streams.stream import Stream
from tools.bench.store.feeder import Prepared, feed

MEMORY_BUDGET_BYTES: Final = 192 * MIB
RECORD_BYTES: Final = 64
THREADS: Final = 4

Done = Callable[[Any, BaseException | None], None]


class Skin:
    """What the engine asks of the loop, for a caller that turns it by hand."""

    def __init__(self) -> None:
        self._ready: deque[Callable[[], None]] = deque()
        self._finished: queue.SimpleQueue[tuple[Done, Future[Any]]] = queue.SimpleQueue()
        self._running = 0
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="respq-bench")
        self.call_soon = self._ready.append

    def in_thread(self, work: Callable[[], Any], done: Done) -> None:
        """Run ``work`` on a thread, then ``done`` when the loop turns."""
        self._running += 1
        future = self._pool.submit(work)
        future.add_done_callback(lambda ended: self._finished.put((done, ended)))

    def turn(self) -> None:
        """Run what is due."""
        while self._running and not self._finished.empty():
            self._finish()
        for _ in range(len(self._ready)):
            self._ready.popleft()()

    def wait(self) -> bool:
        """Run what is due; wait for a thread if nothing is. False if there is nothing to come."""
        if not self._ready:
            if self._running == 0:
                return False
            self._finish()
        self.turn()
        return True

    def _finish(self) -> None:
        done, ended = self._finished.get()
        self._running -= 1
        error = ended.exception()
        done(None if error is not None else ended.result(), error)

    def close(self) -> None:
        """Wait for the threads; what they did is of no interest any more."""
        self._pool.shutdown()

    def set_timer(self, deadline_ms: int | None) -> None:
        """Nothing that is measured waits for a time."""

    def fatal(self, error: BaseException) -> None:
        """The node cannot go on, and so the measurement cannot."""
        raise error

    def shutdown(self) -> None:
        """Nobody asks for it without a session."""

    def serve_held_up(self, caller: Session) -> None:
        """There is nobody to be served."""

    def end_holdup(self) -> None:
        """There was none."""

    def leave(self) -> None:
        """Nobody asks for it without a session."""


class Node:
    """An engine on a directory. ``merges``: whether its files are merged."""

    def __init__(
        self,
        path: str,
        *,
        options: StoreOptions | None = None,
        memory_budget: int = MEMORY_BUDGET_BYTES,
        merges: bool = True,
    ) -> None:
        self._skin = Skin()
        self.store = Store.open(OsFS(), path, options)
        config = load(flags={"memory-budget": str(memory_budget), "appendfsync": "always"})
        runner = ChildRunner("streams.mergeworker") if merges else None
        self.engine = Engine(self.store, config, SystemClock(), self._skin, runner=runner)
        began_s = time.perf_counter()
        self.engine.recover()
        self.recovery_s = time.perf_counter() - began_s
        self.journal = self.engine.journal
        self.keyspace = self.engine.keyspace

    def stream(self, key: bytes) -> Stream:
        """The stream of a key, made if there is none."""
        ns = self.keyspace.namespaces[0]
        return self.keyspace.stream(ns, key) or self.journal.create_stream(ns, key)

    def add(self, stream: Stream, entries: list[Prepared]) -> None:
        """Add a group of entries, durably."""
        size = sum([len(entry[2]) for entry in entries]) + RECORD_BYTES * len(entries)
        if size > self.store.log_room:
            self.store.make_room(size)
        feed(self.journal, stream, entries)
        self.commit()

    def trim(self, stream: Stream, length: int) -> int:
        """Keep the newest ``length`` entries, durably; how many went."""
        mark_pos, gone = stream.plan_trim(False, (length, 0), False, 0)
        self.journal.trim(stream, mark_pos)
        self.commit()
        return gone

    def commit(self) -> None:
        """End the tick: what was done since the last one is durable."""
        engine = self.engine
        engine.begin_tick()
        self._skin.turn()
        self.store.sync()
        while engine.upkeep.is_behind and self._skin.wait():
            pass

    def flush(self) -> None:
        """Flush the memtable, and merge until nothing is left to be merged."""
        self.engine.upkeep.ask_flush()
        while self._skin.wait():
            pass

    def settle(self) -> None:
        """Wait for what is under way."""
        self.engine.begin_tick()
        while self._skin.wait():
            pass

    def forget_blocks(self) -> None:
        """Let all streams and blocks leave memory, and keep no block that is read from now on."""
        self.keyspace.let_go()
        self.keyspace.cache.capacity_bytes = 0

    def close(self) -> None:
        """End cleanly."""
        self.engine.close(self._skin.close)
