"""Acting as a replica: the handshake, the snapshot, and the bytes that follow it.

Rules: offsets count the bytes of the command stream as the source counts them. What was read beyond
the snapshot belongs to the stream. The source is told of our offset once a second and whenever it
asks; until the snapshot is over it only hears that we are there.

Handshake: PING, REPLCONF listening-port, REPLCONF capa eof capa psync2, ``PSYNC <replid> <offset>``
(``? -1`` for a full one), answered by newlines, then ``+FULLRESYNC <replid> <offset>`` and
``$<length>`` or ``$EOF:<40 bytes>`` before the snapshot (the same 40 bytes behind it), or by
``+CONTINUE [<replid>]``. Source: the Redis documentation, and what 7.0.15 and 8.2.3 do.
"""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streams.rdb.file import RdbFile
from streams.rdb.reader import RdbError
from tools.migrate.errors import Refused, Unreachable
from tools.migrate.link import Address, CommandError, Link, encode

ACK_S: Final = 1.0
MARK_BYTES: Final = 40
SNAPSHOT_WAIT_S: Final = 600.0
LINE_BYTES_MAX: Final = 4096
NO_REPLID: Final = "?"


@dataclass(slots=True)
class Offset:
    """How far a stream of commands was applied: behind which byte, in which database."""

    replid: str
    offset: int
    db: int


class Replica:
    """A connection to a primary that takes us for a replica."""

    def __init__(
        self, address: Address, port: int = 0, others: Callable[[], None] = lambda: None
    ) -> None:
        """``port``: where we listen, for FAILOVER TO; 0: nowhere. ``others`` is called while a
        snapshot is read.
        """
        self._link = Link(address)
        self._others = others
        self.address = address
        self.at = Offset(NO_REPLID, -1, 0)
        """What was read of the stream; whoever applies it keeps its own."""
        self._data = bytearray()
        self._left = -1
        """Bytes of the snapshot still to come; -1: up to a mark."""
        self._mark = b""
        self.snapshot_bytes = 0
        """How long the snapshot is; 0: the source does not say."""
        self._told = time.monotonic()
        self.acked = 0
        """What the source may be told that we have."""
        self.streaming = False
        for words in (
            ("REPLCONF", "listening-port", port),
            ("REPLCONF", "capa", "eof", "capa", "psync2"),
        ):
            reply = self._link.ask(*words)
            if isinstance(reply, CommandError):
                raise Refused(
                    f"{address} does not take us as a replica: {reply}",
                    "--mode scan reads it as an ordinary client",
                )

    def begin(self, known: Offset | None) -> bool:
        """Ask for the stream from ``known`` on; whether it goes on there, else a snapshot comes."""
        replid, offset = (NO_REPLID, -1) if known is None else (known.replid, known.offset + 1)
        self._link.send(encode(["PSYNC", replid, offset]))
        line = self._line()
        if line.startswith(b"+CONTINUE"):
            assert known is not None
            words = line.split()
            newer = words[1].decode() if len(words) > 1 else known.replid
            self.at = Offset(newer, known.offset, known.db)
            self.acked = known.offset
            self.streaming = True
            return True
        if not line.startswith(b"+FULLRESYNC"):
            raise Refused(
                f"{self.address} gives no replication stream: {line[1:].decode(errors='replace')}",
                "--mode scan reads it as an ordinary client",
            )
        words = line.split()
        self.at = Offset(words[1].decode(), int(words[2]), 0)
        self.acked = self.at.offset
        head = self._line()
        if not head.startswith(b"$"):
            raise Unreachable(f"{self.address} sends no snapshot: {head!r}")
        if head.startswith(b"$EOF:"):
            self._mark = head[5:]
        else:
            self._left = self.snapshot_bytes = int(head[1:])
        return False

    def snapshot(self) -> RdbFile:
        """The snapshot; take all of it, then call ``end_snapshot``. Raises RdbError."""
        return RdbFile(self._read)

    def end_snapshot(self, file: RdbFile) -> None:
        """The snapshot was read to its end."""
        rest = file.rest()
        if self._mark:
            self._data = bytearray(rest) + self._data
            while len(self._data) < MARK_BYTES:
                self._data += self._link.receive()
            if bytes(self._data[:MARK_BYTES]) != self._mark:
                raise RdbError("the snapshot does not end with its mark")
            del self._data[:MARK_BYTES]
        elif rest or self._left:
            raise RdbError("the snapshot is longer than what it holds")
        self.at.db = max(0, int(file.about.get(b"repl-stream-db", b"0")))
        self.streaming = True
        self.tell()

    def _line(self) -> bytes:
        """The next line that is not empty."""
        stop = time.monotonic() + SNAPSHOT_WAIT_S
        while True:
            end = self._data.find(b"\n")
            if end >= 0:
                line = bytes(self._data[:end]).strip(b"\r")
                del self._data[: end + 1]
                if line:
                    return line
                continue
            if len(self._data) > LINE_BYTES_MAX or time.monotonic() > stop:
                raise Unreachable(f"{self.address} does not begin to replicate")
            self._data += self._link.receive()

    def _read(self, n: int) -> bytes:
        """Bytes of the snapshot."""
        self.keep_alive()
        self._others()
        if self._left == 0:
            return b""
        if self._data:
            found = bytes(self._data[:n] if self._left < 0 else self._data[: min(n, self._left)])
            del self._data[: len(found)]
        else:
            found = self._link.receive(n if self._left < 0 else min(n, self._left))
        if self._left > 0:
            self._left -= len(found)
        return found

    # ── the stream ───────────────────────────────────────────────────────────────────────────────

    def wait(self, seconds: float) -> bytes:
        """What of the stream has come, at the latest after ``seconds``; nothing, if so."""
        if self._data:
            found = bytes(self._data)
            self._data.clear()
            return found
        link = self._link.socket
        if isinstance(link, ssl.SSLSocket) and link.pending():
            return self._link.receive(1 << 20)
        ready, _, _ = select.select([link], [], [], seconds)
        return self._link.receive(1 << 20) if ready else b""

    def keep_alive(self) -> None:
        """Tell the source once a second that we are there."""
        if time.monotonic() - self._told > ACK_S:
            self.tell()

    def tell(self) -> None:
        """Tell the source how far we are."""
        self._told = time.monotonic()
        self._link.send(encode(["REPLCONF", "ACK", self.acked]) if self.streaming else b"\n")

    def close(self) -> None:
        """Leave."""
        self._link.close()
