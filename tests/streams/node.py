"""A node without sockets, log or loop: the real keyspace, journal, verbs and handlers in memory.

Time is what the test says it is, and nothing waits: a command that would block is a mistake of the
test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import respserver.commands  # fills the table
from cluster.slots import key_slot
from lsmstore.simfs import SimFS
from lsmstore.store import Store
from respserver.kernel import Kernel
from respserver.scan import Args
from respserver.session import Session
from respserver.settings import load
from respserver.spec import table_at
from respserver.verbs import Verbs
from respserver.version import DEFAULT_VERSION, level_of
from streams import ids
from streams.blockcache import BlockCache
from streams.journal import Journal
from streams.keyrecords import KeyRecords
from streams.keyspace import Keyspace
from streams.replay import Replay
from streams.stream import Stream
from tests.respclient import Client, encode, plain

assert respserver.commands

START_MS = 1_700_000_000_000


@dataclass
class Call:
    """What a handler gets."""

    argv: list[bytes]
    session: Session
    server: Node
    now_ms: int

    @property
    def redis_level(self) -> int:
        return self.server.verbs.redis_level

    @property
    def ns(self) -> int:
        return self.server.keyspace.namespaces[self.session.db]

    @property
    def keyspace(self) -> Keyspace:
        return self.server.keyspace

    @property
    def journal(self) -> Journal:
        return self.server.journal

    @property
    def key_records(self) -> KeyRecords:
        return self.server.key_records

    def reserve(self, record_bytes: int, frees: bool = False) -> None:
        """There is room."""

    def waits_for(self, stream: Stream, first_pos: int, stop_pos: int) -> bool:
        """Everything is in memory."""
        return False


class Answer(Client):
    """A client whose socket is a string."""

    def __init__(self, data: bytes) -> None:
        self._buffer = bytearray(data)
        self._at = 0

    def value(self) -> Any:
        return plain(self._reply())


@dataclass
class Node:
    """One server with one client."""

    now_ms: int = START_MS
    presents: str = DEFAULT_VERSION
    errors: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log: list[bytes] = []
        self.config = load(flags={"redis-version": self.presents})
        store = Store.open(SimFS(), "/data")
        for _ in store.replay():
            raise AssertionError("a new store has nothing to replay")
        self.keyspace = Keyspace(
            store, self.config.databases, key_slot, BlockCache(1 << 20), 1 << 30
        )
        self.journal = Journal(self.keyspace)
        self.key_records = KeyRecords(self.journal, self.keyspace)
        args = Args()
        self.verbs = Verbs(args, self.journal, self.keyspace, self.on_change, self.make_room)
        self.verbs.redis_level = level_of(self.presents)
        self.table = table_at(self.verbs.redis_level)
        self.kernel = Kernel(self.table, self.verbs, args, self.journal, self, self.make_call)
        self.session = Session(
            1, "127.0.0.1:1", "127.0.0.1:6379", 7, self.now_ms, self, self.kernel.feed
        )
        self.session.reset(authenticated=True)

    def socket_full(self, session: Session) -> None:
        """There is no socket."""

    def socket_drained(self, session: Session) -> None:
        """There is no socket."""

    def disconnect(self, session: Session) -> None:
        """There is no socket."""

    def on_change(self, ns: int, key: bytes) -> None:
        """Nobody waits for keys."""

    def make_room(self, n: int, frees: bool) -> int:
        return n + (1 << 20)

    def make_call(self, argv: list[bytes], session: Session) -> Call:
        return Call(argv, session, self, self.now_ms)

    def begin_tick(self) -> None:
        self.verbs.now_ms = self.now_ms
        self.verbs.node_max_entries = self.config.stream_node_max_entries
        self.verbs.node_max_bytes = self.config.stream_node_max_bytes
        self.journal.idmp_duration_s = self.config.stream_idmp_duration
        self.journal.idmp_maxsize = self.config.stream_idmp_maxsize

    def commit_early(self) -> None:
        """End the log's frame."""
        self.log.append(self.journal.log.copy())
        self.journal.committed()

    def count_error(self, line: bytes) -> None:
        self.errors.append(line)

    def raw(self, *words: bytes | str | int) -> bytes:
        """The bytes of a command's reply."""
        argv = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.kernel.feed(self.session, encode(argv))
        reply = self.session.take_output()
        assert reply, f"{argv} blocks"
        return reply

    def call(self, *words: bytes | str | int) -> Any:
        """A command's reply as Python values."""
        return Answer(self.raw(*words)).value()

    def stream(self, key: bytes = b"s") -> Stream:
        stream = self.keyspace.stream(self.keyspace.namespaces[0], key)
        assert stream is not None
        return stream

    def set(self, name: str, value: object) -> None:
        """Change a setting."""
        self.config.apply_live(name, str(value))

    def check(self) -> None:
        """Check the invariants of everything held."""
        for stream in self.keyspace.by_sid.values():
            stream.check()
            for group in stream.groups.values():
                group.check()

    def replayed(self) -> Node:
        """Another node, to which the records of this one were applied."""
        self.commit_early()
        other = Node(self.now_ms, self.presents)
        replay = Replay(other.keyspace)
        lsn = 1
        for frame in self.log:
            lsn += replay.apply(lsn, frame)
        return other

    def rows(self) -> dict[bytes, Any]:
        """What the rows of all streams would hold, by key.

        Without seen times: that a consumer was seen and got nothing is no record.
        """
        return {
            stream.key: {
                "header": stream.dump_header(),
                "first": stream.first_id,
                "producers": producer_rows(stream),
                "deleted": {n: page.dump() for n, page in stream.deleted_pages.items()},
                "groups": {
                    name: (
                        group.gid,
                        group.last_id,
                        group.entries_read,
                        group.free_cidx,
                        [
                            (consumer.name, consumer.cidx, consumer.active_ms)
                            for consumer in group.consumers.values()
                        ],
                        group.pending.rows(ids.MIN_ID, ids.MAX_ID),
                    )
                    for name, group in stream.groups.items()
                },
            }
            for stream in self.keyspace.by_sid.values()
        }


def producer_rows(stream: Stream) -> dict[int, bytes | None]:
    """The rows of a stream's producers, all of them."""
    producers = stream.producers
    return {} if producers is None else dict(producers.all_rows())
