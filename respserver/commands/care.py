"""What administrators ask of the store: XQ.CHECKPOINT, a command of respq's own.

The path is absolute, or relative to ``checkpoints/`` in the data directory; the directory is made,
or is empty. What is written there has names that the server chooses, so nothing of anybody's can be
replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.replies import Raw
from respserver.spec import ADMIN, NO_MULTI, NOSCRIPT, command

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
