"""Refusals: what a handler raises to answer a client with an error, in Redis' own words.

Rules: a refusal carries the whole error line without the leading ``-`` and without line ends; it
is raised before anything was changed; it says nothing about the health of the server. A malformed
request on the wire and a failing store are other kinds of failure and have their own exceptions.

The constants are lines, not exceptions: an exception object raised twice keeps growing its
traceback.
"""

from __future__ import annotations

from collections.abc import Sequence

WRONGTYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"
SYNTAX = b"ERR syntax error"
NOT_INT = b"ERR value is not an integer or out of range"
NO_SUCH_KEY = b"ERR no such key"
INVALID_STREAM_ID = b"ERR Invalid stream ID specified as stream command argument"
TIMEOUT_NOT_INT = b"ERR timeout is not an integer or out of range"
TIMEOUT_NEGATIVE = b"ERR timeout is negative"
TIMEOUT_RANGE = b"ERR timeout is out of range"
DB_INDEX_RANGE = b"ERR DB index is out of range"
OUT_OF_MEMORY = b"OOM command not allowed when used memory > 'maxmemory'."
NOAUTH = b"NOAUTH Authentication required."
BUSY = b"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
WRONGPASS = b"WRONGPASS invalid username-password pair or user is disabled."
NOPROTO = b"NOPROTO unsupported protocol version"

# Redis cuts what it quotes back to the client at this length.
QUOTED_BYTES_MAX = 128

_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


class ReplyError(Exception):
    """A refusal. ``line`` is the error reply without ``-`` and line end."""

    def __init__(self, line: bytes) -> None:
        super().__init__(line)
        self.line = line.translate(_LINE_ENDS)


def c_string(text: bytes) -> bytes:
    """``text`` up to its first NUL: Redis prints arguments with ``%s``."""
    return text.partition(b"\0")[0]


def wrong_arity(name: bytes) -> ReplyError:
    """``name`` is the full lower-case name, ``xgroup|create`` for a subcommand."""
    return ReplyError(b"ERR wrong number of arguments for '%s' command" % name)


def unknown_command(argv: Sequence[bytes]) -> ReplyError:
    """A name that is not in the table."""
    args = b""
    for arg in argv[1:]:
        if len(args) >= QUOTED_BYTES_MAX:
            break
        args += b"'%s' " % c_string(arg)[: QUOTED_BYTES_MAX - len(args)]
    name = c_string(argv[0])[:QUOTED_BYTES_MAX]
    return ReplyError(b"ERR unknown command '%s', with args beginning with: %s" % (name, args))


def unknown_subcommand(argv: Sequence[bytes]) -> ReplyError:
    """A container command whose second word is none of its subcommands."""
    word = c_string(argv[1])[:QUOTED_BYTES_MAX]
    return ReplyError(
        b"ERR unknown subcommand '%s'. Try %s HELP." % (word, c_string(argv[0]).upper())
    )


def subcommand_syntax(argv: Sequence[bytes]) -> ReplyError:
    """A subcommand that exists, with arguments it cannot read."""
    word = c_string(argv[1])[:QUOTED_BYTES_MAX]
    return ReplyError(
        b"ERR unknown subcommand or wrong number of arguments for '%s'. Try %s HELP."
        % (word, c_string(argv[0]).upper())
    )
