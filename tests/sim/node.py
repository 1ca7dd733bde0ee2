"""A whole node in one process: engine, store and a simulated disk, without sockets and threads.

Rules of this file:

* Nothing happens of its own accord. ``run`` executes what is due, one step after the other, and a
  seeded generator decides which step is next: a call of the loop, the work of a "thread", or the
  news that such work is done. Without a seed the order is the order of asking.
* Work of a thread runs whole between two calls of the loop; how long it is late is what varies.
* Time stands still but for ``advance``.
* A transport remembers at which log position each reply was computed, and refuses to send one that
  is not as durable as ``appendfsync always`` promises.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis

from lsmstore.compactor import MergeFailed
from lsmstore.errors import Corruption, DiskFull, StorageError
from lsmstore.merge import MergeRequest, MergeResult, merge
from lsmstore.options import StoreOptions
from lsmstore.simfs import SimFS
from lsmstore.store import Store
from respserver.clock import ManualClock
from respserver.engine import Engine
from respserver.net import OUTPUT_HIGH_BYTES, OUTPUT_LOW_BYTES
from respserver.release import SYNC_SAMPLES, Releaser
from respserver.session import Session
from respserver.settings import load
from streams.stream import Stream
from streams.survivors import RowSurvivors
from tests.respclient import Client, encode, plain

PATH = "/data/store"
REDIS_VERSION = "8.10.0"
START_MS = 1_700_000_000_000
STEPS_MAX = 200_000
SMALL = StoreOptions(
    log_file_bytes_min=8192,
    log_file_bytes_max=32768,
    log_file_bytes_inline=16384,
    log_reserve_bytes=2048,
    frame_bytes=1024,
    small_run_bytes=512,
    compress_batch_bytes=4096,
    directory_page_bytes=512,
    row_block_bytes=256,
    row_files_max=3,
    block_cache_bytes=65536,
    large_run_bytes=300,
    graduate_bytes=2500,
    own_segment_bytes_max=4000,
    shared_segment_bytes_max=20_000,
    merge_width=3,
    tier_bytes=1200,
    own_frame_bytes=2048,
    merge_sync_bytes=2048,
    dictionary_bytes=1024,
    dictionaries_max=3,
    dictionary_run_bytes=4000,
    manifest_bytes_max=4096,
)
Word = bytes | str | int


class SimRunner:
    """Merges where it is asked to, on the simulated disk."""

    def __init__(self, fs: SimFS) -> None:
        self.fs = fs

    def run(self, request: MergeRequest) -> MergeResult:
        try:
            return merge(self.fs, request, RowSurvivors, lambda: None)
        except (Corruption, DiskFull):
            raise
        except (StorageError, OSError) as error:  # what is left of a process that met it
            raise MergeFailed(repr(error)) from error

    def cancel(self) -> None:
        """It never runs beside anything."""


class Unfinished(AssertionError):
    """A command did not answer, though there is nothing left to do."""


class Answer(Client):
    """A client whose socket is a string."""

    def __init__(self, data: bytes) -> None:
        self._buffer = bytearray(data)
        self._at = 0

    def value(self) -> Any:
        return plain(self._reply())

    @property
    def used(self) -> int:
        return self._at

    def _fill(self) -> None:
        raise EOFError


class Transport:
    """A socket: keeps what was written, and is full while nobody takes it."""

    def __init__(self, node: SimNode, high_bytes: int) -> None:
        self.node = node
        self.session: Session | None = None
        self.received = bytearray()
        self.sent_bytes = 0
        self.waiting = 0
        self.high_bytes = high_bytes
        self.slow = False
        """Takes nothing until ``drain``."""
        self.closed = False
        self.aborted = False
        self.due: deque[int] = deque()
        self.reading = True
        self.unread = bytearray()
        """Arrived while the node read nothing."""

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.node.skin.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self.reading and self.unread and not self.closed and self.session is not None:
            data = bytes(self.unread)
            self.unread.clear()
            self.node.engine.kernel.feed(self.session, data)

    def write(self, data: bytes) -> None:
        assert not self.closed, "written to after close"
        assert not self.node.skin.dead, "a reply after the end"
        if self.due:
            self.node.acknowledge(self.due.popleft())
        self.received += data
        self.sent_bytes += len(data)
        if self.slow:
            self.waiting += len(data)
            if self.waiting > self.high_bytes and self.session is not None:
                self.node.engine.socket_full(self.session)

    def drain(self) -> None:
        """The client takes all that waits."""
        was_full = self.waiting > self.high_bytes
        self.waiting = 0
        if was_full and self.session is not None:
            self.node.engine.socket_drained(self.session)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.node.skin.call_soon(self._lost)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def _lost(self) -> None:
        if self.session is not None:
            self.node.engine.disconnect(self.session)


class SimClient:
    """One connection."""

    def __init__(self, node: SimNode, high_bytes: int = OUTPUT_HIGH_BYTES) -> None:
        self.node = node
        self.transport = Transport(node, high_bytes)
        self.session = node.engine.connect(
            f"127.0.0.1:{50000 + len(node.engine.sessions)}", "127.0.0.1:6379", 7, self.transport
        )
        self.transport.session = self.session

    def send(self, *words: Word) -> None:
        """Hand a command to the node; nothing is run but the command itself."""
        self.feed(encode([as_bytes(word) for word in words]))

    def feed(self, data: bytes) -> None:
        if self.transport.reading and not self.transport.unread:  # nothing overtakes
            self.node.engine.kernel.feed(self.session, data)
        else:
            self.transport.unread += data

    def replies(self) -> list[bytes]:
        """The whole replies that have arrived and were not taken yet."""
        found = []
        while (reply := self.take()) is not None:
            found.append(reply)
        return found

    def take(self) -> bytes | None:
        """The next whole reply, if it has arrived."""
        if not self.transport.received:
            return None
        answer = Answer(bytes(self.transport.received))
        try:
            answer.value()
        except EOFError:
            return None
        reply = bytes(self.transport.received[: answer.used])
        del self.transport.received[: answer.used]
        return reply

    def raw(self, *words: Word) -> bytes:
        """Run a command to its end; the bytes of its reply."""
        self.send(*words)
        self.node.run()
        reply = bytes(self.transport.received)
        reader = hiredis.Reader()  # only tells where replies end, and much sooner than ours
        reader.feed(reply)
        if reader.gets() is False:
            raise Unfinished(b" ".join([as_bytes(word) for word in words]))
        assert not reader.has_data(), reply
        self.transport.received.clear()
        return reply

    def call(self, *words: Word) -> Any:
        """Run a command to its end; its reply as Python values."""
        return Answer(self.raw(*words)).value()

    def leave(self) -> None:
        """The client goes."""
        self.transport.close()
        self.node.run()


class SimSkin:
    """What the engine asks of the I/O shell, done when ``SimNode.run`` says so."""

    def __init__(self, rng: random.Random | None) -> None:
        self.rng = rng
        self.soon: deque[Callable[[], None]] = deque()
        self.work: list[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]] = []
        self.news: deque[Callable[[], None]] = deque()
        self.deadline_ms: int | None = None
        self.error: BaseException | None = None
        self.stopped = False
        self.dead = False
        self.left = False
        self.while_held_up: Callable[[], None] | None = None
        self.looks = 0
        self.holdups = 0
        self.node: SimNode | None = None

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def in_thread(
        self, work: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        self.work.append((work, done))

    def set_timer(self, deadline_ms: int | None) -> None:
        self.deadline_ms = deadline_ms

    def fatal(self, error: BaseException) -> None:
        assert self.node is not None
        self.error = self.error or error
        self.dead = True
        for session in list(self.node.engine.sessions.values()):
            session.transport.abort()

    def shutdown(self) -> None:
        self.stopped = True

    def serve_held_up(self, caller: Session) -> None:
        """What clients of a script's time send is for the test to say."""
        self.looks += 1
        if self.while_held_up is not None:
            self.while_held_up()

    def end_holdup(self) -> None:
        self.holdups += 1

    def leave(self) -> None:
        self.left = True

    def wait(self) -> None:
        """End the work of threads; the loop does not hear of it any more."""
        while self.work:
            self._work(*self.work.pop(0))

    def step(self) -> bool:
        """Do one thing that is due; False if there is none."""
        choices = []
        if self.soon:
            choices.append("soon")
        if self.work:
            choices.append("work")
        if self.news:
            choices.append("news")
        if not choices:
            return False
        choice = choices[0] if self.rng is None else self.rng.choice(choices)
        if choice == "soon":
            self.soon.popleft()()
        elif choice == "news":
            self.news.popleft()()
        else:
            at = 0 if self.rng is None else self.rng.randrange(len(self.work))
            self._work(*self.work.pop(at))
        return True

    def _work(
        self, work: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = work()
        except (StorageError, OSError) as caught:
            error = caught
        self.news.append(lambda: done(result, error))


class SimReleaser(Releaser):
    """Tells the transports at which position the replies of a tick were computed."""

    def release(self, dirty: list[Session]) -> None:
        for session in dirty:
            if session.reply.length and not session.closed:
                session.transport.due.append(self._store.written_lsn)
        super().release(dirty)


class SimNode:
    """A node on a simulated disk. Everything small unless the test says otherwise."""

    def __init__(
        self,
        fs: SimFS | None = None,
        *,
        seed: int | None = None,
        appendfsync: str = "always",
        options: StoreOptions = SMALL,
        memtable_bytes: int = 1 << 30,
        cache_bytes: int = 1 << 20,
        resident_bytes: int = 1 << 30,
        sync_on_thread: bool = False,
        slow_slices: bool = False,
        clock: ManualClock | None = None,
        settings: dict[str, str] | None = None,
        merges: bool = True,
        path: str = PATH,
    ) -> None:
        """``sync_on_thread``: as if syncs took long. ``slow_slices``: a flush takes many ticks."""
        self.fs = SimFS() if fs is None else fs
        self.clock = ManualClock(START_MS) if clock is None else clock
        if slow_slices or sync_on_thread:
            self.clock.perf_step_s = 0.001
        flags = {"appendfsync": appendfsync, "redis-version": REDIS_VERSION, **(settings or {})}
        self.config = load(flags=flags)
        self.skin = SimSkin(None if seed is None else random.Random(seed))
        self.acknowledged_lsn = 0
        self.store = Store.open(self.fs, path, options)
        self.engine = Engine(
            self.store,
            self.config,
            self.clock,
            self.skin,
            releaser=SimReleaser,
            runner=SimRunner(self.fs) if merges else None,
        )
        self.skin.node = self
        self.engine.recover()
        self.recovered_lsn = self.store.written_lsn
        self.engine.upkeep.memtable_limit_bytes = memtable_bytes
        self.engine.keyspace.cache.capacity_bytes = cache_bytes
        self.engine.keyspace.resident_limit_bytes = resident_bytes
        if sync_on_thread:
            self.engine.releaser._sync_times_s.extend([1.0] * SYNC_SAMPLES)
        self.client = self.connect()

    def connect(self, high_bytes: int = OUTPUT_LOW_BYTES) -> SimClient:
        return SimClient(self, high_bytes)

    def call(self, *words: Word) -> Any:
        return self.client.call(*words)

    def raw(self, *words: Word) -> bytes:
        return self.client.raw(*words)

    def run(self) -> None:
        """Do all that is due."""
        for _ in range(STEPS_MAX):
            if not self.skin.step():
                return
        raise AssertionError("the node never comes to rest")

    def advance(self, ms: int) -> None:
        """Let time pass; timers go off."""
        self.clock.advance(ms)
        while (
            self.skin.deadline_ms is not None
            and self.skin.deadline_ms <= self.clock.monotonic_ms()
            and not self.skin.dead
        ):
            self.skin.deadline_ms = None
            self.engine.on_timer()
        self.run()

    def flush(self) -> None:
        """Move the memtable to the disk."""
        self.call("SAVE")
        self.run()

    def sweep(self) -> None:
        """Forget the iids that have expired, of all streams, in memory or not."""
        keyspace = self.engine.keyspace
        for ns in keyspace.namespaces:
            for key in list(keyspace.keys(ns)):
                found = keyspace.lookup(ns, key)
                if isinstance(found, Stream):
                    self.engine.journal.sweep_producers(found, self.clock.wall_ms())

    def acknowledge(self, lsn: int) -> None:
        """A reply computed at this position is being sent."""
        if self.config.appendfsync == "always":
            assert self.store.synced_lsn >= lsn, "a reply left before it was durable"
            self.acknowledged_lsn = max(self.acknowledged_lsn, lsn)

    def close(self) -> None:
        """End cleanly."""
        self.engine.close(self.skin.wait)

    def reopen(self, fs: SimFS | None = None, **changes: Any) -> SimNode:
        """The node that is found when the process starts again on what the disk then holds."""
        return SimNode(self.fs.kill() if fs is None else fs, clock=self.clock, **changes)

    def check(self) -> None:
        """Check the invariants of everything held."""
        for stream in self.engine.keyspace.by_sid.values():
            stream.check()
            for group in stream.groups.values():
                group.check()


def as_bytes(word: Word) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()
