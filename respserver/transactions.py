"""MULTI and WATCH: what a client has queued, and whether what it looked at has changed since.

Rules: a queued command is its bytes; it was looked up and its arity checked when it came, and the
first that was not as it should be makes EXEC refuse them all. A client's watch is dirty once a
change to one of its keys was seen (respserver/observers.py), whoever made it; a key that was there
and is gone makes it dirty, too, so that a key that is only about to be removed (it has expired)
counts.
"""

from __future__ import annotations

from respserver.waiters import Key

QUEUED_OVERHEAD_BYTES = 64
ABORTED = b"EXECABORT Transaction discarded because of previous errors."
ABORTED_BY = b"EXECABORT Transaction discarded because of: "


class Transaction:
    """The commands between MULTI and EXEC."""

    __slots__ = ("bytes_used", "commands", "failed", "record_bytes", "writes_only_to_free")

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.bytes_used = 0
        self.failed = False
        """A command was refused when it came."""
        self.record_bytes = 0
        """What the commands may log, about."""
        self.writes_only_to_free = True

    def queue(self, wire: bytes, record_bytes: int, frees: bool) -> int:
        """Take in a command; how many bytes are queued now."""
        self.commands.append(wire)
        self.bytes_used += len(wire) + QUEUED_OVERHEAD_BYTES
        self.record_bytes += record_bytes
        if record_bytes and not frees:
            self.writes_only_to_free = False
        return self.bytes_used


class Watching:
    """The keys that one client watches."""

    __slots__ = ("dirty", "keys")

    def __init__(self) -> None:
        self.keys: dict[Key, bool] = {}
        """Whether each was there when it was first watched."""
        self.dirty = False


class Watches:
    """Who watches which key."""

    def __init__(self) -> None:
        self._by_key: dict[Key, dict[Watching, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, watching: Watching, key: Key, is_there: bool) -> None:
        """Watch a key, unless it is watched already."""
        if not watching.dirty and key not in watching.keys:
            watching.keys[key] = is_there
            self._by_key.setdefault(key, {})[watching] = None

    def remove(self, watching: Watching) -> None:
        """Watch none of its keys any more."""
        for key in watching.keys:
            watchers = self._by_key[key]
            del watchers[watching]
            if not watchers:
                del self._by_key[key]
        watching.keys.clear()

    def touch(self, key: Key) -> None:
        """A key has changed."""
        for watching in list(self._by_key.get(key, ())):
            self._spoil(watching)

    def touch_database(self, db: int) -> None:
        """A database was emptied or swapped: keys that were there are not what they were."""
        for key, watchers in list(self._by_key.items()):
            if key[0] == db:
                for watching in list(watchers):
                    if watching.keys.get(key):
                        self._spoil(watching)

    def keys_of(self, db: int) -> list[bytes]:
        """The keys of a database that are watched."""
        return [name for of, name in self._by_key if of == db]

    def _spoil(self, watching: Watching) -> None:
        """One change is enough: no other needs to be seen."""
        watching.dirty = True
        self.remove(watching)
