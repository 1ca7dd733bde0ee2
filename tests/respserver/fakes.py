"""A server of plain Python around the handlers: what they may touch, and no more.

`Node.run()` does what the loop does for one command: looks it up, checks arity and password, calls
the handler, and encodes what comes back.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import respserver.commands  # fills the table
from lsmstore.buf import Buf
from respserver import errors
from respserver.clock import ManualClock
from respserver.pubsub import PubSub
from respserver.replies import encode
from respserver.settings import Config, load
from respserver.spec import NO_AUTH, CommandSpec, Table, lookup, table_at
from respserver.stats import ServerStats
from respserver.stopwatch import Times
from respserver.tracking import Trackers
from respserver.version import level_of
from respserver.watchdog import SlowLog, Spikes
from streams.keyrow import EMPTY_STRING, KeyRow, stream_row, string_row
from streams.keyspace import Tally, WrongTypeError

assert respserver.commands

NOW_MS = 1_700_000_123_456


@functools.cache
def table_of(level: int) -> Table:
    """The commands of a version, made once for all nodes."""
    return table_at(level)


@dataclass
class Waiting:
    """A blocked client's wait."""

    keys: tuple[bytes, ...]
    cold: bool = False
    group: bytes | None = None


@dataclass
class Session:
    """A client."""

    id: int
    addr: str
    laddr: str = "127.0.0.1:6379"
    fd: int = 7
    name: bytes = b""
    lib_name: bytes = b""
    lib_ver: bytes = b""
    proto: int = 2
    db: int = 0
    authenticated: bool = False
    created_ms: int = NOW_MS - 5_500
    last_interaction_ms: int = NOW_MS - 1_500
    blocked: Waiting | None = None
    close_after_reply: bool = False
    no_evict: bool = False
    no_touch: bool = False
    last_command: CommandSpec | None = None
    multi: Any = None
    watching: Any = None
    subscriptions: Any = None
    tracking: Any = None
    monitoring: bool = False
    reply_mode: int = 0
    query_buffer_bytes: int = 0
    output_bytes: int = 0
    total_commands: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0

    def settle(self) -> None:
        """A session here is never special."""


class Keys:
    """Keyspace and journal in one: a dict a database; a stream is a list."""

    def __init__(self, databases: int) -> None:
        self.namespaces = list(range(1, databases + 1))
        self.tables: dict[int, dict[bytes, bytes | list[bytes]]] = {
            ns: {} for ns in self.namespaces
        }
        self.flushed: list[int] = []
        self.resident_bytes = 100
        self.log = Buf()

    def find(self, ns: int, key: bytes) -> KeyRow | None:
        held = self.tables[ns].get(key)
        if held is None:
            return None
        return KeyRow(string_row(held) if isinstance(held, bytes) else stream_row(1))

    def kind(self, ns: int, key: bytes) -> bytes | None:
        row = self.find(ns, key)
        return None if row is None else row.kind

    def string_row(self, ns: int, key: bytes) -> KeyRow | None:
        row = self.find(ns, key)
        if row is not None and row.is_stream:
            raise WrongTypeError
        return row

    def string(self, ns: int, key: bytes) -> bytes | None:
        row = self.string_row(ns, key)
        return None if row is None else row.string

    def keys(self, ns: int) -> Iterator[bytes]:
        yield from self.tables[ns]

    def size(self, ns: int) -> int:
        return len(self.tables[ns])

    @property
    def live(self) -> dict[int, dict[bytes, Any]]:
        return {ns: {} for ns in self.tables}

    @property
    def tallies(self) -> dict[int, Tally]:
        return {ns: Tally(len(table)) for ns, table in self.tables.items()}

    def scan(self, ns: int, cursor: int, count: int) -> tuple[int, list[tuple[bytes, KeyRow]]]:
        ordered = sorted((zlib.crc32(key), key) for key in self.tables[ns])
        found = [(at, key) for at, key in ordered if at >= cursor]
        page, rest = found[:count], found[count:]
        while rest and page and rest[0][0] == page[-1][0]:
            page.append(rest.pop(0))
        rows = [(key, self.find(ns, key)) for _, key in page]
        return (rest[0][0] if rest else 0), [(key, row) for key, row in rows if row is not None]

    def set_string(self, ns: int, key: bytes, value: bytes, _expires_ms: int) -> None:
        self.tables[ns][key] = value

    def delete(self, ns: int, key: bytes) -> None:
        del self.tables[ns][key]

    def patch_string(self, ns: int, key: bytes, offset: int, data: bytes) -> None:
        row = self.find(ns, key) or EMPTY_STRING
        self.tables[ns][key] = KeyRow(row.patched(offset, data)).string

    def expire(self, ns: int, key: bytes, expires_ms: int) -> None:
        assert key in self.tables[ns]
        assert expires_ms >= 0

    def touch(self, ns: int, key: bytes) -> bool:
        return key in self.tables[ns]

    def idle_ms(self, ns: int, key: bytes) -> int:
        assert key in self.tables[ns]
        return 0

    def move(self, ns: int, key: bytes, to_ns: int, to_key: bytes) -> None:
        self.tables[to_ns][to_key] = self.tables[ns].pop(key)

    def stream(self, ns: int, key: bytes) -> bytes:
        return key

    def copy_stream(self, source: bytes, to_ns: int, to_key: bytes, _expires_ms: int) -> None:
        self.tables[to_ns][to_key] = [source]

    def copy_string(self, to_ns: int, to_key: bytes, row: KeyRow) -> None:
        self.tables[to_ns][to_key] = row.string

    def swap_databases(self, one: int, other: int) -> None:
        spaces = self.namespaces
        spaces[one], spaces[other] = spaces[other], spaces[one]

    def flush_database(self, db: int) -> None:
        self.flushed.append(db)
        self.tables[self.namespaces[db]].clear()


@dataclass
class Verb:
    """A command as the kernel counts it."""

    name: bytes
    subcommands: dict[bytes, Verb]
    times: Times = field(default_factory=Times)
    calls: int = 0
    rejected: int = 0
    failed: int = 0

    def reset_stats(self) -> None:
        self.times.reset()
        self.calls = self.rejected = self.failed = 0


class Kernel:
    """The counters of all commands."""

    busy = False
    within = False

    def __init__(self, table: Table) -> None:
        self.table = self.verbs_of(table)

    def verbs_of(self, specs: Table) -> dict[bytes, Verb]:
        return {
            word: Verb(spec.name, self.verbs_of(spec.subcommands)) for word, spec in specs.items()
        }

    def of(self, spec: CommandSpec) -> Verb:
        base, _, sub = spec.name.partition(b"|")
        return self.table[base].subcommands[sub] if sub else self.table[base]


class Observers:
    """Nobody looks on."""

    def __init__(self) -> None:
        self.watches: dict[bytes, None] = {}
        self.pubsub = PubSub(lambda session, data: None)
        self.trackers = Trackers({}, lambda session, data: None)

    def settle(self) -> None:
        """Nobody looks on."""

    def forget(self, session: Session) -> None:
        """There is nothing to forget."""


class Scripts:
    """There are none."""

    memory_bytes = 0

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}


class Watchdog:
    """Nothing was slow but one command and one spike."""

    def __init__(self) -> None:
        self.slow_log = SlowLog()
        self.slow_log.add(NOW_MS // 1000, 12345, [b"KEYS", b"*"], b"127.0.0.1:50001", b"me")
        self.spikes = {b"command": Spikes()}
        self.spikes[b"command"].add(NOW_MS // 1000 - 100, 20)

    def forget(self, events: list[bytes]) -> int:
        return 0


@dataclass
class Store:
    """The log's position."""

    written_lsn: int = 42


@dataclass
class Server:
    """The server as handlers see it."""

    config: Config
    keyspace: Keys
    sessions: dict[int, Session] = field(default_factory=dict)
    stats: ServerStats = field(default_factory=ServerStats)
    store: Store = field(default_factory=Store)
    observers: Observers = field(default_factory=Observers)
    scripts: Scripts = field(default_factory=Scripts)
    watchdog: Watchdog = field(default_factory=Watchdog)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_MS))
    started_ms: int = NOW_MS - 90_000_000
    last_save_ms: int = NOW_MS - 60_000
    run_id: str = "a" * 40
    port: int = 6379
    done: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = table_of(level_of(self.config.redis_version))
        self.kernel = Kernel(self.table)

    def kill(self, session: Session) -> None:
        self.done.append(("kill", session.id))
        del self.sessions[session.id]

    def unblock(self, session: Session, with_error: bool) -> bool:
        self.done.append(("unblock", session.id, with_error))
        session.blocked = None
        return True

    def request_shutdown(self) -> None:
        self.done.append("shutdown")

    def flush_now(self) -> None:
        self.done.append("flush")

    def settings_changed(self, names: frozenset[str]) -> None:
        self.done.append(names)

    def stream_figures(self) -> dict[str, int]:
        return {
            "pending_entries": 10,
            "pending_bytes": 224,
            "memtable_flushes": 3,
            "memtable_bytes": 1000,
            "block_cache_bytes": 500,
        }


@dataclass
class Call:
    """What a handler gets."""

    argv: list[bytes]
    session: Session
    server: Server
    now_ms: int

    @property
    def keyspace(self) -> Keys:
        return self.server.keyspace

    @property
    def journal(self) -> Keys:
        return self.server.keyspace

    @property
    def key_records(self) -> Keys:
        return self.server.keyspace

    @property
    def redis_level(self) -> int:
        return level_of(self.server.config.redis_version)

    @property
    def ns(self) -> int:
        return self.keyspace.namespaces[self.session.db]


class Node:
    """A server and its clients."""

    def __init__(self, **settings: str) -> None:
        flags = {name.replace("_", "-"): text for name, text in settings.items()}
        config = load(flags=flags)
        self.server = Server(config, Keys(config.databases))
        self.now_ms = NOW_MS
        self.client = self.connect()

    def connect(self) -> Session:
        number = len(self.server.sessions) + 1
        session = Session(number, f"127.0.0.1:{50000 + number}")
        session.authenticated = self.server.config.requirepass == ""
        self.server.sessions[number] = session
        return session

    def stream(self, key: bytes, db: int = 0) -> None:
        """Put a stream at `key`."""
        self.server.keyspace.tables[self.server.keyspace.namespaces[db]][key] = []

    def run(self, *words: bytes | str, session: Session | None = None) -> bytes:
        """The reply to one command."""
        argv = [word if isinstance(word, bytes) else word.encode() for word in words]
        client = session or self.client
        out = Buf()
        encode(self.answer(argv, client), client.proto, out)
        return out.take()

    def answer(self, argv: Sequence[bytes], client: Session) -> Any:
        spec = lookup(self.server.table, argv)
        if spec is None:
            base = lookup(self.server.table, argv[:1])
            return errors.unknown_command(argv) if base is None else errors.unknown_subcommand(argv)
        if not spec.takes(len(argv)):
            return errors.wrong_arity(spec.name)
        if not client.authenticated and not spec.flags & NO_AUTH:
            return errors.ReplyError(errors.NOAUTH)
        client.last_command = spec
        self.server.kernel.of(spec).calls += 1
        client.total_commands += 1
        assert spec.handler is not None, spec.name
        call: Any = Call(list(argv), client, self.server, self.now_ms)
        try:
            return spec.handler(call)
        except errors.ReplyError as refusal:
            return refusal
        except WrongTypeError:
            return errors.ReplyError(errors.WRONGTYPE)
