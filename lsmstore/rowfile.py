"""A row file: sorted rows, newest state of each key as of one flush or one merge.

    row file := container (lsmstore/container.py) with magic "RSPQROW1"
    frames   := block... filter origin index
    block    := n u32 | key_end u32[n] | value_end u32[n] | keys | values
    filter   := lsmstore/bloom.py
    index    := n u32 | offset u64[n] | length u32[n] | first_key_end u32[n]
                | last_key_len u32 | first keys | last key
    counts   := blocks, rows, tombstones, filter's offset, length of its frame, its bits

``key_end`` counts from the first key, ``value_end`` from the first value. The top bit of
``value_end`` marks a tombstone: the key is known to be absent, and its value is empty. Keys are
unique and ascend bytewise.
"""

from __future__ import annotations

import struct
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from lsmstore import bloom
from lsmstore.cache import BlockCache
from lsmstore.container import Container, ContainerWriter, Footer
from lsmstore.errors import Corruption
from lsmstore.fs import FileSystem
from lsmstore.health import Health
from lsmstore.options import StoreOptions
from lsmstore.origin import Origin
from lsmstore.version import RowFileMeta

MAGIC: Final = b"RSPQROW1"
COUNT: Final = struct.Struct("<I")
TOMBSTONE: Final = 0x80000000
ROW_OVERHEAD: Final = 8  # bytes of a row beside key and value

Row = tuple[bytes, bytes | None]


class RowBlock:
    """A block as read: found by bisection over its bytes, never taken apart as a whole."""

    __slots__ = ("_data", "_key_ends", "_keys_at", "_value_ends", "_values_at", "n")

    def __init__(self, data: bytes) -> None:
        """Raises ``ValueError`` if the lengths do not add up."""
        self.n = COUNT.unpack_from(data)[0]
        keys_at = COUNT.size + 8 * self.n
        if self.n == 0 or len(data) < keys_at:
            raise ValueError("a row block is cut short")
        self._key_ends = array("I", data[COUNT.size : COUNT.size + 4 * self.n])
        self._value_ends = array("I", data[COUNT.size + 4 * self.n : keys_at])
        self._keys_at = keys_at
        self._values_at = keys_at + self._key_ends[-1]
        if self._values_at + (self._value_ends[-1] & ~TOMBSTONE) != len(data):
            raise ValueError("a row block has the wrong length")
        self._data = data

    def key(self, i: int) -> bytes:
        start = self._keys_at + (self._key_ends[i - 1] if i else 0)
        return self._data[start : self._keys_at + self._key_ends[i]]

    def value(self, i: int) -> bytes | None:
        """The value of row ``i``; None for a tombstone."""
        end = self._value_ends[i]
        if end & TOMBSTONE:
            return None
        start = self._value_ends[i - 1] & ~TOMBSTONE if i else 0
        return self._data[self._values_at + start : self._values_at + end]

    def position(self, key: bytes) -> int:
        """The first row at or above ``key``; ``n`` if there is none."""
        low, high = 0, self.n
        while low < high:
            middle = (low + high) // 2
            if self.key(middle) < key:
                low = middle + 1
            else:
                high = middle
        return low


def block_bytes(keys: Sequence[bytes], values: Sequence[bytes | None]) -> bytes:
    """One block of these rows."""
    key_ends = array("I", accumulate(map(len, keys)))
    present = [b"" if value is None else value for value in values]
    value_ends = array("I", accumulate(map(len, present)))
    for i, value in enumerate(values):
        if value is None:
            value_ends[i] |= TOMBSTONE
    ends = COUNT.pack(len(keys)) + key_ends.tobytes() + value_ends.tobytes()
    return b"".join([ends, *keys, *present])


def _blocks(
    rows: Iterable[Row], block_bytes_max: int
) -> Iterator[tuple[list[bytes], list[bytes | None]]]:
    """Keys and values of the rows of one block after the other."""
    keys: list[bytes] = []
    values: list[bytes | None] = []
    filled = 0
    for key, value in rows:
        size = ROW_OVERHEAD + len(key) + (0 if value is None else len(value))
        if filled and filled + size > block_bytes_max:
            yield keys, values
            keys, values, filled = [], [], 0
        keys.append(key)
        values.append(value)
        filled += size
    if keys:
        yield keys, values


def write_row_file(
    fs: FileSystem,
    path: str,
    number: int,
    age: int,
    interval: tuple[int, int],
    rows: Iterable[Row],
    options: StoreOptions,
    health: Health,
    inputs: tuple[int, ...] = (),
) -> RowFileMeta | None:
    """Write ascending unique rows as file ``number``; None, and no file, if there are none.

    ``inputs`` are the files that a merge takes them from.
    """
    writer = ContainerWriter(fs, path, MAGIC, number, interval, options.compression_level, health)
    index = _IndexBuilder()
    hashes = array("Q")
    batch: list[bytes] = []
    batch_bytes = 0
    tombstones = 0
    last_key = b""
    for keys, values in _blocks(rows, options.row_block_bytes):
        index.first_keys.append(keys[0])
        hashes.extend(map(bloom.key_hash, keys))
        tombstones += values.count(None)
        last_key = keys[-1]
        batch.append(block_bytes(keys, values))
        batch_bytes += len(batch[-1])
        if batch_bytes >= options.compress_batch_bytes:
            index.places += writer.put(batch)
            batch, batch_bytes = [], 0
        time.sleep(0)
    if not hashes:
        writer.discard()
        return None
    if batch:
        index.places += writer.put(batch)
    bits, bits_size = bloom.build(hashes)
    ((filter_offset, filter_len),) = writer.put([bits])
    counts = (len(index.places), len(hashes), tombstones, filter_offset, filter_len, bits_size)
    size = writer.finish(index.data(last_key), counts, Origin(age=age, inputs=inputs))
    return RowFileMeta(number, age, size, *interval, len(hashes))


class _IndexBuilder:
    """First key and place of each block."""

    def __init__(self) -> None:
        self.first_keys: list[bytes] = []
        self.places: list[tuple[int, int]] = []

    def data(self, last_key: bytes) -> bytes:
        ends = array("I")
        end = 0
        for key in self.first_keys:
            end += len(key)
            ends.append(end)
        head = [
            COUNT.pack(len(self.places)),
            array("Q", [offset for offset, _ in self.places]).tobytes(),
            array("I", [length for _, length in self.places]).tobytes(),
            ends.tobytes(),
            COUNT.pack(len(last_key)),
        ]
        return b"".join([*head, *self.first_keys, last_key])


class RowFile:
    """A row file that is read. Its index and filter are held; its blocks come through the cache."""

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        number: int,
        dictionaries: Mapping[int, bytes],
        cache: BlockCache,
    ) -> None:
        self.number = number
        self.path = path
        self._cache = cache
        self._container = Container(fs, path, MAGIC, number, dictionaries)
        counts = self._container.footer.counts
        self.rows = counts[1]
        self.tombstones = counts[2]
        self._bits = self._container.read(counts[3], counts[4])
        self._bits_size = counts[5]
        if self._bits_size == 0 or len(self._bits) != (self._bits_size + 7) // 8:
            raise Corruption(path, counts[3], "the filter has the wrong length")
        try:
            self._read_index(self._container.index(), counts[0])
        except (struct.error, ValueError, IndexError):
            where = self._container.footer.index_offset
            raise Corruption(path, where, "the index has the wrong length") from None

    def __del__(self) -> None:
        """Close with the last reference; one that was never opened has nothing to close."""
        container = getattr(self, "_container", None)
        if container is not None:
            container.close()

    @property
    def size(self) -> int:
        return self._container.size

    @property
    def index_bytes(self) -> int:
        """What the open file holds in memory: index and filter."""
        keys = sum([len(key) for key in self._first_keys])
        return 600 + len(self._bits) + keys + 53 * len(self._first_keys)

    def find(self, key: bytes, digest: int) -> tuple[bool, bytes | None]:
        """(is the key in this file, its value or None for a tombstone)."""
        if key > self._last_key or key < self._first_keys[0]:
            return False, None
        if not bloom.may_contain(self._bits, self._bits_size, digest):
            return False, None
        block = self._block(bisect_right(self._first_keys, key) - 1, cached=True)
        i = block.position(key)
        if i == block.n or block.key(i) != key:
            return False, None
        return True, block.value(i)

    def scan(self, start: bytes, end: bytes | None, *, cached: bool = True) -> Iterator[Row]:
        """Rows with start <= key < end, tombstones included; ``end`` None means to the last."""
        at = max(0, bisect_right(self._first_keys, start) - 1)
        stop = len(self._first_keys)
        if end is not None:
            stop = bisect_left(self._first_keys, end)
        for index in range(at, stop):
            block = self._block(index, cached=cached)
            for i in range(block.position(start) if index == at else 0, block.n):
                key = block.key(i)
                if end is not None and key >= end:
                    return
                yield key, block.value(i)

    @property
    def footer(self) -> Footer:
        """What the end of the file says."""
        return self._container.footer

    @property
    def block_places(self) -> list[tuple[int, int]]:
        """(offset, length) of each block."""
        return list(zip(self._offsets, self._lengths, strict=True))

    def block_bounds(self, i: int) -> tuple[bytes, bytes]:
        """Between which keys those of block ``i`` lie: [first, end)."""
        last = i + 1 == len(self._first_keys)
        return self._first_keys[i], self._last_key + b"\0" if last else self._first_keys[i + 1]

    def block_rows(self, i: int) -> list[Row]:
        """The rows of block ``i``, tombstones included."""
        block = self._block(i, cached=False)
        return [(block.key(at), block.value(at)) for at in range(block.n)]

    def may_hold(self, key: bytes) -> bool:
        """What the filter says of a key."""
        return bloom.may_contain(self._bits, self._bits_size, bloom.key_hash(key))

    def origin(self) -> Origin:
        """Whence the file comes."""
        return self._container.origin()

    def read_frame(self, offset: int, length: int) -> bytes:
        """What is in a frame, checked."""
        return self._container.read(offset, length)

    # -- inner parts ----------------------------------------------------------------------------

    def _read_index(self, data: bytes, blocks: int) -> None:
        n = COUNT.unpack_from(data)[0]
        if n == 0 or n != blocks:
            raise ValueError(n)
        at = COUNT.size
        self._offsets = array("Q", data[at : at + 8 * n])
        at += 8 * n
        self._lengths = array("I", data[at : at + 4 * n])
        at += 4 * n
        ends = array("I", data[at : at + 4 * n])
        at += 4 * n
        last_len = COUNT.unpack_from(data, at)[0]
        at += COUNT.size
        self._first_keys = [
            data[at + start : at + end] for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ]
        self._last_key = data[at + ends[-1] :]
        if len(self._last_key) != last_len or len(self._lengths) != n:
            raise ValueError(last_len)

    def _block(self, i: int, *, cached: bool) -> RowBlock:
        key = (self.number, self._offsets[i])
        data = self._cache.get(key) if cached else None
        if data is None:
            data = self._container.read(self._offsets[i], self._lengths[i])
            if cached:
                self._cache.put(key, data)
        try:
            return RowBlock(data)
        except (struct.error, ValueError) as error:
            raise Corruption(self.path, self._offsets[i], str(error)) from None
