"""State rows of which some are lost or old, made to fit together again, and to fit the segments.

What a merge or a flush never leaves behind, damage does: a key whose header is gone, a header that
is older than the runs, runs with holes, chunks of a group whose row is gone. Each is brought to the
state nearest to what was, and said.

Rules:

- Nothing that can still be read is left out: what has lost its name gets one (``RECOVERED``).
- What was deleted stays so as far as rows still say it: a tombstone is believed.
- Where positions of a stream are in no run, entries that stand for them are made (a ``Gap``, see
  lsmstore/salvage.py). Whoever opens the store deletes them (streams/healing.py).
- Nothing is written here. What comes of it are rows that are newer than all others.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from lsmstore.block import Run
from lsmstore.bloom import key_hash
from lsmstore.salvage import Gap, following, nth_following
from lsmstore.view import StoreView
from streams import rowkeys
from streams.group import CONSUMER_HEAD, GROUP_HEAD, GROUP_VERSION
from streams.keyrow import KeyRow, stream_row
from streams.keyspace import FRESH_NAMESPACES
from streams.logread import varint
from streams.nodes import COUNTS, HOLE, VOID
from streams.producer import ROW_VERSION
from streams.producers import COUNTERS, DEFAULT_DURATION_S, DEFAULT_MAXSIZE
from streams.stream import BASE, HEADER, HEADER_VERSION, HEADER_WITH_PRODUCERS, bases_of

RECOVERED: Final = b"respq:recovered:"
PAGE_POSITIONS: Final = 4096
DATABASES: Final = 16
NO_NODES: Final = COUNTS.pack(0, 0, 0)
# Places in a header row (streams/stream.py).
APPLIED, LENGTH, ADDED, NODES, MARK, END, LAST_MS, LAST_SEQ, NEXT_GID, OPEN = (
    1,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    13,
    14,
)

Id = tuple[int, int]
Range = tuple[bytes, bytes]


class Loss(NamedTuple):
    """Something that is not as it was."""

    what: str
    key: bytes = b""
    sid: int = 0
    entries: int = 0
    first: Id | None = None
    last: Id | None = None


class Mender:
    """Mends the rows of one store. ``run`` fills ``rows``, ``gaps`` and ``losses``."""

    def __init__(
        self,
        view: StoreView,
        lost: Sequence[Range],
        added: dict[int, list[tuple[int, Id]]],
        slot_of: Callable[[bytes], int],
    ) -> None:
        """``lost``: keys of rows, [first, end), of which nothing is known. ``added``: by sid, LSN
        and ID of the entries that the log adds above the floor.
        """
        self._view = view
        self._lost = lost
        self._added = added
        self._slot_of = slot_of
        self.rows: dict[bytes, bytes | None] = {}
        self.gaps: list[Gap] = []
        self.losses: list[Loss] = []
        self._headers: dict[int, bytes] = {}
        self._keys: dict[int, bytes] = {}
        self._lends: dict[int, list[tuple[int, int]]] = {}  # by copy: base, end
        self._cuts: dict[int, set[int]] = {}  # by sid: up to where copies share
        self._directory: dict[str, Any] = {}

    def run(self) -> None:
        """Find out what does not fit, and mend it."""
        self._read()
        self._find_headers()
        for header in self._headers.values():
            for base, end in bases_of(header):
                self._cuts.setdefault(base, set()).add(end)
        for sid in sorted(self._headers):
            self._mend_stream(sid)
        self._join_gaps()
        self._mend_groups()
        self._mend_lends()
        self._mend_producers()
        self._drop_orphans()
        self._mend_keys()

    # -- what there is --------------------------------------------------------------------------

    def _read(self) -> None:
        view = self._view
        for row_key, value in view.scan_rows(b"S", b"T"):
            self._headers[rowkeys.sid_of(row_key)] = value
        for row_key, value in view.scan_rows(b"R", b"S"):
            lend = rowkeys.sid_of(row_key), int.from_bytes(value, "big")
            self._lends.setdefault(rowkeys.lent_to(row_key), []).append(lend)
        for row_key, value in view.scan_rows(b"K", b"L"):
            row = KeyRow(value)
            if row.is_stream:
                self._take_key(row.sid, row_key)
        stored = view.get_row(rowkeys.DIRECTORY)
        if stored is not None:
            self._directory = json.loads(stored)

    def _take_key(self, sid: int, row_key: bytes) -> None:
        """A key names a stream; of two that do, the older one was renamed."""
        other = self._keys.get(sid)
        if self._is_deleted(rowkeys.header_row(sid)):
            self.rows[row_key] = None
            return
        if other is not None:
            newer, older = sorted((row_key, other), key=self._age)
            self.rows[older] = None
            row_key = newer
        self._keys[sid] = row_key

    def _age(self, row_key: bytes) -> int:
        """Which row file decides about a key: 0 is the newest."""
        digest = key_hash(row_key)
        files = self._view.files.row_files
        return next((i for i, file in enumerate(files) if file.find(row_key, digest)[0]), 0)

    def _is_deleted(self, row_key: bytes) -> bool:
        """Whether the newest that is known of a key is that it is gone."""
        digest = key_hash(row_key)
        for file in self._view.files.row_files:
            found, value = file.find(row_key, digest)
            if found:
                return value is None
        return False

    def _is_lost(self, row_key: bytes) -> bool:
        return any(first <= row_key < end for first, end in self._lost)

    # -- headers --------------------------------------------------------------------------------

    def _find_headers(self) -> None:
        """Make headers of streams that have keys, or runs and no tombstone where rows are lost."""
        wanted = set(self._keys)
        for segment in self._view.files.segments.values():
            dead = self._view.version.dead.get(segment.number, set())
            for sid, _ in segment.all_runs() if self._lost else ():
                row_key = rowkeys.header_row(sid)
                if sid not in dead and self._is_lost(row_key) and not self._is_deleted(row_key):
                    wanted.add(sid)
        for sid in sorted(wanted.difference(self._headers)):
            fields = [0] * 22
            fields[0] = HEADER_VERSION
            fields[2] = len(self._lends.get(sid, []))
            fields[NEXT_GID] = 1
            bases = [BASE.pack(*lend) for lend in sorted(self._lends.get(sid, []))]
            self._headers[sid] = HEADER.pack(*fields) + b"".join(bases) + NO_NODES
            runs = self._runs(sid)
            start = runs[0].first_pos if runs else 0
            fields[MARK] = fields[END] = fields[ADDED] = start
            self._headers[sid] = HEADER.pack(*fields) + b"".join(bases) + NO_NODES
            why = "its header is lost: entries that were trimmed may be back"
            self.losses.append(Loss(why, self._name(sid), sid))
        for sid in sorted(self._headers):
            if sid not in self._keys:
                name = RECOVERED + b"%d" % sid
                row_key = rowkeys.key_row(self._namespace(), self._slot_of(name), name)
                self._keys[sid] = row_key
                self.rows[row_key] = stream_row(sid)
                self.losses.append(Loss("its key is lost: it has a new one", name, sid))

    def _namespace(self) -> int:
        databases: dict[str, int] = self._directory.get("databases", {})
        return databases.get("0", 1)

    def _name(self, sid: int) -> bytes:
        row_key = self._keys.get(sid)
        return b"" if row_key is None else rowkeys.name_of(row_key)

    def _runs(self, sid: int) -> list[Run]:
        """The runs of a stream, those of its bases first."""
        found: list[Run] = []
        start = 0
        for base, end in bases_of(self._headers[sid]):
            found += [run for run in self._view.runs(base) if start <= run.first_pos < end]
            start = end
        return found + self._view.runs(sid)

    def _mend_stream(self, sid: int) -> None:
        """Make a header and the runs fit each other."""
        header = self._headers[sid]
        fields = list(HEADER.unpack_from(header))
        mark, end = fields[MARK], fields[END]
        runs = [run for run in self._runs(sid) if run.end_pos > mark]
        new_end = max([end, *[run.end_pos for run in runs]])
        bases = bases_of(header)
        holes = _holes(sid, runs, mark, new_end)
        gaps = [part for hole in holes for part in _owned(hole, bases, self._cuts)]
        pages = self._pages(sid, mark, new_end)
        while mark < new_end and _is_deleted(pages, mark):
            mark += 1
        length = new_end - mark - _deleted(pages, mark, new_end)
        fresh = header != self._view.get_row(rowkeys.header_row(sid))
        old = new_end != end
        if not gaps and not fresh and not old and (mark, length) == (fields[MARK], fields[LENGTH]):
            return
        tail = header[HEADER.size + BASE.size * fields[2] :]
        if old:
            fields[OPEN] = 0
            fields[ADDED] += new_end - end
            tail = NO_NODES
        if runs and runs[-1].end_pos == new_end:
            last = max((fields[LAST_MS], fields[LAST_SEQ]), runs[-1].last)
            fields[LAST_MS], fields[LAST_SEQ] = last
            for lsn, ident in self._added.get(sid, ()):
                if ident <= runs[-1].last:
                    fields[APPLIED] = max(fields[APPLIED], lsn)
        starts = {pos for run in runs for pos in run.node_positions()}
        starts.update([gap.start for gap in gaps])
        starts.difference_update(_voids(tail))
        fields[NODES] = _nodes(starts, pages, mark, new_end)
        fields[MARK], fields[END], fields[LENGTH] = mark, new_end, length
        shared = header[HEADER.size : HEADER.size + BASE.size * fields[2]]
        self._headers[sid] = HEADER.pack(*fields) + shared + tail
        self.rows[rowkeys.header_row(sid)] = self._headers[sid]
        if old and not fresh:
            why = "its header is older than its entries: what was deleted since may be back"
            self.losses.append(Loss(why, self._name(sid), sid))
        self.gaps += gaps

    def _pages(self, sid: int, mark: int, end: int) -> dict[int, int]:
        """Bits of deleted positions, by page."""
        found: dict[int, int] = {}
        for row_key, value in self._view.scan_rows(*rowkeys.sid_bounds(b"X", sid)):
            number = rowkeys.suffix(row_key)
            if (number + 1) * PAGE_POSITIONS > mark and number * PAGE_POSITIONS < end:
                found[number] = int.from_bytes(value, "little")
        return found

    def _join_gaps(self) -> None:
        """Gaps of a stream and of its copies are the same ones."""
        joined: list[Gap] = []
        for gap in sorted(self.gaps):
            before = joined[-1] if joined else None
            if before is not None and before.sid == gap.sid and gap.start < before.end:
                end = max(before.end, gap.end)
                last = nth_following(before.first, end - before.start - 1)
                joined[-1] = before._replace(end=end, last=last)
            else:
                joined.append(gap)
        self.gaps = joined

    # -- groups and copies ----------------------------------------------------------------------

    def _mend_groups(self) -> None:
        view = self._view
        held: dict[tuple[int, int], int] = {}
        owners: dict[tuple[int, int], set[int]] = {}
        highest: dict[tuple[int, int], Id] = {}
        for row_key, value in view.scan_rows(b"P", b"Q"):
            where = rowkeys.sid_of(row_key), rowkeys.gid_of_chunk(row_key)
            n, cidxs, last = _chunk(value)
            held[where] = held.get(where, 0) + n
            owners.setdefault(where, set()).update(cidxs)
            highest[where] = max(highest.get(where, (0, 0)), last)
        known = set()
        for row_key, value in view.scan_rows(b"G", b"H"):
            where = rowkeys.sid_of(row_key), rowkeys.suffix(row_key)
            known.add(where)
            self._mend_group(row_key, value, held.get(where, 0), owners.get(where, set()))
        for where in sorted(set(held) - known):
            sid, gid = where
            if sid not in self._headers:
                continue
            name = RECOVERED + b"%d" % gid
            fresh = _GroupRow([GROUP_VERSION, *highest[where], -1, 1, 0, 0], name, [], b"")
            why = f"group {gid} has lost its name, its cursor and the names of its consumers"
            self.losses.append(Loss(why, self._name(sid), sid, last=highest[where]))
            row_key = rowkeys.group_row(sid, gid)
            self._mend_group(row_key, fresh.pack(), held[where], owners[where])
        self._raise_next_gids(known | set(held))

    def _mend_group(self, row_key: bytes, value: bytes, held: int, owners: set[int]) -> None:
        """A group has as many pending entries as its chunks, and a consumer for each owner."""
        sid, gid = rowkeys.sid_of(row_key), rowkeys.suffix(row_key)
        group = _GroupRow.parse(value)
        missing = sorted(owners - {consumer[0] for consumer in group.consumers} - {0})
        group.consumers.extend([(cidx, 0, -1, RECOVERED + b"%d" % cidx) for cidx in missing])
        said = group.head[6]
        if not missing and said == held and self._view.get_row(row_key) is not None:
            return
        group.head[4] = max([group.head[4], *[cidx + 1 for cidx in missing]])
        group.head[5] = len(group.consumers)
        group.head[6] = held
        self.rows[row_key] = group.pack()
        if said > held:
            why = f"pending entries of group {gid} are lost: nobody has them"
            self.losses.append(Loss(why, self._name(sid), sid, said - held))
        elif said < held:
            why = f"pending entries of group {gid} may be back that were acknowledged"
            self.losses.append(Loss(why, self._name(sid), sid, held - said))

    def _raise_next_gids(self, groups: set[tuple[int, int]]) -> None:
        highest: dict[int, int] = {}
        for sid, gid in groups:
            highest[sid] = max(highest.get(sid, 0), gid)
        for sid, gid in highest.items():
            header = self._headers.get(sid)
            if header is None:
                continue
            fields = list(HEADER.unpack_from(header))
            if fields[NEXT_GID] <= gid:
                fields[NEXT_GID] = gid + 1
                self._headers[sid] = HEADER.pack(*fields) + header[HEADER.size :]
                self.rows[rowkeys.header_row(sid)] = self._headers[sid]

    def _mend_lends(self) -> None:
        """Rows say of each copy what it shares, and of nothing else."""
        wanted = {
            rowkeys.lent_row(base, sid): end.to_bytes(8, "big")
            for sid, header in self._headers.items()
            for base, end in bases_of(header)
        }
        stored = dict(self._view.scan_rows(b"R", b"S"))
        self.rows.update({key: end for key, end in wanted.items() if stored.get(key) != end})
        self.rows.update({key: None for key in stored if key not in wanted})

    def _mend_producers(self) -> None:
        """What counts for all producers of a stream is no older than they are."""
        highest: dict[int, int] = {}
        counters: dict[int, bytes] = {}
        for row_key, value in self._view.scan_rows(b"I", b"J"):
            sid, number = rowkeys.sid_of(row_key), rowkeys.suffix(row_key)
            highest[sid] = max(highest.get(sid, 0), number)
            if number == COUNTERS:
                counters[sid] = value
        for sid, number in highest.items():
            header = self._headers.get(sid)
            if header is None:
                continue
            if header[0] != HEADER_WITH_PRODUCERS:
                self._headers[sid] = bytes([HEADER_WITH_PRODUCERS]) + header[1:]
                self.rows[rowkeys.header_row(sid)] = self._headers[sid]
            fields = _counters(counters.get(sid))
            if sid not in counters or fields[2] <= number:
                fields[2] = max(fields[2], number + 1)
                row = bytes([ROW_VERSION]) + b"".join(map(_varint, fields))
                self.rows[rowkeys.producer_row(sid, COUNTERS)] = row
                why = "its settings and counts of producers are older than the producers"
                self.losses.append(Loss(why, self._name(sid), sid))

    def _drop_orphans(self) -> None:
        """Rows of streams that are gone."""
        for kind in (b"G", b"P", b"X", b"I"):
            for row_key, _ in self._view.scan_rows(kind, bytes([kind[0] + 1])):
                if rowkeys.sid_of(row_key) not in self._headers:
                    self.rows[row_key] = None

    # -- keys -----------------------------------------------------------------------------------

    def _mend_keys(self) -> None:
        """The index of what expires and the directory say what the keys say."""
        stored = dict(self._view.scan_rows(b"K", b"L"))
        stored.update({key: row for key, row in self.rows.items() if key[:1] == b"K" and row})
        for key in [key for key in stored if self.rows.get(key, b"") is None]:
            del stored[key]
        counts: dict[int, int] = {}
        expiring: dict[int, list[int]] = {}
        wanted: set[bytes] = set()
        for row_key, value in stored.items():
            ns = int.from_bytes(row_key[1:5], "big")
            counts[ns] = counts.get(ns, 0) + 1
            expires_ms = KeyRow(value).expires_ms
            if expires_ms:
                wanted.add(rowkeys.expiry_row(expires_ms, ns, rowkeys.name_of(row_key)))
                tally = expiring.setdefault(ns, [0, 0])
                tally[0] += 1
                tally[1] += expires_ms
        indexed = {
            key for key, _ in self._view.scan_rows(rowkeys.EXPIRY_FIRST, rowkeys.EXPIRY_LAST)
        }
        self.rows.update(dict.fromkeys(wanted - indexed, b""))
        self.rows.update(dict.fromkeys(indexed - wanted, None))
        self._write_directory(counts, expiring)

    def _write_directory(self, counts: dict[int, int], expiring: dict[int, list[int]]) -> None:
        old = self._directory
        databases: dict[str, int] = dict(old.get("databases", {}))
        if not old:
            self.losses.append(Loss("the directory is lost: databases may have other numbers"))
            databases = {str(db): db + 1 for db in range(DATABASES)}
        for ns in sorted(set(counts) - set(databases.values())):
            free = next((db for db, other in databases.items() if other not in counts), None)
            db = str(len(databases)) if free is None else free
            databases[db] = ns
            self.losses.append(Loss(f"keys without a database are in database {db} now"))
        sids = [0, *self._headers, *self._added]
        sids += [sid for seg in self._view.files.segments.values() for sid, _ in seg.all_runs()]
        fresh = {
            "next_sid": max(old.get("next_sid", 1), max(sids) + 1),
            "next_ns": max(old.get("next_ns", FRESH_NAMESPACES), *databases.values()) + (not old),
            "databases": databases,
            "counts": {str(ns): n for ns, n in sorted(counts.items())},
            "expiring": {str(ns): tally for ns, tally in sorted(expiring.items())},
            "lsn": old.get("lsn", self._view.floor_lsn),
        }
        if fresh != old:
            self.rows[rowkeys.DIRECTORY] = json.dumps(fresh).encode()


class _GroupRow(NamedTuple):
    """A group row, taken apart (layout: streams/group.py)."""

    head: list[int]
    name: bytes
    consumers: list[tuple[int, int, int, bytes]]
    """cidx, seen, active, name."""
    policies: bytes

    @staticmethod
    def parse(row: bytes) -> _GroupRow:
        head = list(GROUP_HEAD.unpack_from(row))
        at = GROUP_HEAD.size + 4
        name = row[at : at + int.from_bytes(row[at - 4 : at], "little")]
        at += len(name)
        consumers: list[tuple[int, int, int, bytes]] = []
        for _ in range(head[5]):
            cidx, seen_ms, active_ms, n = CONSUMER_HEAD.unpack_from(row, at)
            at += CONSUMER_HEAD.size + n
            consumers.append((cidx, seen_ms, active_ms, row[at - n : at]))
        return _GroupRow(head, name, consumers, row[at:])

    def pack(self) -> bytes:
        parts = [GROUP_HEAD.pack(*self.head), len(self.name).to_bytes(4, "little"), self.name]
        for cidx, seen_ms, active_ms, name in self.consumers:
            parts += [CONSUMER_HEAD.pack(cidx, seen_ms, active_ms, len(name)), name]
        return b"".join([*parts, self.policies])


def _holes(sid: int, runs: Sequence[Run], mark: int, end: int) -> Iterator[Gap]:
    """Positions of [mark, end) that are in no run."""
    pos, last = mark, (0, 0)
    for run in runs:
        if run.first_pos > pos:
            yield _gap(sid, pos, run.first_pos, following(last))
        pos, last = max(pos, run.end_pos), run.last
    if pos < end:
        yield _gap(sid, pos, end, following(last))


def _gap(sid: int, start: int, end: int, first: Id) -> Gap:
    return Gap(sid, start, end, first, nth_following(first, end - start - 1))


def _owned(gap: Gap, bases: Sequence[tuple[int, int]], cuts: dict[int, set[int]]) -> Iterator[Gap]:
    """The parts of a gap, under the streams to which they belong; no run goes on beyond a cut."""
    start, ident = gap.start, gap.first
    for owner, end in [*bases, (gap.sid, gap.end)]:
        stops = sorted([cut for cut in cuts.get(owner, ()) if cut < end])
        for stop in [*stops, min(end, gap.end)]:
            stop = min(stop, gap.end)
            if start < stop:
                yield _gap(owner, start, stop, ident)
                ident = nth_following(ident, stop - start)
                start = stop


def _counters(row: bytes | None) -> list[int]:
    """Duration, most iids, next number, iids added, duplicates (layout: streams/producers.py)."""
    if row is None:
        return [DEFAULT_DURATION_S, DEFAULT_MAXSIZE, COUNTERS + 1, 0, 0]
    found, at = [], 1
    for _ in range(5):
        value, at = varint(row, at)
        found.append(value)
    return found


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _is_deleted(pages: dict[int, int], pos: int) -> bool:
    return bool(pages.get(pos // PAGE_POSITIONS, 0) >> pos % PAGE_POSITIONS & 1)


def _deleted(pages: dict[int, int], start: int, end: int) -> int:
    """How many positions of [start, end) are deleted."""
    total = 0
    for number, bits in pages.items():
        base = number * PAGE_POSITIONS
        low, high = max(start - base, 0), min(end - base, PAGE_POSITIONS)
        if low < high:
            total += (bits >> low & (1 << (high - low)) - 1).bit_count()
    return total


def _nodes(starts: set[int], pages: dict[int, int], mark: int, end: int) -> int:
    """How many virtual nodes have a living entry."""
    cells = [mark, *sorted([pos for pos in starts if mark < pos < end]), end]
    return sum([stop - start > _deleted(pages, start, stop) for start, stop in pairwise(cells)])


def _voids(tail: bytes) -> set[int]:
    """Node starts that a header calls void."""
    n, n_holes, n_voids = COUNTS.unpack_from(tail)
    at = COUNTS.size + n + HOLE.size * n_holes
    return {void for (void,) in VOID.iter_unpack(tail[at : at + VOID.size * n_voids])}


def _chunk(blob: bytes) -> tuple[int, set[int], Id]:
    """(entries, consumers, highest ID) of a pending chunk (layout: streams/chunk.py)."""
    n, _, seq_high, base_ms = struct.unpack_from("<HHIQ", blob)
    columns = struct.unpack_from(f"<{3 * n}I", blob, 16)
    last = base_ms + columns[n - 1], seq_high << 32 | columns[2 * n - 1]
    return n, set(columns[2 * n : 3 * n]), last
