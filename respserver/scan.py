"""The RESP scan: finds the arguments of the next command without copying them.

Rules: arguments are slices of the caller's buffer and live as long as it. What is stored comes
straight from the wire, so the scan takes only what a reader may meet again: CRLF after every line
and every bulk string, lengths in canonical decimal (``$03`` and ``*+3`` are refused). A command
that is not all there yet costs nothing: ``wanted`` says how many bytes must be there before it is
worth scanning again.

    command := '*' num '\\r\\n' bulk...  |  inline line, split by the caller
    bulk    := '$' num '\\r\\n' bytes '\\r\\n'

Limits and error texts are Redis': 64 KB for a line, 1M arguments (10 before AUTH),
proto-max-bulk-len a bulk string (16 KB before AUTH). Source: the RESP specification and networking
of redis-server.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, realloc
from cython.cimports.libc.string import memchr
from cython.cimports.lsmstore.buf import U64_MAX

LINE_BYTES_MAX = cython.declare(cython.longlong, 65536)
ARGS_MAX = cython.declare(cython.longlong, 2147483647)
UNTRUSTED_ARGS_MAX = cython.declare(cython.longlong, 10)
UNTRUSTED_BULK_BYTES_MAX = cython.declare(cython.longlong, 16384)

BULK_BYTES_MIN = cython.declare(cython.Py_ssize_t, 6)  # "$0", and two line ends
LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


def parse_integer(p, n, out):
    """A signed 64-bit integer in canonical decimal, as Redis' string2ll; False where it is none."""
    negative: cython.bint = False
    value: uint64_t = 0
    digit: uint64_t
    i: cython.Py_ssize_t = 0
    if n == 0 or n > 20:
        return False
    if n == 1 and p[0] == 48:
        out[0] = 0
        return True
    if p[0] == 45:
        negative = True
        i = 1
        if n == 1:
            return False
    if p[i] < 49 or p[i] > 57:
        return False
    while i < n:
        if p[i] < 48 or p[i] > 57:
            return False
        digit = cython.cast(uint64_t, p[i] - 48)
        if value > U64_MAX // 10 or (value == U64_MAX // 10 and digit > 5):
            return False
        value = value * 10 + digit
        i += 1
    if negative:
        if value - 1 > U64_MAX >> 1:
            return False
        out[0] = cython.cast(int64_t, 0 - value)
        return True
    if value > U64_MAX >> 1:
        return False
    out[0] = cython.cast(int64_t, value)
    return True


@cython.final
@cython.cclass
class Args:
    """The arguments of one command, as slices."""

    def __cinit__(self) -> None:
        self.p = cython.NULL
        self.n = cython.NULL
        self.cap = 0
        self.count = 0
        self.wanted = 0
        self.max_bulk_bytes = 536870912
        self.room(64)

    def __dealloc__(self) -> None:
        free(self.p)
        free(self.n)

    def room(self, n):
        """Make room for ``n`` arguments."""
        if n <= self.cap:
            return
        self.cap = n * 2
        self.p = cython.cast(
            cython.pointer(cython.p_const_char),
            realloc(self.p, self.cap * cython.sizeof(cython.p_char)),
        )
        self.n = cython.cast(
            cython.pointer(cython.Py_ssize_t),
            realloc(self.n, self.cap * cython.sizeof(cython.Py_ssize_t)),
        )
        if self.p == cython.NULL or self.n == cython.NULL:
            abort()

    def scan(self, p, n, trusted):
        """Find the next command in the ``n`` bytes at ``p``.

        SCAN_COMMAND: ``count`` arguments, ``end`` is the place after it. SCAN_INLINE: the line is
        p[0]..n[0]. SCAN_EMPTY: nothing to do up to ``end``. SCAN_MORE: not before ``wanted`` bytes.
        SCAN_ERROR: ``error``.
        """
        q: cython.p_const_char
        self.wanted = 0
        self.count = 0
        self.begin = p
        if n == 0:
            return SCAN_MORE
        if p[0] == 42:
            return self.scan_multibulk(p, n, trusted)
        q = cython.cast(cython.p_const_char, memchr(p, 10, n))
        if q == cython.NULL:
            if n > LINE_BYTES_MAX:
                self.error = b"too big inline request"
                return SCAN_ERROR
            return SCAN_MORE
        self.end = q + 1
        self.p[0] = p
        self.n[0] = q - p
        if q > p and (q - 1)[0] == 13:
            self.n[0] -= 1
        return SCAN_EMPTY if self.n[0] == 0 else SCAN_INLINE

    def scan_multibulk(self, p, n, trusted):
        """The multibulk form of a command."""
        start: cython.p_const_char = p
        stop: cython.p_const_char = p + n
        q: cython.p_const_char
        value: int64_t = 0
        left: int64_t
        count: cython.Py_ssize_t = 0
        bulk_bytes_max: int64_t = self.max_bulk_bytes
        q = cython.cast(
            cython.p_const_char, memchr(p, 13, n if n < LINE_BYTES_MAX else LINE_BYTES_MAX)
        )
        if q == cython.NULL:
            if n >= LINE_BYTES_MAX:
                self.error = b"too big mbulk count string"
                return SCAN_ERROR
            return SCAN_MORE
        if stop - q < 2:
            return SCAN_MORE
        if (
            not parse_integer(p + 1, q - p - 1, cython.address(value))
            or value > ARGS_MAX
            or q[1] != 10
        ):
            self.error = b"invalid multibulk length"
            return SCAN_ERROR
        if not trusted and value > UNTRUSTED_ARGS_MAX:
            self.error = b"unauthenticated multibulk length"
            return SCAN_ERROR
        p = q + 2
        if value <= 0:
            self.end = p
            return SCAN_EMPTY
        left = value
        while left > 0:
            if p >= stop:
                return self.more(p - start + left * BULK_BYTES_MIN)
            if p[0] != 36:
                q = cython.cast(cython.p_const_char, memchr(p, 13, stop - p))
                if q == cython.NULL:
                    if stop - p > LINE_BYTES_MAX:
                        self.error = b"too big bulk count string"
                        return SCAN_ERROR
                    return self.more(p - start + left * BULK_BYTES_MIN)
                self.error = b"expected '$', got '" + p[:1].translate(LINE_ENDS) + b"'"
                return SCAN_ERROR
            # most lengths have one to three digits: read them here, leave the odd ones to
            # parse_integer
            q = p + 1
            value = 0
            if stop - p > 3 and p[2] == 13 and 48 <= p[1] <= 57:
                value = p[1] - 48
                q = p + 2
            else:
                while q < stop and 48 <= q[0] <= 57 and q - p < 10:
                    value = value * 10 + (q[0] - 48)
                    q += 1
            if (
                q + 1 < stop
                and q[0] == 13
                and q[1] == 10
                and q > p + 1
                and (p[1] != 48 or q == p + 2)
            ):
                pass
            else:
                q = cython.cast(cython.p_const_char, memchr(p, 13, stop - p))
                if q == cython.NULL:
                    if stop - p > LINE_BYTES_MAX:
                        self.error = b"too big bulk count string"
                        return SCAN_ERROR
                    return self.more(p - start + left * BULK_BYTES_MIN)
                if stop - q < 2:
                    return self.more(p - start + left * BULK_BYTES_MIN)
                if not parse_integer(p + 1, q - p - 1, cython.address(value)) or q[1] != 10:
                    self.error = b"invalid bulk length"
                    return SCAN_ERROR
            if value < 0 or value > bulk_bytes_max:
                self.error = b"invalid bulk length"
                return SCAN_ERROR
            if value > UNTRUSTED_BULK_BYTES_MAX and not trusted:
                self.error = b"unauthenticated bulk length"
                return SCAN_ERROR
            q += 2
            if stop - q < value + 2:
                return self.more(q - start + value + 2 + (left - 1) * BULK_BYTES_MIN)
            if q[value] != 13 or q[value + 1] != 10:
                self.error = b"invalid bulk length"
                return SCAN_ERROR
            if count == self.cap:
                self.room(count + 1)
            self.p[count] = q
            self.n[count] = value
            count += 1
            p = q + value + 2
            left -= 1
        self.count = count
        self.end = p
        return SCAN_COMMAND

    def more(self, wanted):
        """It is no use to look again before there are ``wanted`` bytes."""
        self.wanted = wanted
        return SCAN_MORE

    def take_list(self, words):
        """Take arguments from bytes objects, which the caller keeps alive."""
        i: cython.Py_ssize_t
        word: bytes
        self.room(len(words))
        for i in range(len(words)):
            word = words[i]
            self.p[i] = PyBytes_AS_STRING(word)
            self.n[i] = PyBytes_GET_SIZE(word)
        self.count = len(words)
        return 0

    def word(self, i):
        """Argument ``i`` as bytes."""
        return self.p[i][: self.n[i]]

    def words(self):
        """All arguments as bytes."""
        return [self.p[i][: self.n[i]] for i in range(self.count)]

    def wire(self):
        """The whole command as it stands. REQUIRES: it was scanned, not taken from a list."""
        return self.begin[: self.end - self.begin]

    def matches(self, i, upper, n):
        """Whether argument ``i`` is the word ``upper`` in any case."""
        k: cython.Py_ssize_t
        c: cython.char
        if self.n[i] != n:
            return False
        for k in range(n):
            c = self.p[i][k]
            if 97 <= c <= 122:
                c -= 32
            if c != upper[k]:
                return False
        return True

    def is_char(self, i, c):
        """Whether argument ``i`` is this one character."""
        return self.n[i] == 1 and self.p[i][0] == c

    def integer(self, i, out):
        """Argument ``i`` as a signed 64-bit integer; False where it is none."""
        return parse_integer(self.p[i], self.n[i], out)


def split_inline(line: bytes) -> list[bytes] | None:
    """The words of an inline command, quoted as in redis-cli; None where quotes do not balance."""
    words: list[bytes] = []
    i = 0
    n = len(line)
    while True:
        while i < n and line[i] in b" \t\n\v\f\r":
            i += 1
        if i >= n:
            return words
        word = bytearray()
        quote = 0
        while True:
            if i >= n:
                if quote:
                    return None
                break
            c = line[i]
            if quote == 34 and c == 92 and i + 1 < n:
                hexa = line[i + 2 : i + 4]
                if line[i + 1] == 120 and len(hexa) == 2 and _is_hex(hexa):
                    word.append(int(hexa, 16))
                    i += 3
                else:
                    i += 1
                    word.append(_ESCAPES.get(line[i], line[i]))
            elif quote == 39 and c == 92 and line[i + 1 : i + 2] == b"'":
                i += 1
                word.append(39)
            elif quote and c == quote:
                if i + 1 < n and line[i + 1] not in b" \t\n\v\f\r":
                    return None
                i += 1
                break
            elif quote:
                word.append(c)
            elif c in b" \n\r\t\0":
                break
            elif c in b"\"'":
                quote = c
            else:
                word.append(c)
            i += 1
        words.append(bytes(word))


_ESCAPES = {110: 10, 114: 13, 116: 9, 98: 8, 97: 7}


def _is_hex(text: bytes) -> bool:
    return all(c in b"0123456789abcdefABCDEF" for c in text)
