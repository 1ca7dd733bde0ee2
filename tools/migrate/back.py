"""From respq to a Redis or Valkey: the way back.

Rules: a stream of up to ``PAYLOAD_BYTES`` goes as a payload of a type that the other server takes,
and is the same to the last field. A longer one goes as commands: its entries, with one that is
deleted again wherever a pending row has lost its own, then counters, groups, consumers and claims.
By commands nobody can say when a consumer was seen. What the other server has no place for (iids,
released entries) is brought where it has commands for it, and told where not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from streams.rdb.heads import GroupHead, StreamHead
from tools.migrate.errors import Refused
from tools.migrate.follow import info
from tools.migrate.heads import HeadReader, Moment
from tools.migrate.link import Address, Link, Word, key_pages
from tools.migrate.progress import Progress
from tools.migrate.scan import databases, entry_wire
from tools.migrate.source import Version
from tools.migrate.target import OWN_KEY, Counts, Target
from tools.migrate.wire import ID, PageSize, entries_in, id_text, name_of

PAYLOAD_BYTES: Final = 16 << 20
PAGE: Final = 1000
CLAIMS: Final = 200
TYPES: Final[tuple[tuple[Version, int], ...]] = (((7, 2), 21), ((7, 0), 19), ((5, 0), 15))
WITH_COUNTERS: Final = 19
NAME: Final = "respq-migrate-back"


def move_back(ours: Address, theirs: Address, progress: Progress, *, replace: bool) -> Counts:
    """Bring all streams and strings of a respq over. Raises MigrateError."""
    source = Link(ours, NAME)
    if source.ask("COMMAND", "INFO", "XQ.DUMP") in ([None], []):
        raise Refused(f"{ours} is no respq of this version")
    target = Target(theirs, NAME)
    told = info(target.link, "server")
    words = told.get("valkey_version") or told.get("redis_version", "0")
    version = tuple(int(word) for word in words.split(".")[:2])
    rdb_type = next((kind for since, kind in TYPES if version >= since), None)
    if rdb_type is None:
        raise Refused(f"{theirs} is of version {words}: streams came with 5.0")
    back = Back(source, target, rdb_type, progress, replace=replace)
    for db in databases(source):
        source.call("SELECT", db)
        back.database(db)
    target.settle()
    source.close()
    target.close()
    return back.counts


class Back:
    """Writes streams to another server."""

    def __init__(
        self, source: Link, target: Target, rdb_type: int, progress: Progress, *, replace: bool
    ) -> None:
        self.source = source
        self.target = target
        self.counts = Counts()
        self._rdb_type = rdb_type
        self._progress = progress
        self._replace = replace
        self._heads = HeadReader(source, exact=True)

    def database(self, db: int) -> None:
        """Bring a database over."""
        self.target.select(db)
        for keys in key_pages(self.source.call):
            for key in keys:
                if not key.startswith(OWN_KEY):
                    self._key(db, key)

    def _key(self, db: int, key: bytes) -> None:
        kind, expires_ms = self.source.pipeline([["TYPE", key], ["PEXPIRETIME", key]])
        if kind == b"none":
            return
        if not self._replace and self.target.call(db, "EXISTS", key):
            raise Refused(
                f"{self.target.address} has '{name_of(key)}' already", "--replace overwrites it"
            )
        if kind == b"string":
            value = self.source.call("GET", key)
            self.target.push("SET", key, value)
            if expires_ms > 0:
                self.target.push("PEXPIREAT", key, expires_ms)
            self.counts.strings += 1
            return
        self._progress.begin(key)
        size = self.source.ask("MEMORY", "USAGE", key)
        payload: Any = None
        moment = self._heads.moment(key, None)
        if moment is None:
            return
        if isinstance(size, int) and size <= PAYLOAD_BYTES:
            payload = self.source.ask("XQ.DUMP", key, self._rdb_type)
        if isinstance(payload, bytes):
            self.target.push(
                "RESTORE", key, moment.expires_ms, payload, "REPLACE",
                *(("ABSTTL",) if moment.expires_ms else ()),
            )  # fmt: skip
            self.counts.entries += moment.head.length
            self._progress.step(moment.head.length, len(payload))
        else:
            self._by_commands(key, moment)
        self._extras(key, moment.head)
        self.counts.streams += 1

    # ── what payloads have no place for ──────────────────────────────────────────────────────────

    def _extras(self, key: bytes, head: StreamHead) -> None:
        target = self.target
        if head.producers is not None and head.producers.iids:
            if b"XIDMPRECORD" in target.commands:
                duration_s, maxsize = head.producers.duration_s, head.producers.maxsize
                target.push("XCFGSET", key, "IDMP-DURATION", duration_s, "IDMP-MAXSIZE", maxsize)
                for pid, iids in head.producers.iids:
                    for iid, ms, seq in iids:
                        target.push("XIDMPRECORD", key, pid, iid, id_text((ms, seq)))
            else:
                self.counts.note(f"idempotent ids of '{name_of(key)}' have no place there")
        for group in head.groups:
            if not group.released:
                continue
            if b"XNACK" not in target.commands:
                self.counts.note(
                    f"released entries of '{name_of(key)}' are pending there for a consumer"
                    " without a name since the beginning of time"
                )
                continue
            counts = {row[:2]: row[4] for row in group.pending.all()}
            for id in group.released:
                words: list[Word] = ["FAIL", "IDS", 1, id_text(id), "RETRYCOUNT", counts[id]]
                target.push("XNACK", key, group.name, *words)
            if not any(one.name == b"" for one in group.consumers):
                target.push("XGROUP", "DELCONSUMER", key, group.name, "")

    # ── by commands ──────────────────────────────────────────────────────────────────────────────

    def _by_commands(self, key: bytes, moment: Moment) -> None:
        head, target = moment.head, self.target
        if self._replace:
            target.push("DEL", key)
        lost = self._entries(key, head)
        counters = self._rdb_type >= WITH_COUNTERS
        if head.length == 0 and not lost:
            target.push("XGROUP", "CREATE", key, "", "0", "MKSTREAM")
            target.push("XGROUP", "DESTROY", key, "")
        if counters:  # nobody has read more than was added
            added = max(head.entries_added, head.length + len(lost))
            target.push("XSETID", key, id_text(head.last_id), "ENTRIESADDED", added)
        for group in head.groups:
            self._group(key, group, counters=counters)
        for at in range(0, len(lost), CLAIMS):
            target.push("XDEL", key, *map(id_text, lost[at : at + CLAIMS]))
        words: list[Word] = ["XSETID", key, id_text(head.last_id)]
        if counters:
            words += ["ENTRIESADDED", head.entries_added]
            words += ["MAXDELETEDID", id_text(head.max_deleted_id)]
        target.push(*words)
        if moment.expires_ms:
            target.push("PEXPIREAT", key, moment.expires_ms)
        self.counts.note("streams that went as commands do not say when consumers were seen")

    def _entries(self, key: bytes, head: StreamHead) -> list[ID]:
        """Send the entries; the IDs of those that have to be deleted again."""
        prefix = b"$4\r\nXADD\r\n$%d\r\n%b\r\n" % (len(key), key)
        pending = sorted({row[:2] for group in head.groups for row in group.pending.all()})
        lost: list[ID] = []
        at = 0
        for entries in self._pages(key, head.last_id):
            held = {id for id, _ in entries}
            upto = entries[-1][0]
            while at < len(pending) and pending[at] <= upto:
                if pending[at] not in held:
                    lost.append(pending[at])
                    entries.append((pending[at], stand_in(pending[at])))
                at += 1
            self._send(prefix, sorted(entries))
        rest = [id for id in pending[at:] if id <= head.last_id]
        if rest:
            self._send(prefix, [(id, stand_in(id)) for id in rest])
        return lost + rest

    def _pages(self, key: bytes, upto: ID) -> Iterator[list[tuple[ID, bytes]]]:
        start = "-"
        size = PageSize(PAGE)
        while True:
            n, wire, last = self.source.entries(
                "XRANGE", key, start, id_text(upto), "COUNT", size.entries
            )
            if last is None:
                return
            size.after(n, len(wire))
            yield entries_in(wire)
            self.counts.entries += n
            self._progress.step(n, len(wire))
            start = f"({id_text(last)}"

    def _send(self, prefix: bytes, entries: list[tuple[ID, bytes]]) -> None:
        parts: list[bytes] = []
        for id, entry in entries:
            text = b"%d-%d" % id
            head = 4 + id_bytes(text)  # where the number of words stands
            stop = entry.index(b"\r\n", head)
            words = int(entry[head + 1 : stop]) + 3
            parts.append(b"*%d\r\n%b%b%b" % (words, prefix, entry[4:head], entry[stop + 2 :]))
        self.target.push_bytes(b"".join(parts), len(parts))

    def _group(self, key: bytes, group: GroupHead, *, counters: bool) -> None:
        target = self.target
        words: list[Word] = ["XGROUP", "CREATE", key, group.name, id_text(group.last_id)]
        if counters and group.entries_read is not None and group.entries_read >= 0:
            words += ["ENTRIESREAD", group.entries_read]
        target.push(*words)
        names = [b"", *[one.name for one in group.consumers]]
        for name in names[1:]:
            target.push("XGROUP", "CREATECONSUMER", key, group.name, name)
        rows = sorted(group.pending.all(), key=lambda row: (row[2:], row[:2]))
        for (cidx, delivered_ms, count), same in groupby(rows, key=lambda row: row[2:]):
            ids = [id_text(row[:2]) for row in same]
            for at in range(0, len(ids), CLAIMS):
                target.push(
                    "XCLAIM", key, group.name, names[cidx], 0, *ids[at : at + CLAIMS],
                    "TIME", delivered_ms, "RETRYCOUNT", count, "FORCE", "JUSTID",
                )  # fmt: skip


def id_bytes(text: bytes) -> int:
    """How long an ID is as a bulk string."""
    return 5 + len(b"%d" % len(text)) + len(text)


def stand_in(id: ID) -> bytes:
    """An entry in the place of one that was deleted."""
    return entry_wire(b"%d-%d" % id, [b"", b""])
