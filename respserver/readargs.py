"""What XREAD and XREADGROUP are asked for: options, streams, groups and IDs, read and checked.

The kind of a part is the character its ID is written with (``>``, ``+``), ``h`` for the history of
a consumer after an ID, ``i`` for what comes after an ID. Source: the Redis documentation of each
command; order of checks as in redis-server 7.4, for CLAIM, MAXCOUNT and MAXSIZE as in 8.10.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import int64_t
from cython.cimports.libc.stdlib import abort, free, realloc
from cython.cimports.streams.idtext import parse_id

from respserver.errors import (
    INVALID_STREAM_ID,
    NOT_INT,
    SYNTAX,
    TIMEOUT_NEGATIVE,
    TIMEOUT_NOT_INT,
    TIMEOUT_RANGE,
    ReplyError,
    c_string,
)
from respserver.scan import Args
from respserver.version import LEVEL_8_4, LEVEL_8_10
from streams.group import Group
from streams.stream import Stream

INT64_MAX = cython.declare(cython.longlong, 0x7FFFFFFFFFFFFFFF)
CLAIM_SINCE = cython.declare(cython.uint, LEVEL_8_4)
CAPS_SINCE = cython.declare(cython.uint, LEVEL_8_10)

NOGROUP = b"NOGROUP No such key '%s' or consumer group '%s' in XREADGROUP with GROUP option"
MEANINGLESS = (
    b"ERR The %s ID is meaningless in the context of XREADGROUP: you want to read the history of "
    b"this consumer by specifying a proper ID, or use the > ID to get new messages. The %s ID "
    b"would just return an empty result set."
)
UNBALANCED = b"ERR Unbalanced '%s' list of streams: for each stream key an ID%s must be specified."
GROUPS_ONLY = b"ERR The %s option is only supported by XREADGROUP. You called XREAD instead."


@cython.cclass
class ReadArgs:
    """The arguments of one read from several streams. ``-1``, or 0 for counts: not given."""

    def __cinit__(self) -> None:
        self.parts = cython.NULL
        self.parts_cap = 0

    def __init__(self) -> None:
        self.streams = []
        self.groups = []

    def __dealloc__(self) -> None:
        free(self.parts)

    def options(self, context):
        """Read what stands before the keys; refuse what Redis refuses there."""
        args: Args = context.args
        i: cython.Py_ssize_t = 1
        more: cython.Py_ssize_t
        name: bytes = b"xreadgroup" if self.grouped else b"xread"
        self.block_ms = -1
        self.count = 0
        self.first = 0
        self.n = 0
        self.group_at = 0
        self.noack = False
        self.claim_ms = -1
        self.maxcount = 0
        self.maxsize = 0
        while i < args.count:
            more = args.count - i - 1
            if more > 0 and args.matches(i, b"BLOCK", 5):
                i += 1
                if not args.integer(i, cython.address(self.block_ms)):
                    raise ReplyError(TIMEOUT_NOT_INT)
                if self.block_ms < 0:
                    raise ReplyError(TIMEOUT_NEGATIVE)
                if self.block_ms > INT64_MAX - cython.cast(int64_t, context.now_ms):
                    raise ReplyError(TIMEOUT_RANGE)
            elif more > 0 and args.matches(i, b"COUNT", 5):
                i += 1
                if not args.integer(i, cython.address(self.count)):
                    raise ReplyError(NOT_INT)
                if self.count < 0:
                    self.count = 0
            elif more > 0 and args.matches(i, b"STREAMS", 7):
                self.first = i + 1
                self.n = args.count - self.first
                if self.n & 1:
                    raise ReplyError(
                        UNBALANCED % (name, b" or '>'" if self.grouped else b", '+', or '$'")
                    )
                self.n //= 2
                break
            elif more >= 2 and args.matches(i, b"GROUP", 5):
                if not self.grouped:
                    raise ReplyError(GROUPS_ONLY % b"GROUP")
                self.group_at = i + 1
                i += 2
            elif args.matches(i, b"NOACK", 5):
                if not self.grouped:
                    raise ReplyError(GROUPS_ONLY % b"NOACK")
                self.noack = True
            elif more > 0 and context.redis_level >= CLAIM_SINCE and args.matches(i, b"CLAIM", 5):
                if not self.grouped:
                    raise ReplyError(GROUPS_ONLY % b"CLAIM")
                i += 1
                if not args.integer(i, cython.address(self.claim_ms)):
                    raise ReplyError(b"ERR min-idle-time is not an integer or out of range")
                if self.claim_ms < 0:
                    raise ReplyError(b"ERR min-idle-time must be a positive integer")
            elif more > 0 and context.redis_level >= CAPS_SINCE and args.matches(i, b"MAXCOUNT", 8):
                i += 1
                self.positive(args, i, b"MAXCOUNT", cython.address(self.maxcount))
            elif more > 0 and context.redis_level >= CAPS_SINCE and args.matches(i, b"MAXSIZE", 7):
                i += 1
                self.positive(args, i, b"MAXSIZE", cython.address(self.maxsize))
            else:
                raise ReplyError(SYNTAX)
            i += 1
        if self.first == 0:
            raise ReplyError(SYNTAX)
        if self.grouped and self.group_at == 0:
            raise ReplyError(b"ERR Missing GROUP option for XREADGROUP")
        if self.maxcount > 0 and self.count > self.maxcount:
            raise ReplyError(b"ERR MAXCOUNT must be greater than or equal to COUNT")
        return 0

    def positive(self, args, i, name, out):
        """The number that option ``name`` is given."""
        if not args.integer(i, out):
            raise ReplyError(NOT_INT)
        if out[0] <= 0:
            raise ReplyError(b"ERR %s must be a positive integer" % name)
        return 0

    def find(self, context, session):
        """Find the streams and groups and read the IDs, refusing what Redis refuses."""
        args: Args = context.args
        i: cython.Py_ssize_t
        ids: cython.Py_ssize_t = self.first + self.n
        part: cython.pointer(Part)
        stream: Stream
        group: Group = None
        self.streams.clear()
        self.groups.clear()
        if self.n > self.parts_cap:
            self.parts_cap = 2 * self.n
            self.parts = cython.cast(
                cython.pointer(Part), realloc(self.parts, self.parts_cap * cython.sizeof(Part))
            )
            if self.parts == cython.NULL:
                abort()
        for i in range(self.n):
            part = self.parts + i
            stream = context.find_stream(self.first + i, session)
            if self.grouped:
                group = None
                if stream is not None:
                    group = stream.groups.get(args.word(self.group_at))
                if group is None:
                    raise ReplyError(
                        NOGROUP
                        % (c_string(args.word(self.first + i)), c_string(args.word(self.group_at)))
                    )
            self.streams.append(stream)
            self.groups.append(group)
            part.kind = AFTER
            part.ms = 0
            part.seq = 0
            if args.is_char(ids + i, 36):
                if self.grouped:
                    raise ReplyError(MEANINGLESS % (b"$", b"$"))
                if stream is not None:
                    part.ms = stream.last_ms
                    part.seq = stream.last_seq
            elif args.is_char(ids + i, 43):
                if self.grouped:
                    raise ReplyError(MEANINGLESS % (b"+", b"+"))
                part.kind = LAST
            elif args.is_char(ids + i, 62):
                if not self.grouped:
                    raise ReplyError(
                        b"ERR The > ID can be specified only when calling XREADGROUP using the "
                        b"GROUP <group> <consumer> option."
                    )
                part.kind = NEW
            else:
                if not parse_id(
                    args.p[ids + i],
                    args.n[ids + i],
                    0,
                    True,
                    cython.NULL,
                    cython.address(part.ms),
                    cython.address(part.seq),
                ):
                    raise ReplyError(INVALID_STREAM_ID)
                if self.grouped:
                    part.kind = HISTORY
        return 0
