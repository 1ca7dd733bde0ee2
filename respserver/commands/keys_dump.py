"""DUMP and RESTORE: a key as the payload that Redis makes of it (streams/rdb).

Rules: a payload is read to its end and checked before anything is changed, and read again to be
loaded, so that little more of it is held than the log and the memtable take. A stream that would
not fit in ``memory-budget`` is refused: its records stand in one frame of the log. What is no
string and no stream is bad data here. Source: the Redis documentation; order of checks as in
redis-server 8.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import Args, need_int
from respserver.call import COLD, FRAME_BYTES_MAX
from respserver.errors import OUT_OF_MEMORY, SYNTAX, ReplyError
from respserver.keyspec import one_key
from respserver.replies import OK, Simple
from respserver.spec import DENYOOM, READONLY, WRITE, command
from respserver.version import LEVEL_8_6, LEVEL_8_8, OLDEST
from streams.rdb.heads import StreamHead
from streams.rdb.payload import (
    STRING,
    VERSIONS,
    WrongFooter,
    dump_stream,
    dump_string,
    open_payload,
)
from streams.rdb.reader import RdbError, RdbTooLarge
from streams.rdb.streamreader import StreamReader
from streams.restore import StreamLoader, head_record_bytes, node_record_bytes

if TYPE_CHECKING:
    from respserver.call import Call

BUSY_KEY = b"BUSYKEY Target key name already exists."
INVALID_TTL = b"ERR Invalid TTL value, must be >= 0"
INVALID_IDLETIME = b"ERR Invalid IDLETIME value, must be >= 0"
INVALID_FREQ = b"ERR Invalid FREQ value, must be >= 0 and <= 255"
WRONG_FOOTER = b"ERR DUMP payload version or checksum are wrong"
BAD_DATA = b"ERR Bad data format"

FREQ_MAX = 255
INT64_MAX = (1 << 63) - 1
# The newest version of RDB that a version of Redis reads, and since when there are types.
RDB_VERSIONS = ((LEVEL_8_8, 14), (LEVEL_8_6, 13), (OLDEST, 12))
STREAM_TYPES_SINCE = {15: OLDEST, 19: OLDEST, 21: OLDEST, 26: LEVEL_8_6, 27: LEVEL_8_8}


@command(
    "DUMP",
    "key",
    "Returns a serialized representation of the value stored at a key.",
    arity=2,
    flags=READONLY,
    acl="keyspace",
    keys=one_key("RO access"),
    since="2.6.0",
    group="generic",
    complexity=(
        "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of "
        "Redis objects composing the value and M their average size. For small string values the "
        "time complexity is thus O(1)+O(1*M) where M is small, so simply O(1)."
    ),
    tips=("nondeterministic_output",),
)
def dump(call: Call) -> object:
    key = call.argv[1]
    row = call.keyspace.find(call.ns, key)
    if row is None:
        return None
    config = call.server.config
    rdb_type = int(config.rdb_stream_type)
    if not row.is_stream:
        call.keyspace.touch(call.ns, key)
        return dump_string(row.string, VERSIONS[rdb_type])
    stream = call.keyspace.stream(call.ns, key)
    assert stream is not None
    if stream.wire_bytes > min(config.memory_budget, FRAME_BYTES_MAX):
        raise ReplyError(OUT_OF_MEMORY)
    if call.waits_for(stream, stream.mark_pos, stream.end_pos):
        return COLD
    return dump_stream(stream, rdb_type)


class Payload:
    """A payload that was read to its end and holds what this version of Redis can have."""

    def __init__(self, call: Call, payload: bytes) -> None:
        level = call.redis_level
        room = FRAME_BYTES_MAX - call.journal.log.length
        self._budget = max(0, min(call.server.config.memory_budget, room))
        self._version_max = next(version for since, version in RDB_VERSIONS if level >= since)
        self._payload = payload
        self.record_bytes = 0
        """What its records take in the log, at the most."""
        self.string: bytes | None = None
        self.head: StreamHead | None = None
        """Of a stream."""
        try:
            self._read(level)
        except WrongFooter:
            raise ReplyError(WRONG_FOOTER) from None
        except RdbTooLarge:
            raise ReplyError(OUT_OF_MEMORY) from None
        except RdbError:
            raise ReplyError(BAD_DATA) from None

    def _read(self, level: int) -> None:
        rdb_type, source = open_payload(self._payload, self._version_max, self._budget)
        if rdb_type == STRING:
            self.string = source.text()
            self.record_bytes = len(self.string)
        elif STREAM_TYPES_SINCE.get(rdb_type, level + 1) <= level:
            reader = StreamReader(source, rdb_type)
            while (node := reader.next_node()) is not None:
                self._count(node_record_bytes(node))
            self.head = reader.head()
            self._count(head_record_bytes(self.head))
        else:
            raise source.error(f"type {rdb_type} is not known")
        if source.left:
            raise source.error("something is left over")

    def _count(self, record_bytes: int) -> None:
        self.record_bytes += record_bytes
        if self.record_bytes > self._budget:
            raise RdbTooLarge("the records of a stream")

    def load(self, call: Call, key: bytes) -> None:
        """Make a stream of it under a key that is free. REQUIRES: it is one."""
        rdb_type, source = open_payload(self._payload, self._version_max, self._budget)
        assert self.head is not None
        loader = StreamLoader(call.journal, call.journal.create_stream(call.ns, key))
        reader = StreamReader(source, rdb_type)
        while (node := reader.next_node()) is not None:
            loader.add(node)
        loader.end(self.head, call.now_ms)


@command(
    "RESTORE",
    (
        "key ttl:integer serialized-value [REPLACE@3.0.0] [ABSTTL@5.0.0]"
        " [IDLETIME seconds:integer@5.0.0] [FREQ frequency:integer@5.0.0]"
    ),
    "Creates a key from the serialized representation of a value.",
    arity=-4,
    flags=WRITE | DENYOOM,
    acl="keyspace dangerous",
    keys=one_key("OW update"),
    since="2.6.0",
    group="generic",
    complexity=(
        "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, "
        "where N is the number of Redis objects composing the value and M their average size. For "
        "small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply "
        "O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting "
        "values into sorted sets is O(log(N))."
    ),
    history=(
        ("3.0.0", "Added the `REPLACE` modifier."),
        ("5.0.0", "Added the `ABSTTL` modifier."),
        ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
    ),
)
def restore(call: Call) -> Simple:
    args = Args(call.argv, 4)
    over = absolute = False
    idle_s = frequency = -1
    while args.left:
        option = args.take_option()
        if option == b"REPLACE":
            over = True
        elif option == b"ABSTTL":
            absolute = True
        elif option == b"IDLETIME" and args.left and frequency == -1:
            idle_s = args.take_int()
            if idle_s < 0:
                raise ReplyError(INVALID_IDLETIME)
        elif option == b"FREQ" and args.left and idle_s == -1:
            frequency = args.take_int()
            if not 0 <= frequency <= FREQ_MAX:
                raise ReplyError(INVALID_FREQ)
        else:
            raise ReplyError(SYNTAX)
    key = call.argv[1]
    held = call.keyspace.find(call.ns, key)
    if held is not None and not over:
        raise ReplyError(BUSY_KEY)
    expires_ms = need_int(call.argv[2])
    if expires_ms < 0:
        raise ReplyError(INVALID_TTL)
    payload = Payload(call, call.argv[3])
    if expires_ms and not absolute:
        expires_ms += call.now_ms
    # a sum that has no place in 64 bits is over, as it is in Redis
    is_over = 0 < expires_ms <= call.now_ms or expires_ms > INT64_MAX
    if is_over:
        if held is not None:
            call.key_records.delete(call.ns, key)
        return OK
    call.reserve(payload.record_bytes)

    if payload.string is not None:
        call.key_records.set_string(call.ns, key, payload.string, expires_ms)
    else:
        if held is not None:
            call.key_records.delete(call.ns, key)
        payload.load(call, key)
        if expires_ms:
            call.key_records.expire(call.ns, key, expires_ms)
    if idle_s >= 0:
        call.keyspace.set_idle(call.ns, key, idle_s)
    return OK
