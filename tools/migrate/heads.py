"""The head of a stream as an ordinary client learns it, and heads compared.

Rules: idle times become times by the source's own clock, asked in the same transaction. What XINFO
and XPENDING do not tell is listed by ``unseen``: the iids of producers, and entries added and
deleted before 7.0. A transaction reads up to ``ROWS`` pending rows a group; the rest follows in
pages, exactly only while writers are paused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from streams.rdb.heads import ConsumerHead, GroupHead, ProducersHead, StreamHead
from streams.rdb.payload import open_payload
from streams.rdb.rows import PendingRows
from streams.rdb.streamreader import StreamReader
from tools.migrate.link import CommandError, Link, Word
from tools.migrate.pendingpage import take_rows
from tools.migrate.wire import ID, id_text, parse_id

ROWS: Final = 10_000
TAIL_ENTRIES: Final = 1000
TRIES_MAX: Final = 20
HEAD_VERSION: Final = 14
HEAD_BYTES_MAX: Final = 1 << 30
IDMP_DURATION_S: Final = 100
IDMP_MAXSIZE: Final = 100


def pairs(flat: Any) -> dict[bytes, Any]:
    """A map as RESP2 sends it."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


@dataclass(slots=True)
class Moment:
    """A stream at one moment: its entries above some ID, at most so many, and its head."""

    tail: list[tuple[bytes, list[bytes]]]
    head: StreamHead
    payload: bytes | None
    """The head as another respq gives it."""
    expires_ms: int

    def whole_head(self) -> StreamHead:
        """The head, where one is asked for that comes once all entries were seen."""
        return self.head


class HeadReader:
    """Reads heads from a server. ``exact``: it is a respq."""

    def __init__(self, link: Link, *, exact: bool) -> None:
        self.link = link
        self.exact = exact
        found = link.ask("COMMAND", "INFO", "PEXPIRETIME")
        self.life_word = "PTTL" if found in ([None], []) else "PEXPIRETIME"
        """The command that tells when a key expires: exactly since 7.0."""
        self.torn = 0
        """Groups whose pending rows had to be read in pages."""

    def moment(self, key: bytes, after: ID | None) -> Moment | None:
        """A stream, and what follows ``after`` (None: nothing); None: it is gone.

        Raises CommandError.
        """
        for _ in range(TRIES_MAX):
            found = self._moment(key, after)
            if not isinstance(found, bool):
                return found
        raise CommandError(f"the groups of {key!r} change too fast")

    def _moment(self, key: bytes, after: ID | None) -> Moment | bool | None:
        """As ``moment``; False: the groups changed while they were asked for."""
        start = "+" if after is None else f"({id_text(after)}" if after != (0, 0) else "-"
        end = "-" if after is None else "+"
        tail: list[Word] = ["XRANGE", key, start, end, "COUNT", TAIL_ENTRIES]
        if self.exact:
            replies = self.link.transaction(
                [tail, ["XQ.HEAD", key], [self.life_word, key], ["TIME"]]
            )
            if replies[1] is None:
                return None
            return Moment(
                replies[0], read_payload(replies[1]), replies[1], self.expiry(*replies[2:4])
            )
        if self.link.call("TYPE", key) != b"stream":
            return None
        names = [pairs(group)[b"name"] for group in self.link.call("XINFO", "GROUPS", key)]
        asked: list[list[Word]] = [["TIME"], tail, [self.life_word, key], ["XINFO", "STREAM", key]]
        asked.append(["XINFO", "GROUPS", key])
        for name in names:
            asked.append(["XINFO", "CONSUMERS", key, name])
            asked.append(["TIME"])
            asked.append(["XPENDING", key, name, "-", "+", ROWS])
        try:
            replies = self.link.transaction(asked)
        except CommandError as error:
            if str(error).startswith(("NOGROUP", "ERR no such key")):
                return False
            raise
        groups = [pairs(group) for group in replies[4]]
        if [group[b"name"] for group in groups] != names:
            return False
        now_ms = time_ms(replies[0])
        head = stream_head(pairs(replies[3]))
        for place, group in enumerate(groups):
            consumers, then, rows = replies[5 + 3 * place : 8 + 3 * place]
            found = group_head(group, consumers, rows, now_ms, time_ms(then))
            if len(rows) == ROWS:
                self.torn += 1
                self._more(key, found, rows[-1][0])
            head.groups.append(found)
        return Moment(replies[1], head, None, self.expiry(replies[2], replies[0]))

    def expiry(self, told_ms: int, time: list[bytes]) -> int:
        """When a key expires, by what ``life_word`` answered; 0: never."""
        return expiry(told_ms, time) if self.life_word == "PTTL" else max(0, told_ms)

    def _more(self, key: bytes, group: GroupHead, last: bytes) -> None:
        """Read the pending rows behind ``last``."""
        places = {one.name: place for place, one in enumerate(group.consumers, 1)}
        link = self.link
        wanted = ROWS
        while wanted == ROWS:
            now_ms = time_ms(link.call("TIME"))
            wanted, tail = link.array("XPENDING", key, group.name, b"(" + last, "+", ROWS)
            n = 0
            while n < wanted:
                got, end, latest = take_rows(tail, 0, wanted - n, now_ms, places, group.pending)
                n += got
                last = latest or last
                if n < wanted:
                    tail = tail[end:] + link.receive()


def time_ms(reply: list[bytes]) -> int:
    """What TIME says."""
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


def expiry(pttl_ms: int, time: list[bytes]) -> int:
    """When a key expires; 0: never."""
    return time_ms(time) + pttl_ms if pttl_ms >= 0 else 0


def read_payload(payload: bytes) -> StreamHead:
    """The head in what XQ.HEAD answers."""
    rdb_type, source = open_payload(payload, HEAD_VERSION, HEAD_BYTES_MAX)
    reader = StreamReader(source, rdb_type)
    # how many entries there are is said in the payload itself: right behind the number of nodes
    reader.trust()
    return reader.head()


def stream_head(told: dict[bytes, Any]) -> StreamHead:
    """What XINFO STREAM says."""
    length = told[b"length"]
    head = StreamHead(
        length,
        parse_id(told[b"last-generated-id"]),
        parse_id(told.get(b"max-deleted-entry-id", b"0-0")),
        told.get(b"entries-added", length),
    )
    if b"idmp-duration" in told:
        found = ProducersHead(
            told[b"idmp-duration"],
            told[b"idmp-maxsize"],
            [],
            told.get(b"iids-added", 0),
            told.get(b"iids-duplicates", 0),
        )
        usual = (found.duration_s, found.maxsize) == (IDMP_DURATION_S, IDMP_MAXSIZE)
        if not usual or found.iids_added:
            head.producers = found
    return head


def group_head(
    told: dict[bytes, Any], consumers: list[Any], rows: list[Any], now_ms: int, then_ms: int
) -> GroupHead:
    """What XINFO GROUPS, XINFO CONSUMERS (now) and XPENDING (then) say of a group."""
    read: int | None = None
    if b"entries-read" in told:
        read = -1 if told[b"entries-read"] is None else told[b"entries-read"]
    head = GroupHead(told[b"name"], parse_id(told[b"last-delivered-id"]), read)
    places: dict[bytes, int] = {}
    for place, one in enumerate(map(pairs, consumers), 1):
        places[one[b"name"]] = place
        seen_ms = now_ms - one[b"idle"]
        inactive = one.get(b"inactive", one[b"idle"])
        active_ms = -1 if inactive == -1 else now_ms - inactive
        head.consumers.append(ConsumerHead(one[b"name"], max(0, seen_ms), active_ms))
    pending = PendingRows()
    pending.extend(
        (
            *parse_id(id),
            places.get(consumer, 0),
            max(0, then_ms - idle) if consumer in places else 0,
            count,
        )
        for id, consumer, idle, count in rows
    )
    head.pending = pending
    head.released = [parse_id(row[0]) for row in rows if row[1] not in places]
    return head
