"""Who keeps a stream: one interface for our store and for those beside it.

Rules of a keeper:

1. It keeps one stream in a directory of its own. ``prepare`` makes of entries what its storage
   calls take; that is never timed. ``add`` is: it takes a group and is durable when it returns.
2. ``read`` answers as XRANGE does, in RESP: that is what a server needs from its store.
3. After ``settle`` everything is flushed and compacted as far as the keeper compacts at all.
4. ``disk_bytes`` are the files that hold entries: no log, no manifest.
"""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from lsmstore.options import KIB, StoreOptions
from tools.bench.store.feeder import Prepared
from tools.bench.store.node import MEMORY_BUDGET_BYTES, Node
from tools.bench.store.shapes import Entry

KEY: Final = b"stream"
READ_AT_ONCE: Final = 1000
ID_MAX: Final = (1 << 64) - 1
EARLY: Final = StoreOptions(graduate_bytes=4 * KIB, large_run_bytes=KIB)
"""A stream gets segments of its own with the first flush, not once it has 64 MiB in shared ones."""


class Unfaithful(Exception):
    """A store did not give back what it was given: no figure of it counts."""


def wire(entry: Entry) -> bytes:
    """An entry as XRANGE sends it."""
    id = b"%d-%d" % (entry.ms, entry.seq)
    head = b"*2\r\n$%d\r\n%b\r\n*%d\r\n" % (len(id), id, len(entry.fields))
    return head + bulks(entry.fields)


def bulks(fields: Sequence[bytes]) -> bytes:
    """Strings as bulk strings."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(one), one) for one in fields])


def file_bytes(directory: Path, *suffixes: str) -> int:
    """Bytes of the files below a directory whose names end so."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.name.endswith(suffixes))


@contextmanager
def quiet_collector() -> Iterator[None]:
    """No garbage collection while something is timed: prepared entries are many objects."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


class Keeper(ABC):
    """A store with one stream in it."""

    name: str
    durability: str

    @abstractmethod
    def prepare(self, entries: Sequence[Entry]) -> list[Any]:
        """What ``add`` takes."""

    @abstractmethod
    def add(self, group: list[Any]) -> None:
        """Store a group of entries; durable when this returns."""

    @abstractmethod
    def read(self, ms: int, seq: int, count: int) -> tuple[int, bytes]:
        """How many entries from ``ms-seq`` on, at most ``count``, and them as XRANGE sends them."""

    @abstractmethod
    def trim(self, length: int) -> int:
        """Keep the newest ``length`` entries, as XTRIM MAXLEN does, durably; how many went."""

    @abstractmethod
    def settle(self) -> None:
        """Flush and compact."""

    @abstractmethod
    def forget(self) -> None:
        """From now on, no block of entries stays in memory; the system caches the files."""

    @abstractmethod
    def disk_bytes(self) -> int:
        """Files that hold entries."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back but the files."""

    def fill(self, entries: Sequence[Entry], group: int) -> None:
        """Add entries in groups."""
        for start in range(0, len(entries), group):
            self.add(self.prepare(entries[start : start + group]))

    def check(self, entries: Sequence[Entry]) -> None:
        """See that what is kept is exactly ``entries``."""
        ms = seq = 0
        seen = 0
        while True:
            count, reply = self.read(ms, seq, READ_AT_ONCE)
            expected = entries[seen : seen + READ_AT_ONCE]
            if count != len(expected) or reply != b"".join([wire(entry) for entry in expected]):
                raise Unfaithful(f"{self.name}: entries from number {seen} on differ")
            if not expected:
                return
            seen += count
            ms, seq = expected[-1].ms, expected[-1].seq + 1


class Respq(Keeper):
    """Our store, as a node uses it."""

    name = "respq"
    durability = "log frame and fdatasync a group"

    def __init__(
        self,
        directory: Path,
        *,
        options: StoreOptions | None = None,
        memory_budget: int = MEMORY_BUDGET_BYTES,
        merges: bool = True,
    ) -> None:
        self._path = str(directory / "respq")
        self._budget = memory_budget
        self.node = Node(self._path, options=options, memory_budget=memory_budget, merges=merges)
        self._stream = self.node.stream(KEY)

    def prepare(self, entries: Sequence[Entry]) -> list[Any]:
        return self.prepared(entries)

    @staticmethod
    def prepared(entries: Sequence[Entry]) -> list[Prepared]:
        """Entries as the journal takes them."""
        return [
            (one.ms, one.seq, bulks(one.fields), len(one.fields), sum(map(len, one.fields)))
            for one in entries
        ]

    def add(self, group: list[Any]) -> None:
        self.node.add(self._stream, group)

    def read(self, ms: int, seq: int, count: int) -> tuple[int, bytes]:
        return self._stream.slice((ms, seq), (ID_MAX, ID_MAX), count, False)

    def trim(self, length: int) -> int:
        return self.node.trim(self._stream, length)

    def settle(self) -> None:
        self.node.flush()

    def forget(self) -> None:
        self.node.forget_blocks()
        self._stream = self.node.stream(KEY)

    def seal(self) -> None:
        """Merge the stream into segments of its own, as it is merged once it is large enough."""
        self.close()
        self.node = Node(self._path, options=EARLY, memory_budget=self._budget)
        self.node.settle()
        self._stream = self.node.stream(KEY)
        own = self.node.store.stats()["segments_of_one_stream"]
        if own == 0:
            raise Unfaithful("respq: the stream did not get segments of its own")

    def disk_bytes(self) -> int:
        return file_bytes(Path(self._path, "seg"), ".seg")

    def manifest_bytes(self) -> int:
        """The manifest, in which the dictionaries are."""
        return sum(path.stat().st_size for path in Path(self._path).glob("MANIFEST-*"))

    def close(self) -> None:
        self.node.close()
