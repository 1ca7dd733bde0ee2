"""Counts RESP2 replies without building them, however the input is split.

It is strict, so that a server that sends garbage cannot look quick::

    reply  := line | number | bulk | array
    line   := ('+' | '-') text CRLF
    number := ':' int CRLF
    bulk   := '$' int CRLF bytes CRLF | '$-1' CRLF
    array  := '*' int CRLF reply{int} | '*-1' CRLF          at most 16 deep
    int    := '-'? digit{1,18}

Besides replies it counts: error lines, at any depth; replies that are null or an empty array
(``nulls``: nothing was delivered); the elements of arrays at one chosen depth (``entries``: at 2
XREADGROUP lists the entries of a stream, at 0 XRANGE does); and the sum of the replies that are
numbers (``total``). The second bulk string of a reply is kept where it fits in 64 bytes: in an
XREADGROUP reply with one entry that is the entry's id.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.string import memcpy

# What the next byte belongs to.
KIND = 0
NUMBER = 1
NUMBER_LF = 2
LINE = 3
LINE_LF = 4
BULK = 5
BULK_CR = 6
BULK_LF = 7
GARBAGE = 8

LF = 10
CR = 13
DOLLAR = 36
STAR = 42
PLUS = 43
MINUS = 45
DIGIT_0 = 48
DIGIT_9 = 57
COLON = 58


@cython.final
@cython.cclass
class Skipper:
    """The replies of one connection. Counters only grow."""

    def __cinit__(self, entries_depth: cython.int = -1) -> None:
        self.entries_depth = entries_depth
        self.error_line = b""

    def feed_bytes(self, data: bytes) -> bool:
        """Take the next bytes; False once they cannot be RESP2."""
        return self.feed(data, len(data)) == 0

    @property
    def first_error(self) -> bytes:
        """The first error line, without its ``-``; empty if there was none."""
        return self.error_line

    @property
    def second_bulk(self) -> bytes:
        """The second bulk string of the newest reply that has one."""
        return self.kept[: self.kept_len]

    @property
    def complete(self) -> bool:
        """Whether the input ended with a whole reply."""
        return self.state == KIND and self.depth == 0

    def feed(self, p, n):
        """Take ``n`` bytes: 0, or -1 once they cannot be RESP2."""
        end: cython.p_const_char = p + n
        c: cython.char
        q: cython.p_const_char
        size: cython.Py_ssize_t
        while p < end:
            if self.state == KIND and p[0] == DOLLAR and self.bulks >= 2:
                # Most of a reply is bulk strings that nobody keeps, whole in the input: in one go.
                size = 0
                q = p + 1
                while q < end and q[0] >= DIGIT_0 and q[0] <= DIGIT_9 and q - p <= 9:
                    size = size * 10 + (q[0] - DIGIT_0)
                    q += 1
                if (
                    q > p + 1
                    and end - q >= size + 4
                    and q[0] == CR
                    and q[1] == LF
                    and q[size + 2] == CR
                    and q[size + 3] == LF
                ):
                    p = q + size + 4
                    self.end_item()
                    continue
            if self.state == BULK:
                size = min(self.left, end - p)
                if self.bulks == 2 and self.kept_len + size <= 64:
                    memcpy(cython.address(self.kept[self.kept_len]), p, size)
                    self.kept_len += size
                self.left -= size
                p += size
                if self.left == 0:
                    self.state = BULK_CR
                continue
            c = p[0]
            p += 1
            if self.state == KIND:
                self.kind = c
                if c == DOLLAR or c == STAR or c == COLON:
                    self.number = 0
                    self.digits = 0
                    self.negative = False
                    self.state = NUMBER
                elif c == PLUS or c == MINUS:
                    self.line_len = 0
                    self.state = LINE
                else:
                    self.state = GARBAGE
            elif self.state == NUMBER:
                if c >= DIGIT_0 and c <= DIGIT_9 and self.digits < 18:
                    self.number = self.number * 10 + (c - DIGIT_0)
                    self.digits += 1
                elif c == CR and self.digits > 0:
                    self.state = NUMBER_LF
                elif c == MINUS and self.digits == 0 and not self.negative:
                    self.negative = True
                else:
                    self.state = GARBAGE
            elif self.state == NUMBER_LF:
                if c == LF:
                    self.state = self.end_number()
                else:
                    self.state = GARBAGE
            elif self.state == LINE:
                if c == CR:
                    self.state = LINE_LF
                elif self.line_len < 200:
                    self.line[self.line_len] = c
                    self.line_len += 1
            elif self.state == LINE_LF:
                if c == LF:
                    if self.kind == MINUS:
                        self.errors += 1
                        if not self.error_line:
                            self.error_line = self.line[: self.line_len]
                    self.end_item()
                else:
                    self.state = GARBAGE
            elif self.state == BULK_CR and c == CR:
                self.state = BULK_LF
            elif self.state == BULK_LF and c == LF:
                self.end_item()
            else:
                self.state = GARBAGE
            if self.state == GARBAGE:
                return -1
        return 0

    def end_number(self):
        """Act on a whole length or number line; the state that follows."""
        if self.negative:
            self.number = -self.number
        if self.kind == COLON:
            if self.depth == 0:
                self.total += self.number
            self.end_item()
            return KIND
        if self.number < 0:
            if self.number != -1:
                return GARBAGE
            if self.depth == 0:
                self.nulls += 1
            self.end_item()
            return KIND
        if self.kind == DOLLAR:
            self.bulks += 1
            if self.bulks == 2:
                self.kept_len = 0
            self.left = self.number
            return BULK if self.number > 0 else BULK_CR
        if self.depth == self.entries_depth:
            self.entries += self.number
        if self.number == 0:
            if self.depth == 0:
                self.nulls += 1
            self.end_item()
        elif self.depth == 16:
            return GARBAGE
        else:
            self.open_arrays[self.depth] = self.number
            self.depth += 1
        return KIND

    def end_item(self):
        """One value is whole, and with it perhaps the arrays it was the last of."""
        self.state = KIND
        while self.depth > 0:
            self.open_arrays[self.depth - 1] -= 1
            if self.open_arrays[self.depth - 1] > 0:
                return
            self.depth -= 1
        self.replies += 1
        self.bulks = 0
