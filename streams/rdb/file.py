"""A whole RDB file, or what a primary sends a replica, value by value.

Rules: memory is bounded by the largest string, listpack or group in the file, not by the file. A
stream's nodes are handed out as they are read; whoever does not want the rest of them goes on to
the next value. Other types are passed over and told by name. The checksum is held against the file
when its end is reached: what was handed out before was whole, but is certain only then.

Grammar::

    file   := ('REDIS' | 'VALKEY') digits, nine bytes together, op*, FF, [u64 checksum, 0: none]
    op     := FE length (database) | FB length length (sizes) | FA string string (about the file)
            | F5 string (functions) | F7 length, module (of modules) | F4 length * 3 (slots)
            | [F3 length n, n * (u32, module) (of modules, on the key)]
              [FC u64 ms | FD u32 s], [F8 length (idle) | F9 u8 (frequency)], u8 type, string, value
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from streams.rdb.heads import StreamHead
from streams.rdb.payload import STRING
from streams.rdb.reader import RdbError, RdbReader
from streams.rdb.rows import Node
from streams.rdb.skipping import skip_module, skip_value
from streams.rdb.streamreader import STREAM_TYPES, StreamReader

HEADER_BYTES: Final = 9
CHECKSUM_SINCE: Final = 5

KEY_META: Final = 0xF3
SLOT_INFO: Final = 0xF4
FUNCTION: Final = 0xF5
MODULE_AUX: Final = 0xF7
IDLE: Final = 0xF8
FREQUENCY: Final = 0xF9
AUX: Final = 0xFA
RESIZE: Final = 0xFB
EXPIRES_MS: Final = 0xFC
EXPIRES_S: Final = 0xFD
DATABASE: Final = 0xFE
END: Final = 0xFF


@dataclass(slots=True)
class KeyInfo:
    """What stands before a value. ``expires_ms`` is wall time; 0: never."""

    db: int
    name: bytes
    expires_ms: int
    rdb_type: int


@dataclass(slots=True)
class StringValue:
    """A string."""

    key: KeyInfo
    value: bytes


@dataclass(slots=True)
class OtherValue:
    """A value of another type, passed over. ``kind`` is what TYPE would say."""

    key: KeyInfo
    kind: str


class StreamValue:
    """A stream: iterate over its nodes, then ask for its head."""

    def __init__(self, key: KeyInfo, reader: StreamReader) -> None:
        self.key = key
        self._reader = reader
        self._head: StreamHead | None = None

    def __iter__(self) -> Iterator[Node]:
        while (node := self._reader.next_node()) is not None:
            yield node

    def head(self) -> StreamHead:
        """The stream without its entries; nodes not taken yet are passed over. Raises RdbError."""
        if self._head is None:
            for _ in self:
                pass
            self._head = self._reader.head()
        return self._head


Value = StringValue | StreamValue | OtherValue


class RdbFile:
    """Reads from ``read(n)``, which gives at least one of up to ``n`` bytes, none at the end."""

    def __init__(self, read: Callable[[int], bytes], limit_bytes: int = 1 << 30) -> None:
        """Reads the header. Raises RdbError, as everything here."""
        self._reader = RdbReader(b"", read, limit_bytes)
        header = self._reader.raw(HEADER_BYTES)
        magic = header.rstrip(b"0123456789")
        if magic not in (b"REDIS", b"VALKEY"):
            raise RdbError(f"no RDB file: it begins with {header!r}")
        self.of_valkey = magic == b"VALKEY"
        self.version = int(header[len(magic) :])
        self.about: dict[bytes, bytes] = {}
        """What the file says of itself: ``redis-ver``, ``used-mem``, ``repl-id`` and so on."""
        self.functions = 0
        """Libraries of functions passed over."""
        self.sizes: dict[int, int] = {}
        """How many keys each database is said to have."""

    def __iter__(self) -> Iterator[Value]:
        reader = self._reader
        db = 0
        expires_ms = 0
        while (op := reader.number(1)) != END:
            if op == DATABASE:
                db = reader.count()
            elif op == RESIZE:
                self.sizes[db] = reader.count()
                reader.count()
            elif op == AUX:
                name = reader.text()
                self.about[name] = reader.text()
            elif op == EXPIRES_MS:
                expires_ms = reader.number(8)
            elif op == EXPIRES_S:
                expires_ms = 1000 * reader.number(4)
            elif op == IDLE:
                reader.count()
            elif op == FREQUENCY:
                reader.number(1)
            elif op == FUNCTION:
                reader.pass_string()
                self.functions += 1
            elif op == MODULE_AUX:
                reader.count()
                skip_module(reader)
            elif op == SLOT_INFO:
                for _ in range(3):
                    reader.count()
            elif op == KEY_META and not self.of_valkey:
                for _ in range(reader.count()):
                    reader.number(4)
                    skip_module(reader)
            else:
                key = KeyInfo(db, reader.text(), expires_ms, op)
                expires_ms = 0
                yield from self._value(key)
        self._check_end()

    def _value(self, key: KeyInfo) -> Iterator[Value]:
        if key.rdb_type == STRING:
            yield StringValue(key, self._reader.text())
        elif key.rdb_type in STREAM_TYPES:
            stream = StreamValue(key, StreamReader(self._reader, key.rdb_type))
            yield stream
            stream.head()
        else:
            kind = skip_value(self._reader, key.rdb_type, of_valkey=self.of_valkey)
            yield OtherValue(key, kind)

    def _check_end(self) -> None:
        digest = self._reader.digest()
        if self.version >= CHECKSUM_SINCE:
            told = self._reader.number(8)
            if told not in (0, digest):
                raise self._reader.error("the checksum is another")

    @property
    def offset(self) -> int:
        """How many bytes of the file were read."""
        return self._reader.offset

    def rest(self) -> bytes:
        """What was read beyond the end of the file, once that is reached."""
        return self._reader.raw(self._reader.left)
