"""Consumer groups and their consumers: XGROUP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import need_int
from respserver.errors import ReplyError, c_string, subcommand_syntax
from respserver.helptext import help_reply
from respserver.keyspec import one_key
from respserver.replies import OK, Simple
from respserver.spec import DENYOOM, LOADING, STALE, WRITE, command, declare
from respserver.stream_args import need_id, need_strict_id, no_group, option
from streams import ids

if TYPE_CHECKING:
    from respserver.call import Call
    from streams.group import Group
    from streams.stream import Stream

NO_KEY = (
    b"ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to "
    b"use the MKSTREAM option to create an empty stream automatically."
)
HELP = (
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
)
# The word of CREATE and SETID for the last ID.
LAST = b"$"

declare(
    "XGROUP",
    "",
    "A container for consumer groups commands.",
    arity=-2,
    since="5.0.0",
    complexity="Depends on subcommand.",
)


def need_entries_read(text: bytes) -> int:
    """ENTRIESREAD; -1 says that it is unknown."""
    entries_read = need_int(text)
    if entries_read < -1:
        raise ReplyError(b"ERR value for ENTRIESREAD must be positive or -1")
    return entries_read


def need_stream(call: Call) -> Stream:
    """The stream of a subcommand that does not make one."""
    stream = call.keyspace.stream(call.ns, call.argv[2])
    if stream is None:
        raise ReplyError(NO_KEY)
    return stream


def need_group(call: Call) -> tuple[Stream, Group]:
    """The stream and its group."""
    stream = need_stream(call)
    group = stream.groups.get(call.argv[3])
    if group is None:
        raise no_group(call.argv[2], call.argv[3])
    return stream, group


@command(
    "XGROUP CREATE",
    (
        'key group id-selector=<id | new-id="$"> [MKSTREAM] '
        "[ENTRIESREAD entriesread(entries-read):integer]"
    ),
    "Creates a consumer group.",
    arity=-5,
    flags=WRITE | DENYOOM,
    acl="stream",
    keys=one_key("RW insert", at=2),
    since="5.0.0",
    complexity="O(1)",
    history=(("7.0.0", "Added the `entries_read` named argument."),),
)
def xgroup_create(call: Call) -> Simple:
    _, _, key, name, start, *options = call.argv
    make = False
    entries_read = -1
    at = 0
    while at < len(options):
        word = option(options[at])
        if word == b"MKSTREAM":
            make = True
            at += 1
        elif word == b"ENTRIESREAD" and at + 1 < len(options):
            entries_read = need_entries_read(options[at + 1])
            at += 2
        else:
            raise subcommand_syntax(call.argv)
    stream = call.keyspace.stream(call.ns, key)
    if stream is None and not make:
        raise ReplyError(NO_KEY)
    if len(call.argv) > 8:
        raise subcommand_syntax(call.argv)
    if c_string(start) == LAST:
        last_id = ids.MIN_ID if stream is None else stream.last_id
    else:
        last_id = need_strict_id(start)
    if stream is not None and name in stream.groups:
        raise ReplyError(b"BUSYGROUP Consumer Group name already exists")

    if stream is None:
        stream = call.journal.create_stream(call.ns, key)
    call.journal.create_group(stream, name, last_id, min(entries_read, stream.entries_added))
    return OK


@command(
    "XGROUP SETID",
    ('key group id-selector=<id | new-id="$"> [ENTRIESREAD entriesread(entries-read):integer]'),
    "Sets the last-delivered ID of a consumer group.",
    arity=-5,
    flags=WRITE,
    acl="stream",
    keys=one_key("RW update", at=2),
    since="5.0.0",
    complexity="O(1)",
    history=(("7.0.0", "Added the optional `entries_read` argument."),),
)
def xgroup_setid(call: Call) -> Simple:
    start, *options = call.argv[4:]
    entries_read = -1
    for at in range(0, len(options), 2):
        if option(options[at]) != b"ENTRIESREAD" or at + 1 == len(options):
            raise subcommand_syntax(call.argv)
        entries_read = need_entries_read(options[at + 1])
    stream, group = need_group(call)
    if len(options) > 2:
        raise subcommand_syntax(call.argv)
    last_id = stream.last_id if c_string(start) == LAST else need_id(start)
    call.journal.set_group_id(stream, group, last_id, min(entries_read, stream.entries_added))
    return OK


@command(
    "XGROUP DESTROY",
    "key group",
    "Destroys a consumer group.",
    arity=4,
    flags=WRITE,
    acl="stream",
    keys=one_key("RW delete", at=2),
    since="5.0.0",
    complexity=("O(N) where N is the number of entries in the group's pending entries list (PEL)."),
)
def xgroup_destroy(call: Call) -> int:
    stream = need_stream(call)
    group = stream.groups.get(call.argv[3])
    if group is None:
        return 0
    call.journal.destroy_group(stream, group)
    call.keyspace.on_change(call.ns, call.argv[2])  # its blocked readers are told
    return 1


@command(
    "XGROUP CREATECONSUMER",
    "key group consumer",
    "Creates a consumer in a consumer group.",
    arity=5,
    flags=WRITE | DENYOOM,
    acl="stream",
    keys=one_key("RW insert", at=2),
    since="6.2.0",
    complexity="O(1)",
)
def xgroup_createconsumer(call: Call) -> int:
    stream, group = need_group(call)
    name = call.argv[4]
    if name in group.consumers:
        return 0
    call.journal.create_consumer(stream, group, name, call.now_ms)
    return 1


@command(
    "XGROUP DELCONSUMER",
    "key group consumer",
    "Deletes a consumer from a consumer group.",
    arity=5,
    flags=WRITE,
    acl="stream",
    keys=one_key("RW delete", at=2),
    since="5.0.0",
    complexity="O(1)",
)
def xgroup_delconsumer(call: Call) -> int:
    stream, group = need_group(call)
    consumer = group.consumers.get(call.argv[4])
    if consumer is None:
        return 0
    return call.journal.delete_consumer(stream, group, consumer)


@command(
    "XGROUP HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    acl="stream",
    since="5.0.0",
    complexity="O(1)",
)
def xgroup_help(call: Call) -> list[Simple]:
    return help_reply("XGROUP", HELP)
