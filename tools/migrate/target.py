"""Writing the target: many commands in flight, few bytes, and every reply looked at.

Rules: a write is pushed and its reply read later; ``settle`` waits for all of them. The first reply
that is an error ends the migration, unless the push said what is to be done with it. What is in
flight is bounded by bytes and by number, so a slow target slows the source down.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tools.migrate.errors import MigrateError, Refused
from tools.migrate.link import Address, CommandError, Link, Word, encode, key_pages
from tools.migrate.wire import name_of

BUFFER_BYTES: Final = 1 << 18
FLIGHT_BYTES: Final = 4 << 20
FLIGHT_COMMANDS: Final = 4000
FULL: Final = ("OOM", "MISCONF")
OWN_KEY: Final = b"respq:migrate"
"""The key of the target that says how far a migration is, while there is one."""

OnReply = Callable[[Any], None]


@dataclass(slots=True)
class Flying:
    """A command whose reply is not here yet."""

    n_bytes: int
    replies: int
    on_reply: OnReply | None


@dataclass(slots=True)
class Counts:
    """What was carried and what was not."""

    streams: int = 0
    entries: int = 0
    n_bytes: int = 0
    strings: int = 0
    proven: int = 0
    """Entries that the target had already."""
    commands: int = 0
    others: dict[str, int] = field(default_factory=dict)
    """Keys of other types, by type."""
    named: list[str] = field(default_factory=list)
    """Some of their names."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Commands on what is not carried, by name."""
    refused: dict[str, int] = field(default_factory=dict)
    """Commands that the target answered with an error, by what it said."""
    notes: list[str] = field(default_factory=list)

    def add_other(self, kind: str, key: bytes) -> None:
        """A key of another type."""
        self.others[kind] = self.others.get(kind, 0) + 1
        if len(self.named) < NAMED_MAX:
            self.named.append(f"{name_of(key)} ({kind})")

    def note(self, line: str) -> None:
        """Something to be told at the end, once."""
        if line not in self.notes:
            self.notes.append(line)


NAMED_MAX: Final = 20


class Target:
    """The server that takes everything in."""

    def __init__(self, address: Address, name: str) -> None:
        self.link = Link(address, name)
        self.address = address
        self._db = 0
        self._buffer: list[bytes] = []
        self._buffer_bytes = 0
        self._flying: deque[Flying] = deque()
        self._flying_bytes = 0
        self._flying_commands = 0
        found = self.link.ask("COMMAND", "LIST")
        if isinstance(found, CommandError):  # before 7.0
            found = [info[0] for info in self.link.call("COMMAND")]
        self.commands = frozenset(name.upper() for name in found)

    @property
    def is_respq(self) -> bool:
        """Whether it has the commands of respq's own."""
        return b"XQ.LOAD" in self.commands

    def need_respq(self) -> None:
        """Refuse a target that cannot take what is carried."""
        if not self.is_respq:
            raise Refused(
                f"the target {self.address} is no respq of this version",
                "respq serve --port 6380, then -u redis://127.0.0.1:6380",
            )

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def select(self, db: int) -> None:
        """What is pushed from now on is for this database."""
        if db != self._db:
            self._db = db
            self.push("SELECT", db)

    def forget_db(self) -> None:
        """What was pushed as bytes has left another database."""
        self._db = 0

    def push(self, *words: Word, on_reply: OnReply | None = None) -> None:
        """Send a command soon; its reply is looked at later."""
        self.push_bytes(encode(words), 1, on_reply)

    def push_bytes(self, data: bytes, replies: int, on_reply: OnReply | None = None) -> None:
        """``push`` what is encoded; the last of its replies is looked at, the others must be +."""
        self._buffer.append(data)
        self._buffer_bytes += len(data)
        self._flying.append(Flying(len(data), replies, on_reply))
        self._flying_bytes += len(data)
        self._flying_commands += replies
        if self._buffer_bytes >= BUFFER_BYTES:
            self.flush()
        if self._flying_bytes > FLIGHT_BYTES or self._flying_commands > FLIGHT_COMMANDS:
            self.flush()
            while (
                self._flying_bytes > FLIGHT_BYTES // 2
                or self._flying_commands > FLIGHT_COMMANDS // 2
            ):
                self._land()

    def flush(self) -> None:
        """Hand over what was pushed."""
        if self._buffer:
            data = b"".join(self._buffer)
            self._buffer.clear()
            self._buffer_bytes = 0
            self.link.send(data)

    def settle(self) -> None:
        """All that was pushed has been answered. Raises MigrateError."""
        self.flush()
        while self._flying:
            self._land()

    def _land(self) -> None:
        flying = self._flying.popleft()
        self._flying_bytes -= flying.n_bytes
        self._flying_commands -= flying.replies
        error: CommandError | None = None
        reply: Any = None
        for _ in range(flying.replies):
            reply = self.link.read()
            if isinstance(reply, CommandError) and error is None:
                error = reply
        if flying.on_reply is not None:
            flying.on_reply(error or reply)
        elif error is not None:
            raise failure(self.address, error)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────

    def ask(self, db: int, *words: Word) -> Any:
        """The reply to one command; an error is returned."""
        self.select(db)
        self.settle()
        return self.link.ask(*words)

    def call(self, db: int, *words: Word) -> Any:
        """The reply to one command. Raises CommandError."""
        self.select(db)
        self.settle()
        return self.link.call(*words)

    def entries(self, db: int, *words: Word) -> tuple[int, bytes, tuple[int, int] | None]:
        """``Link.entries``."""
        self.select(db)
        self.settle()
        return self.link.entries(*words)

    def dbs(self) -> dict[int, int]:
        """How many keys each database has, our own not counted."""
        self.settle()
        found: dict[int, int] = {}
        for line in bytes(self.link.call("INFO", "keyspace")).split(b"\r\n"):
            if line.startswith(b"db"):
                name, _, rest = line.partition(b":")
                found[int(name[2:])] = int(rest.split(b",")[0].split(b"=")[1])
        own = sum(1 for _ in self.own_keys())
        if 0 in found:
            found[0] -= own
            if found[0] <= 0:
                del found[0]
        return found

    def own_keys(self) -> list[bytes]:
        """The keys of this tool in the target."""
        self.select(0)
        self.settle()
        pages = key_pages(self.link.call, "MATCH", OWN_KEY + b"*")
        return sorted({key for keys in pages for key in keys})

    # ── marks ────────────────────────────────────────────────────────────────────────────────────

    def mark(self, name: bytes) -> dict[str, Any] | None:
        """What was written under this name by ``put_mark``."""
        text = self.call(0, "GET", OWN_KEY + name)
        return None if text is None else dict(json.loads(text))

    def put_mark(self, name: bytes, value: dict[str, Any]) -> None:
        """Remember something with the target."""
        self.call(0, *mark_words(name, value))

    def close(self) -> None:
        """Close the connection."""
        self.link.close()


def mark_words(name: bytes, value: dict[str, Any]) -> Iterable[Word]:
    """The command that remembers something."""
    return [b"SET", OWN_KEY + name, json.dumps(value, separators=(",", ":")).encode()]


def failure(address: Address, error: CommandError) -> MigrateError:
    """What an error reply of the target means."""
    text = str(error)
    if text.startswith(FULL) or "disk" in text:
        return Refused(
            f"the target {address} takes no more: {text}",
            "give it room, then run the same command again: it goes on where it was",
        )
    return Refused(f"the target {address} refused: {text}", f"respq cli -u {address} PING")
