"""MONITOR: every command as a line, for the clients that asked for it.

Rules: commands of administrators and those that say so are left out; passwords are never shown. A
command is shown when it was executed, with the database that its client is then in; a script before
its commands.
"""

from __future__ import annotations

from respserver.redaction import redacted
from respserver.spec import ADMIN, SKIP_MONITOR

ESCAPES = {10: b"\\n", 13: b"\\r", 9: b"\\t", 7: b"\\a", 8: b"\\b", 34: b'\\"', 92: b"\\\\"}
SCRIPTS = frozenset({b"eval", b"eval_ro", b"evalsha", b"evalsha_ro"})


def quoted(word: bytes) -> bytes:
    """A word in quotes, what cannot be printed escaped."""
    return (
        b'"'
        + b"".join(
            ESCAPES.get(byte) or (bytes([byte]) if 32 <= byte < 127 else b"\\x%02x" % byte)
            for byte in word
        )
        + b'"'
    )


def is_shown(name: bytes, flags: int) -> bool:
    """Whether a command is shown. Scripts are, before what they call."""
    return name in SCRIPTS or not flags & (ADMIN | SKIP_MONITOR)


def line(words: list[bytes], db: int, addr: str, now_ms: int) -> bytes:
    """The line of a command."""
    head = b"+%d.%03d000 [%d %b] " % (now_ms // 1000, now_ms % 1000, db, addr.encode())
    return head + b" ".join(map(quoted, redacted(words))) + b"\r\n"
