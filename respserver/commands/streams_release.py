"""Giving pending entries back to their group: XNACK.

A released entry stays pending and is nobody's. It is the first that a reader with CLAIM gets, or
any reader of a group with an idle timeout; plain readers do not get it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from respserver.args import need_int, need_int_between
from respserver.errors import ReplyError, c_string
from respserver.keyspec import one_key
from respserver.spec import FAST, WRITE, command
from respserver.stream_args import need_pending_group, need_strict_id, option
from streams import ids
from streams.ids import ID

if TYPE_CHECKING:
    from respserver.call import Call

COUNT_MAX = (1 << 63) - 1
# How each mode counts: what it adds to the number of deliveries; FATAL leaves none to be tried.
SILENT, FAIL, FATAL = b"SILENT", b"FAIL", b"FATAL"
BAD_RETRY_COUNT = b"ERR Invalid RETRYCOUNT option argument for XNACK"


@dataclass(slots=True)
class Release:
    """What XNACK was asked for."""

    mode: bytes
    wanted: list[ID]
    retry_count: int | None = None
    force: bool = False

    def count_after(self, count: int) -> int:
        """The number of deliveries that stands after a release."""
        if self.retry_count is not None:
            return self.retry_count
        if self.mode == FATAL:
            return COUNT_MAX
        return max(count - 1, 0) if self.mode == SILENT else count


def parse_release(argv: list[bytes]) -> Release:
    """The arguments of XNACK."""
    mode = option(argv[3])
    if mode not in (SILENT, FAIL, FATAL):
        raise ReplyError(b"ERR mode must be SILENT, FAIL, or FATAL")
    if option(argv[4]) != b"IDS":
        raise ReplyError(b"ERR syntax error, expected IDS keyword")
    n = need_int(argv[5])
    if n <= 0:
        raise ReplyError(b"ERR Number of IDs must be a positive integer")
    if n > len(argv) - 6:
        raise ReplyError(b"ERR number of IDs doesn't match numids")
    release = Release(mode, [need_strict_id(text) for text in argv[6 : 6 + n]])
    at = 6 + n
    while at < len(argv):
        word = option(argv[at])
        if word == b"FORCE":
            release.force = True
        elif word == b"RETRYCOUNT" and at + 1 < len(argv):
            at += 1
            release.retry_count = need_int_between(argv[at], 0, COUNT_MAX, BAD_RETRY_COUNT)
        else:
            raise ReplyError(b"ERR Unrecognized XNACK option '%s'" % c_string(argv[at]))
        at += 1
    return release


@command(
    "XNACK",
    (
        "key group mode=<SILENT | FAIL | FATAL> IDS ids-block={numids:integer id...} "
        "[RETRYCOUNT count:integer] [FORCE]"
    ),
    (
        "Releases pending messages back to the group's PEL without acknowledging them, making them "
        "available for re-delivery."
    ),
    arity=-7,
    flags=WRITE | FAST,
    acl="stream",
    keys=one_key("RW update"),
    since="8.8.0",
    complexity="O(1) for each message ID processed.",
)
def xnack(call: Call) -> int:
    release = parse_release(call.argv)
    stream, group = need_pending_group(call, call.argv[1], call.argv[2])
    counts: dict[ID, int] = {}
    released: list[tuple[ID, int]] = []
    for id in release.wanted:
        count = counts.get(id)
        if count is None:
            row = group.pending.get(*id)
            if row is not None:
                count = row[2]
            elif release.force and stream.contains(*id):
                count = 0
            else:
                continue
        counts[id] = min(release.count_after(count), ids.U64_MAX)
        released.append((id, counts[id]))

    if released:
        call.journal.release(stream, group, released)
        call.server.on_change(stream.ns, stream.key)
    return len(released)
