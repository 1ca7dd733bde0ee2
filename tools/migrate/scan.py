"""A server as an ordinary client sees it: pages of entries, and each stream's head at a moment.

Rules: entries come in pages, so neither side holds a stream; then what is new and the head are read
in one transaction, and the target takes the head only if it has as many entries as the head says.
Where it has more, the source deleted or trimmed some: they are found by windows and deleted. A pass
looks at every key; passes are repeated, the last one while writers are paused.

One page is in flight. Where the source answers twice as slowly as at its best, we wait as long as
it took.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from streams.rdb.heads import StreamHead
from streams.rdb.headwriter import head_payload
from tools.migrate.errors import Conflict, Differs
from tools.migrate.follow import info
from tools.migrate.heads import TAIL_ENTRIES, HeadReader, Moment, pairs
from tools.migrate.link import Address, CommandError, Link, Word, key_pages
from tools.migrate.loader import (
    Place,
    Policy,
    differs,
    foreign_head,
    must_not_go_back,
    save_foreign,
)
from tools.migrate.progress import Progress
from tools.migrate.proof import DELETE_MAX, target_end
from tools.migrate.target import OWN_KEY, Counts, Target, failure
from tools.migrate.wire import ID, PageSize, entries_in, id_text

PAGE_ENTRIES: Final = 1000
WATCHED_MAX: Final = 500  # streams that one blocking read waits for
WINDOW_ENTRIES: Final = 1024
TRIES_MAX: Final = 10
ROWS_PER_S: Final = 300_000
"""Pending rows that are certainly read and loaded in a second."""
TORN: Final = "pending rows of large groups are exact once writers are paused (cutover)"
SLOW_S: Final = 0.002
REST_MAX_S: Final = 0.5


class Gentle:
    """Lets a slow source rest."""

    def __init__(self) -> None:
        self._best_s = 60.0

    def after(self, took_s: float) -> None:
        """A page took so long."""
        self._best_s = min(self._best_s * 1.001, took_s)
        if took_s > max(2 * self._best_s, SLOW_S):
            time.sleep(min(took_s - self._best_s, REST_MAX_S))


class Scanner:
    """Moves the keys of one server, pass by pass. ``exact``: it is a respq."""

    def __init__(
        self,
        address: Address,
        target: Target,
        counts: Counts,
        progress: Progress,
        policy: Policy,
        *,
        exact: bool,
        alone: bool = True,
    ) -> None:
        self.link = Link(address)
        self.target = target
        self.counts = counts
        self.progress = progress
        self._policy = policy
        self._heads = HeadReader(self.link, exact=exact)
        self._exact = exact
        self._alone = alone
        self._ends: dict[Place, ID] = {}
        self._held: dict[Place, StreamHead] = {}
        """Heads of the target that must not be overwritten by others."""
        self._texts: dict[Place, tuple[Any, int]] = {}
        self._gentle = Gentle()
        self._size = PageSize(PAGE_ENTRIES)
        self.paused = False
        self.passes = 0

    def run(self) -> set[Place]:
        """One pass over all keys; which there were."""
        self.progress.phase = "scan" if self.passes == 0 else "tail"
        seen: set[Place] = set()
        dbs = databases(self.link)
        self.progress.done, self.progress.size = 0, sum(dbs.values())
        for db in dbs:
            self._select(db)
            for keys in self._keys():
                kinds = self.link.pipeline([["TYPE", key] for key in keys])
                streams = [key for key, kind in zip(keys, kinds, strict=True) if kind == b"stream"]
                strings = [key for key, kind in zip(keys, kinds, strict=True) if kind == b"string"]
                for key in streams:
                    seen.add((db, key))
                    self.stream(db, key)
                    self.progress.done += 1
                seen.update((db, key) for key in strings)
                self.progress.done += len(keys) - len(streams)
                self._strings(db, strings)
                for key, kind in zip(keys, kinds, strict=True):
                    if kind not in (b"stream", b"string", b"none") and not self.passes:
                        self.counts.add_other(kind.decode(), key)
        self.target.settle()
        if not self.passes:
            save_foreign(self.target, self._policy)
        self.passes += 1
        if self._heads.torn and not self.paused:
            self.counts.note(TORN)
        return seen

    def _select(self, db: int) -> None:
        if self._alone or db:
            self.link.call("SELECT", db)

    def _keys(self) -> Iterator[list[bytes]]:
        for keys in key_pages(self.link.call):
            if keys:
                yield [key for key in dict.fromkeys(keys) if not key.startswith(OWN_KEY)]

    # ── streams ──────────────────────────────────────────────────────────────────────────────────

    def stream(self, db: int, key: bytes) -> None:
        """Bring one stream up to now."""
        self.progress.begin(key)
        self._size = PageSize(PAGE_ENTRIES)
        for tries in range(TRIES_MAX):
            try:
                self._stream(db, key)
                return
            except Conflict as conflict:
                if not (self._policy.owned or self._policy.replace or (db, key) in self._ends):
                    raise differs(db, key, str(conflict)) from None
                self.target.call(db, "DEL", key)
                self._ends.pop((db, key), None)
                if tries == TRIES_MAX - 1:
                    raise Differs(f"{key!r} does not hold still: {conflict}") from None

    def _stream(self, db: int, key: bytes) -> None:
        place = (db, key)
        last = self._ends.get(place)
        if last is None:
            last = self._known(db, key)
        while True:
            last, full = self._page(db, key, last)
            if not full:
                break
        for _ in range(TRIES_MAX):
            moment = self._heads.moment(key, last)
            if moment is None:
                return
            last = self._append(db, key, moment, last)
            self._ends[place] = last
            if self._fits(db, key, moment):
                self._finish(db, key, moment)
                return
            more = len(moment.tail) == TAIL_ENTRIES
            while more:
                last, more = self._page(db, key, last)
        raise Conflict(db, key, "it is changed faster than it is read")

    def _known(self, db: int, key: bytes) -> ID:
        """The last entry that the target has, once it is proven to be the source's, too."""
        if self._policy.fresh and not self.passes:
            return (0, 0)
        kind = self.target.call(db, "TYPE", key)
        if kind == b"none":
            return (0, 0)
        if kind != b"stream" or (self._policy.replace and not self._policy.owned):
            raise Conflict(db, key, f"it is a {kind.decode()}")
        last = target_end(self.target, db, key)
        held = foreign_head(self.target, self._policy, db, key)
        if held is not None:
            self._held[db, key] = held
        if last != (0, 0):
            self._windows(db, key, last, delete=self._policy.owned)
        return last

    def _page(self, db: int, key: bytes, last: ID) -> tuple[ID, bool]:
        """Move a page of entries; the last ID, and whether more may follow."""
        began_s = time.monotonic()
        start = "-" if last == (0, 0) else f"({id_text(last)}"
        try:
            asked = self._size.entries
            n, wire, end = self.link.entries("XRANGE", key, start, "+", "COUNT", asked)
        except CommandError as error:
            raise Conflict(db, key, str(error)) from None
        self._gentle.after(time.monotonic() - began_s)
        if end is None:
            return last, False
        self._load(db, key, last, wire, n)
        self._size.after(n, len(wire))
        return end, n == asked

    def _load(self, db: int, key: bytes, after: ID, wire: bytes, n: int) -> None:
        def landed(reply: Any) -> None:
            if isinstance(reply, CommandError):
                if b"ends with" in str(reply).encode():
                    raise Conflict(db, key, str(reply))
                raise failure(self.target.address, reply)

        self.target.select(db)
        self.target.push("XQ.LOAD", key, id_text(after), wire, on_reply=landed)
        self.counts.entries += n
        self.counts.n_bytes += len(wire)
        self.progress.step(n, len(wire))

    def _append(self, db: int, key: bytes, moment: Moment, last: ID) -> ID:
        """Load what came with a head."""
        if not moment.tail:
            return last
        wire = b"".join([entry_wire(id, fields) for id, fields in moment.tail])
        self._load(db, key, last, wire, len(moment.tail))
        return entries_in(wire)[-1][0]

    def _fits(self, db: int, key: bytes, moment: Moment) -> bool:
        """Whether the target has the entries of a moment; deletes what it has too much."""
        for again in range(2):
            have = self.target.call(db, "XLEN", key)
            if have == moment.head.length:
                return True
            if have < moment.head.length:
                return False
            if again == 0:
                _, _, first = self.link.entries("XRANGE", key, "-", "+", "COUNT", 1)
                if first is not None:
                    self.target.call(db, "XTRIM", key, "MINID", id_text(first))
        self._windows(db, key, moment.head.last_id, delete=True)
        return bool(self.target.call(db, "XLEN", key) == moment.head.length)

    def _windows(self, db: int, key: bytes, upto: ID, *, delete: bool) -> None:
        """Hold all entries up to ``upto`` against the source. Raises Conflict."""
        start, at = "-", (0, 0)
        size = PageSize(WINDOW_ENTRIES)
        while at < upto:
            asked = size.entries
            n, ours, last = self.link.entries("XRANGE", key, start, "+", "COUNT", asked)
            size.after(n, len(ours))
            end = upto if last is None or n < asked or last > upto else last
            if end == upto and last is not None and last > upto:
                ours = b"".join([entry for id, entry in entries_in(ours) if id <= upto])
            held, theirs, _ = self.target.entries(db, "XRANGE", key, start, id_text(end))
            if ours != theirs:
                self._reconcile(db, key, ours, theirs, delete=delete)
            self.counts.proven += held
            at, start = end, f"({id_text(end)}"

    def _reconcile(self, db: int, key: bytes, ours: bytes, theirs: bytes, *, delete: bool) -> None:
        wanted = dict(entries_in(ours))
        held = dict(entries_in(theirs))
        for id, entry in wanted.items():
            if held.get(id) != entry:
                raise Conflict(db, key, f"entry {id_text(id)} is missing or another")
        doomed = [id_text(id) for id in held if id not in wanted]
        if doomed and not delete:
            raise Conflict(db, key, f"entry {doomed[0]} is not in the source")
        for at in range(0, len(doomed), DELETE_MAX):
            self.target.push("XDEL", key, *doomed[at : at + DELETE_MAX])

    def _finish(self, db: int, key: bytes, moment: Moment) -> None:
        target = self.target
        target.select(db)
        payload = moment.payload or head_payload(moment.head)
        if self.passes and self._texts.get((db, key)) == (payload, moment.expires_ms):
            return
        held = self._held.pop((db, key), None)
        if held is not None:
            must_not_go_back(db, key, moment.head, held)
        self._policy.adopt(db, key)
        target.push("XQ.LOADHEAD", key, payload)
        if moment.payload is not None:
            for group in moment.head.groups:
                self._policy_of(key, group.name)
        if moment.expires_ms:
            target.push("PEXPIREAT", key, moment.expires_ms)
        else:
            target.push("PERSIST", key)
        if not self.passes:
            self.counts.streams += 1
        if len(payload) < 1024:
            self._texts[db, key] = (payload, moment.expires_ms)

    def _policy_of(self, key: bytes, group: bytes) -> None:
        told = self.link.ask("XQ.GROUP", "GET", key, group)
        if isinstance(told, list) and told[1] is not None:
            self.target.push("XQ.GROUP", "SET", key, group, "IDLE-TIMEOUT", told[1])

    # ── other keys ───────────────────────────────────────────────────────────────────────────────

    def _strings(self, db: int, keys: list[bytes]) -> None:
        if not keys:
            return
        asked: list[list[Word]] = [
            [word, key] for key in keys for word in ("GET", self._heads.life_word)
        ]
        replies = self.link.pipeline([["TIME"], *asked])
        for place, key in enumerate(keys):
            value, told_ms = replies[1 + 2 * place : 3 + 2 * place]
            if not isinstance(value, bytes):
                continue
            before = self._texts.get((db, key))
            expires_ms = self._heads.expiry(told_ms, replies[0])
            kept = hash(value)
            if before is not None and before[0] == kept and abs(before[1] - expires_ms) < 5:
                continue
            policy = self._policy
            if before is None and policy.is_foreign(db, key) and not policy.replace:
                held = self.target.ask(db, "GET", key)
                if isinstance(held, CommandError) or held not in (None, value):
                    raise differs(db, key, "it holds something else")
            self._policy.adopt(db, key)
            self.target.select(db)
            self.target.push("SET", key, value)
            if expires_ms:
                self.target.push("PEXPIREAT", key, expires_ms)
            self._texts[db, key] = (kept, expires_ms)
            if not self.passes:
                self.counts.strings += 1

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────

    def wait(self, seconds: float) -> None:
        """Wait for news of the streams of the source, as a reader that blocks."""
        streams = [place for place in self._ends if place[0] == 0][:WATCHED_MAX]
        if not streams:
            time.sleep(seconds)
            return
        self._select(0)
        ids = [id_text(self._ends[place]) for place in streams]
        keys = [key for _, key in streams]
        self.link.ask("XREAD", "COUNT", 1, "BLOCK", int(seconds * 1000), "STREAMS", *keys, *ids)

    def forget(self, gone: set[Place]) -> None:
        """These keys were deleted from the target."""
        for place in gone:
            self._ends.pop(place, None)
            self._texts.pop(place, None)

    def close(self) -> None:
        """Leave."""
        self.target.settle()
        self.link.close()


def true_heads(link: Link, target: Target, stop_s: float, *, alone: bool) -> bool:
    """Load the heads of all streams with groups, as the source itself knows them.

    REQUIRES: nobody writes, and the target has all entries. False if time did not suffice for some:
    of these, what groups have read and which consumers they have.
    """
    is_whole = True
    heads = HeadReader(link, exact=False)
    for db in databases(link):
        if alone:
            link.call("SELECT", db)
        target.select(db)
        for keys in key_pages(link.call):
            groups = link.pipeline([["XINFO", "GROUPS", key] for key in keys])
            for key, found in zip(keys, groups, strict=True):
                if not found or isinstance(found, CommandError):
                    continue
                rows = sum(pairs(group)[b"pending"] for group in found)
                if rows > (stop_s - time.monotonic()) * ROWS_PER_S:
                    is_whole = False
                    _true_groups(link, target, key, found)
                    continue
                moment = heads.moment(key, None)
                if moment is not None:
                    target.push("XQ.LOADHEAD", key, head_payload(moment.head))
    if alone:
        link.call("SELECT", 0)
    target.settle()
    return is_whole


def _true_groups(link: Link, target: Target, key: bytes, groups: list[Any]) -> None:
    for group in map(pairs, groups):
        name, read = group[b"name"], group.get(b"entries-read")
        words = ["ENTRIESREAD", read] if read is not None else []
        target.push("XGROUP", "SETID", key, name, group[b"last-delivered-id"], *words)
        for one in map(pairs, link.call("XINFO", "CONSUMERS", key, name)):
            target.push("XGROUP", "CREATECONSUMER", key, name, one[b"name"])


def entry_wire(id: bytes, fields: list[bytes]) -> bytes:
    """An entry in wire form."""
    body = b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in fields])
    return b"*2\r\n$%d\r\n%b\r\n*%d\r\n%b" % (len(id), id, len(fields), body)


def databases(link: Link) -> dict[int, int]:
    """The databases that have keys, and how many."""
    return {
        int(name[2:]): int(told.split(",")[0].removeprefix("keys="))
        for name, told in info(link, "keyspace").items()
        if name.startswith("db")
    }
