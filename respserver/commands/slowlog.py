"""SLOWLOG: the commands that took longest (respserver/watchdog.py)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from respserver.args import INT64_MAX, need_int_between
from respserver.errors import subcommand_syntax
from respserver.helptext import help_reply
from respserver.replies import OK, Simple
from respserver.spec import ADMIN, LOADING, STALE, command, declare

if TYPE_CHECKING:
    from respserver.call import Call

ASKED = ADMIN | LOADING | STALE
COUNT = 10
BAD_COUNT = b"ERR count should be greater than or equal to -1"

declare(
    "SLOWLOG",
    "",
    "A container for slow log commands.",
    arity=-2,
    since="2.2.12",
    group="server",
    complexity="Depends on subcommand.",
)


@command(
    "SLOWLOG GET",
    "[count:integer]",
    "Returns the slow log's entries.",
    arity=-2,
    flags=ASKED,
    since="2.2.12",
    group="server",
    complexity="O(N) where N is the number of entries returned",
    history=(("4.0.0", "Added client IP address, port and name to the reply."),),
    tips=("request_policy:all_nodes", "nondeterministic_output"),
)
def slowlog_get(call: Call) -> list[list[object]]:
    if len(call.argv) > 3:
        raise subcommand_syntax(call.argv)
    count = COUNT
    if len(call.argv) == 3:
        count = need_int_between(call.argv[2], -1, INT64_MAX, BAD_COUNT)
    entries = call.server.watchdog.slow_log.entries
    return [
        [entry.number, entry.time_s, entry.took_us, entry.argv, entry.addr, entry.name]
        for entry in islice(entries, len(entries) if count < 0 else min(count, len(entries)))
    ]


@command(
    "SLOWLOG HELP",
    "",
    "Show helpful text about the different subcommands",
    arity=2,
    flags=LOADING | STALE,
    since="6.2.0",
    group="server",
    complexity="O(1)",
)
def slowlog_help(call: Call) -> list[Simple]:
    return help_reply("SLOWLOG", HELP)


@command(
    "SLOWLOG LEN",
    "",
    "Returns the number of entries in the slow log.",
    arity=2,
    flags=ASKED,
    since="2.2.12",
    group="server",
    complexity="O(1)",
    tips=("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
)
def slowlog_len(call: Call) -> int:
    return len(call.server.watchdog.slow_log.entries)


@command(
    "SLOWLOG RESET",
    "",
    "Clears all entries from the slow log.",
    arity=2,
    flags=ASKED,
    since="2.2.12",
    group="server",
    complexity="O(N) where N is the number of entries in the slowlog",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
)
def slowlog_reset(call: Call) -> Simple:
    call.server.watchdog.slow_log.entries.clear()
    return OK


HELP = (
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
)
