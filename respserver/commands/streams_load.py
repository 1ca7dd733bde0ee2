"""Loading streams from elsewhere, piece by piece: XQ.LOAD, XQ.LOADHEAD, XQ.HEAD, XQ.DUMP.

Rules: a stream comes as pages of entries in wire form, in the order of IDs, each with the ID that
the stream ends with before it: whoever was interrupted asks where the stream ends and goes on
there, and two who load at once cannot mix. Then comes its head, as often as it changes: one
command, one frame of the log, and it must tell the number of entries that are there. So a stream
may be larger than the memory of either side, and what was loaded is never half a head.

Entries are checked byte by byte and stored as they are. Those that came with NODE stand in a
virtual node of their own, as Redis kept them; places of deleted ones among them may follow.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from respserver.args import need_int_between
from respserver.call import COLD, FRAME_BYTES_MAX
from respserver.commands.keys_dump import BAD_DATA, WRONG_FOOTER
from respserver.errors import OUT_OF_MEMORY, SYNTAX, ReplyError
from respserver.keyspec import one_key
from respserver.replies import OK
from respserver.spec import DENYOOM, READONLY, WRITE, command
from respserver.stream_args import need_stream, need_strict_id, option
from streams import ids
from streams.entrycheck import check_entries
from streams.rdb.heads import StreamHead
from streams.rdb.headwriter import HEAD_TYPE, head_of, head_payload
from streams.rdb.payload import VERSIONS, WrongFooter, dump_stream, open_payload
from streams.rdb.reader import RdbError, RdbTooLarge
from streams.rdb.rows import Node
from streams.rdb.streamreader import StreamReader
from streams.rdb.streamwriter import WRITTEN_TYPES
from streams.restore import (
    StreamLoader,
    head_record_bytes,
    load_head,
    node_record_bytes,
)

if TYPE_CHECKING:
    from respserver.call import Call
    from streams.ids import ID
    from streams.stream import Stream

BAD_ENTRIES = b"ERR entries are not in wire form, or their IDs do not ascend"
BAD_PLACE = b"ERR places of deleted entries must ascend and be below the number of entries"


def last_entry(stream: Stream) -> ID:
    """The ID of the last entry that is there; 0-0 if there is none."""
    last = stream.edge(first=False)
    return ids.MIN_ID if last is None else ids.id_of_entry(last)


def deleted_places(words: list[bytes], n: int) -> list[int]:
    """The places of the deleted ones among ``n`` entries."""
    places = [need_int_between(word, 0, n - 1, BAD_PLACE) for word in words]
    if any(a >= b for a, b in pairwise(places)):
        raise ReplyError(BAD_PLACE)
    return places


@command(
    "XQ.LOAD",
    "key after-id entries [NODE [place:integer...]]",
    "Appends entries in wire form to a stream that ends with an ID.",
    arity=-4,
    flags=WRITE | DENYOOM,
    acl="stream dangerous",
    keys=one_key("RW insert"),
    since="0.1.0",
    complexity="O(N) where N is the number of entries.",
)
def xq_load(call: Call) -> object:
    argv = call.argv
    after = need_strict_id(argv[2])
    as_node = len(argv) > 4
    if as_node and option(argv[4]) != b"NODE":
        raise ReplyError(SYNTAX)
    stream = call.keyspace.stream(call.ns, argv[1])
    ends_with = ids.MIN_ID if stream is None else stream.last_id
    if stream is not None and ends_with != after:
        if call.waits_for(stream, max(stream.mark_pos, stream.end_pos - 1), stream.end_pos):
            return COLD
        ends_with = last_entry(stream)
    if ends_with != after:
        raise ReplyError(b"ERR the stream ends with %s" % ids.text(ends_with))
    # a deleted entry may stand above the last that is there
    found = check_entries(argv[3], after if stream is None else max(after, stream.top_id))
    if found is None:
        raise ReplyError(BAD_ENTRIES)
    node = Node(argv[3], found[0], deleted_places(argv[5:], found[0]))
    call.reserve(node_record_bytes(node) + len(argv[1]))

    if stream is None:
        stream = call.journal.create_stream(call.ns, argv[1])
    loader = StreamLoader(call.journal, stream)
    if as_node:
        loader.add(node)
        loader.delete()
    else:
        config = call.server.config
        loader.add_page(node.wire, config.stream_node_max_bytes, config.stream_node_max_entries)
    if stream.waiters:
        call.server.on_change(stream.ns, stream.key)
    return stream.length


def read_head(call: Call, payload: bytes, stream: Stream | None) -> StreamHead:
    """The head in a payload, held against the entries that are there."""
    budget = min(call.server.config.memory_budget, FRAME_BYTES_MAX - call.journal.log.length)
    try:
        rdb_type, source = open_payload(payload, VERSIONS[HEAD_TYPE], max(0, budget))
        reader = StreamReader(source, rdb_type)
        if stream is not None:
            reader.expect(stream.length, last_entry(stream))
        head = reader.head()
        if stream is not None and head.last_id < stream.top_id:
            raise source.error("the last ID is below that of a deleted entry before")
        if source.left:
            raise source.error("something is left over")
    except WrongFooter:
        raise ReplyError(WRONG_FOOTER) from None
    except RdbTooLarge:
        raise ReplyError(OUT_OF_MEMORY) from None
    except RdbError as error:
        raise ReplyError(BAD_DATA + b": " + str(error).encode()) from None
    return head


@command(
    "XQ.LOADHEAD",
    "key payload",
    "Makes all of a stream but its entries what a payload says.",
    arity=3,
    flags=WRITE | DENYOOM,
    acl="stream dangerous",
    keys=one_key("RW update"),
    since="0.1.0",
    complexity="O(N) where N is the number of pending entries, before and after.",
)
def xq_loadhead(call: Call) -> object:
    key = call.argv[1]
    stream = call.keyspace.stream(call.ns, key)
    if stream is not None and stream.length:
        first = stream.mark_pos, stream.mark_pos + 1
        last = max(stream.mark_pos, stream.end_pos - 1), stream.end_pos
        if call.waits_for(stream, *first) or call.waits_for(stream, *last):
            return COLD
        stream.first_id  # noqa: B018 - read now what estimating needs
    head = read_head(call, call.argv[2], stream)
    call.reserve(head_record_bytes(head) + len(key))

    if stream is None:
        stream = call.journal.create_stream(call.ns, key)
    load_head(call.journal, stream, head, call.now_ms)
    call.server.on_change(stream.ns, key)
    return OK


@command(
    "XQ.HEAD",
    "key",
    "Returns all of a stream but its entries as a payload.",
    arity=2,
    flags=READONLY,
    acl="stream",
    keys=one_key("RO access"),
    since="0.1.0",
    complexity="O(N) where N is the number of pending entries.",
)
def xq_head(call: Call) -> bytes | None:
    stream = call.keyspace.stream(call.ns, call.argv[1])
    if stream is None:
        return None
    if sum(group.pending.length for group in stream.groups.values()) > FRAME_BYTES_MAX >> 6:
        raise ReplyError(OUT_OF_MEMORY)
    return head_payload(head_of(stream))


@command(
    "XQ.DUMP",
    "key rdb-type:integer",
    "Returns a stream as a payload of DUMP of a given type.",
    arity=3,
    flags=READONLY,
    acl="stream",
    keys=one_key("RO access"),
    since="0.1.0",
    complexity="As DUMP.",
)
def xq_dump(call: Call) -> object:
    rdb_type = need_int_between(call.argv[2], 15, 21)
    if rdb_type not in WRITTEN_TYPES:
        raise ReplyError(b"ERR rdb-type must be 15, 19 or 21")
    stream = need_stream(call, call.argv[1])
    if stream.wire_bytes > min(call.server.config.memory_budget, FRAME_BYTES_MAX):
        raise ReplyError(OUT_OF_MEMORY)
    if call.waits_for(stream, stream.mark_pos, stream.end_pos):
        return COLD
    return dump_stream(stream, rdb_type)
