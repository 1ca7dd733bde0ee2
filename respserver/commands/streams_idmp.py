"""Idempotent production beside XADD; what is remembered of it is in streams/producers.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import need_int, need_int_between
from respserver.errors import SYNTAX, ReplyError
from respserver.keyspec import one_key
from respserver.replies import OK, Simple
from respserver.spec import DENYOOM, FAST, WRITE, command
from respserver.stream_args import need_stream, need_strict_id, option
from streams.producers import Producers

if TYPE_CHECKING:
    from respserver.call import Call

# By option: the highest value, and what it counts.
OPTIONS = {b"IDMP-DURATION": (86400, b"seconds"), b"IDMP-MAXSIZE": (10000, b"entries")}


@command(
    "XCFGSET",
    (
        "key idmp-duration-block=[IDMP-DURATION duration:integer] "
        "idmp-maxsize-block=[IDMP-MAXSIZE maxsize:integer]"
    ),
    "Sets the IDMP configuration parameters for a stream.",
    arity=-2,
    flags=WRITE | FAST,
    acl="stream",
    keys=one_key("RW update"),
    since="8.6.0",
    complexity="O(1)",
)
def xcfgset(call: Call) -> Simple:
    given: dict[bytes, int] = {}
    words = iter(call.argv[2:])
    for word in words:
        name = option(word)
        text = next(words, None)
        if name not in OPTIONS or text is None:
            raise ReplyError(SYNTAX)
        if name in given:
            raise ReplyError(b"ERR %b specified multiple times" % name)
        highest, unit = OPTIONS[name]
        refusal = b"ERR %b must be between 1 and %d %b" % (name, highest, unit)
        given[name] = need_int_between(b"%d" % need_int(text), 1, highest, refusal)
    if not given:
        raise ReplyError(b"ERR At least one parameter must be specified")
    stream = need_stream(call, call.argv[1])

    producers = stream.producers or Producers()
    duration_s = given.get(b"IDMP-DURATION", producers.duration_s)
    maxsize = given.get(b"IDMP-MAXSIZE", producers.maxsize)
    if (duration_s, maxsize) != (producers.duration_s, producers.maxsize):
        call.journal.configure_producers(stream, duration_s, maxsize)
    return OK


@command(
    "XIDMPRECORD",
    "key pid iid stream-id",
    "An internal command for setting IDMP metadata on an existing stream message.",
    arity=5,
    flags=WRITE | DENYOOM | FAST,
    acl="stream",
    keys=one_key("RW update"),
    since="8.6.2",
    complexity="O(1)",
)
def xidmprecord(call: Call) -> Simple:
    _, key, pid, iid, text = call.argv
    if not pid:
        raise ReplyError(b"ERR producer ID must be non-empty")
    if not iid:
        raise ReplyError(b"ERR idempotent ID must be non-empty")
    id = need_strict_id(text)
    stream = need_stream(call, key)
    if not stream.slice(id, id, 1, False)[0]:
        raise ReplyError(b"ERR No such message in stream")
    call.journal.sweep_producers(stream, call.now_ms)
    known = None if stream.producers is None else stream.producers.id_of(pid, iid)
    if known is not None and known != id:
        raise ReplyError(b"ERR IID already exists for this producer with a different stream ID")

    if known is None:
        call.journal.record_iid(stream, pid, iid, *id)
    return OK
