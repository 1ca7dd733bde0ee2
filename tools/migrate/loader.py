"""Puts the keys of a snapshot into the target, one after the other.

Rules: a stream's entries come first, node by node, then its head in one command, so whoever is
interrupted finds a stream that is a beginning. What the target has already is proven and passed
over (proof.py). Times to live are held back until the source was caught up with: a key that the
source keeps alive by setting its time again and again must not expire here in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import xxhash

from streams.entrycheck import whole_entries
from streams.rdb.file import OtherValue, RdbFile, StreamValue, StringValue
from streams.rdb.heads import StreamHead
from streams.rdb.headwriter import head_payload
from streams.rdb.rows import Node
from tools.migrate.compare import Excuses, group_differences
from tools.migrate.errors import Conflict, Refused
from tools.migrate.heads import read_payload
from tools.migrate.link import CommandError, key_pages
from tools.migrate.progress import Progress
from tools.migrate.proof import Proof, target_end
from tools.migrate.target import OWN_KEY, Counts, Target
from tools.migrate.wire import ID, id_text, name_of

FOREIGN: Final = b":foreign"
"""The mark that names the keys which are not the source's."""
REPLACE_HINT: Final = "--replace, if the target may be overwritten"
Place = tuple[int, bytes]


@dataclass(slots=True)
class Policy:
    """What may be done with what the target has."""

    fresh: bool
    """The target is empty: nobody needs to look."""
    owned: bool
    """The target is a copy of this source, of an earlier time."""
    replace: bool
    """The target may be overwritten."""
    resumed: bool
    """The target was filled from this source before."""
    drops: bool
    """All that the target has came from this source."""
    remake: set[Place] = field(default_factory=set)
    """Keys to be deleted before they are loaded."""
    foreign: set[int] = field(default_factory=set)
    """Hashes of keys that the target had and that were not proven to be the source's since."""

    def is_foreign(self, db: int, key: bytes) -> bool:
        """Whether a key of the target is somebody else's."""
        return bool(self.foreign) and place_hash(db, key) in self.foreign

    def adopt(self, db: int, key: bytes) -> None:
        """A key is the source's from now on."""
        if self.foreign:
            self.foreign.discard(place_hash(db, key))

    def mark(self) -> dict[str, Any]:
        """What is remembered of it in the target."""
        return {"keys": sorted(self.foreign)}


def place_hash(db: int, key: bytes) -> int:
    """What a key is remembered by."""
    return xxhash.xxh3_64_intdigest(b"%d:%b" % (db, key))


class Loader:
    """Loads keys. ``lives``: times to live that are held back, by database and key."""

    def __init__(self, target: Target, counts: Counts, progress: Progress, policy: Policy) -> None:
        self.target = target
        self.counts = counts
        self.progress = progress
        self.policy = policy
        self.lives: dict[Place, int] = {}
        self._file: RdbFile | None = None
        self.conflicts: set[Place] = set()
        """Streams of a copy that must be made anew: the snapshot has to come once more."""
        self.seen: set[int] = set()
        """Hashes of the keys that came, where others must be found."""

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self, file: RdbFile, size: int = 0) -> None:
        """Load all of a file, of so many bytes (0: nobody knows)."""
        self._file = file
        self.progress.done, self.progress.size = 0, size
        for value in file:
            key = value.key
            if not isinstance(value, OtherValue) and not self.policy.fresh:
                self.seen.add(hash((key.db, key.name)))
            if isinstance(value, StreamValue):
                self.stream(key.db, key.name, value, value.head, key.expires_ms)
            elif isinstance(value, StringValue):
                self.string(key.db, key.name, value.value, key.expires_ms)
            else:
                self.counts.add_other(value.kind, key.name)
        if file.functions:
            self.counts.add_other("function library", b"%d of them" % file.functions)
        self.target.settle()
        save_foreign(self.target, self.policy)

    def stream(
        self,
        db: int,
        key: bytes,
        nodes: Iterable[Node],
        head: Callable[[], StreamHead],
        expires_ms: int,
    ) -> None:
        """Load a stream. ``head``: gives the StreamHead once all nodes were taken.

        Raises Refused where the target has another and may not be overwritten.
        """
        try:
            self._stream(db, key, nodes, head, expires_ms)
        except Conflict as conflict:
            if not self.policy.owned:
                raise differs(db, key, str(conflict)) from None
            self.conflicts.add((db, key))

    def _stream(
        self,
        db: int,
        key: bytes,
        nodes: Iterable[Node],
        head: Callable[[], StreamHead],
        expires_ms: int,
    ) -> None:
        target = self.target
        target.select(db)
        self.progress.begin(key)
        proof = self._proof(db, key)
        held = foreign_head(target, self.policy, db, key) if proof is not None else None
        after: ID | None = (0, 0) if proof is None else None
        for node in nodes:
            rest: Node | None = node
            if proof is not None:
                rest = proof.take(node)
            if rest is None:
                continue
            if after is None:
                target.settle()
                after = target_end(target, db, key)
            _, _, last = whole_entries(rest.wire, 0, len(rest.wire), rest.entries)
            target.push("XQ.LOAD", key, id_text(after), rest.wire, "NODE", *rest.deleted)
            assert last is not None
            after = last
            self._count(rest.entries - len(rest.deleted), len(rest.wire))
        if proof is not None:
            proof.end()
            self.counts.proven += proof.proven
        found = head()
        if held is not None:
            must_not_go_back(db, key, found, held)
        self.policy.adopt(db, key)
        target.push("XQ.LOADHEAD", key, head_payload(found))
        self.counts.streams += 1
        self._expire(db, key, expires_ms)

    def string(self, db: int, key: bytes, value: bytes, expires_ms: int) -> None:
        """Load a string."""
        target = self.target
        target.select(db)
        if self.policy.is_foreign(db, key) and not self.policy.replace:
            held = target.ask(db, "GET", key)
            if isinstance(held, CommandError) or held not in (None, value):
                raise differs(db, key, "it holds something else")
        self.policy.adopt(db, key)
        target.push("SET", key, value)
        self.counts.strings += 1
        self.progress.step(0, len(value))
        self._expire(db, key, expires_ms)

    def _proof(self, db: int, key: bytes) -> Proof | None:
        """What the target has of a stream; None: nothing, or nothing any more."""
        if self.policy.fresh:
            return None
        target = self.target
        kind = target.call(db, "TYPE", key)
        if kind == b"none":
            return None
        if (db, key) in self.policy.remake or (self.policy.replace and not self.policy.owned):
            target.push("DEL", key)
            return None
        if kind != b"stream":
            raise Conflict(db, key, f"it is a {kind.decode()}")
        target.push("PERSIST", key)  # it must not expire while it grows
        return Proof(target, db, key, may_delete=self.policy.owned)

    def _expire(self, db: int, key: bytes, expires_ms: int) -> None:
        if expires_ms:
            self.lives[db, key] = expires_ms

    def _count(self, entries: int, n_bytes: int) -> None:
        if self._file is not None:
            self.progress.done = self._file.offset
        self.counts.entries += entries
        self.counts.n_bytes += n_bytes
        self.progress.step(entries, n_bytes)

    # ── afterwards ───────────────────────────────────────────────────────────────────────────────

    def set_lives(self) -> None:
        """Set the times to live that were held back."""
        for (db, key), expires_ms in self.lives.items():
            self.target.select(db)
            self.target.push("PEXPIREAT", key, expires_ms)
        self.lives.clear()
        self.target.settle()

    def drop_others(self) -> None:
        """Delete what the target has and the snapshot had not. REQUIRES: the target is a copy."""
        target = self.target
        drop(target, lambda db, key: hash((db, key)) in self.seen)


def drop(target: Target, is_kept: Callable[[int, bytes], bool]) -> set[Place]:
    """Delete the keys of the target that are not kept; which they were."""
    gone: set[Place] = set()
    for db in target.dbs():
        for keys in key_pages(partial(target.call, db)):
            for key in keys:
                if not is_kept(db, key) and not (db == 0 and key.startswith(OWN_KEY)):
                    target.push("DEL", key)
                    gone.add((db, key))
            target.settle()
    return gone


def foreign_head(target: Target, policy: Policy, db: int, key: bytes) -> StreamHead | None:
    """The head of a stream of the target that must not be overwritten."""
    if policy.replace or not policy.is_foreign(db, key):
        return None
    payload = target.ask(db, "XQ.HEAD", key)
    return read_payload(payload) if isinstance(payload, bytes) else None


def must_not_go_back(db: int, key: bytes, head: StreamHead, held: StreamHead) -> None:
    """Hold the head that comes against the one that is there. Raises Refused."""
    if (head.last_id, head.max_deleted_id, head.entries_added) == (
        max(head.last_id, held.last_id),
        max(head.max_deleted_id, held.max_deleted_id),
        max(head.entries_added, held.entries_added),
    ):
        groups = {group.name: group for group in head.groups}
        for group in held.groups:
            if group.name not in groups:
                raise differs(db, key, f"group {name_of(group.name)} is not in the source")
            excuses = Excuses(times=True)  # which not every source tells
            what = next(group_differences(groups[group.name], group, excuses), "")
            if what:
                raise differs(db, key, f"group {name_of(group.name)}: {what}")
    else:
        raise differs(db, key, "its counters are ahead of the source's")


def save_foreign(target: Target, policy: Policy) -> None:
    """Remember in the target which of its keys are somebody else's."""
    if target.mark(FOREIGN) is not None:
        target.put_mark(FOREIGN, policy.mark())


def differs(db: int, key: bytes, what: str) -> Refused:
    """The target has something else under a key."""
    name = name_of(key)
    return Refused(f"the target has another '{name}' in database {db}: {what}", REPLACE_HINT)
