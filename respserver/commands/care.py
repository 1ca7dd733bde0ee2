"""What administrators ask of the store: XQ.CHECKPOINT and XQ.INSPECT, commands of respq's own.

The path of a checkpoint is absolute, or relative to ``checkpoints/`` in the data directory; the
directory is made, or is empty. What is written there has names that the server chooses, so nothing
of anybody's can be replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.inspection import inspect
from respserver.keyspec import one_key
from respserver.replies import Raw
from respserver.spec import ADMIN, NO_MULTI, NOSCRIPT, READONLY, command
from respserver.stream_args import need_stream

if TYPE_CHECKING:
    from respserver.call import Call


@command(
    "XQ.CHECKPOINT",
    "path",
    "Makes a copy of the store as it is now, as a directory that can be served or kept.",
    arity=2,
    flags=ADMIN | NOSCRIPT | NO_MULTI,
    since="0.1.0",
    group="server",
    complexity="O(N) where N is the number of files; copies where they cannot be linked",
)
def xq_checkpoint(call: Call) -> Raw:
    call.server.checkpoints.begin(call.session, call.argv[1])
    return Raw(b"")


@command(
    "XQ.INSPECT",
    "key",
    "Returns what a stream is made of: runs, blocks, bytes, how they are compressed.",
    arity=2,
    flags=READONLY | NOSCRIPT | NO_MULTI,
    acl="stream",
    keys=one_key("RO"),
    since="0.1.0",
    complexity="O(N) where N is the number of blocks",
)
def xq_inspect(call: Call) -> Raw:
    inspect(call.server, call.session, need_stream(call, call.argv[1]))
    return Raw(b"")
