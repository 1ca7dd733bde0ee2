"""Columns become entries again; their form is described in lsmstore/columns.py.

Rules: what is read has passed a checksum. It is checked nevertheless, and no more is written than
the length that was asked for and one entry.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint8_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, malloc
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.lsmstore.buf import num_len, read_varint, write_num

from lsmstore.buf import Buf

BULK_BYTES = cython.declare(cython.Py_ssize_t, 64)  # what the form adds to a text, at most


def unpack(packed: bytes, wire_bytes: int) -> bytes:
    """The entries that ``pack`` got, ``wire_bytes`` of them. Raises ValueError for damage."""
    return ColumnReader(packed).read(wire_bytes)


@cython.final
@cython.cclass
class ColumnReader:
    """Columns that become entries again."""

    def __cinit__(self, packed: bytes) -> None:
        self.heads = cython.NULL
        self.columns = cython.NULL
        self.fields = 0

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        self.p = PyBytes_AS_STRING(packed)
        self.end = self.p + PyBytes_GET_SIZE(packed)

    def __dealloc__(self) -> None:
        field: uint64_t
        if self.columns != cython.NULL:
            for field in range(self.fields):
                free(self.columns[field].values)
                free(self.columns[field].last)
        free(self.columns)
        free(self.heads)

    def read(self, wire_bytes: cython.Py_ssize_t) -> bytes:
        """All entries. Raises ValueError for what are no such columns."""
        out: Buf = Buf(wire_bytes + 64)
        gaps: cython.p_const_char
        steps: cython.p_const_char
        codes: cython.p_const_char = cython.NULL
        key: uint64_t
        gap: uint64_t = 0
        step: uint64_t = 0
        ms: uint64_t
        seq: uint64_t
        field: uint64_t
        row: uint64_t
        ms_text: cython.char[21]
        ms_len: cython.int = 0
        self.n = self.number()
        self.fields = self.number()
        key = self.number()
        if self.n == 0 or self.n > cython.cast(uint64_t, wire_bytes):
            raise ValueError("columns with an impossible number of entries")
        if self.fields == 0 or self.fields > FIELDS_MAX or key > self.fields:
            self.fields = 0
            raise ValueError("columns with impossible fields")
        self.heads = cython.cast(cython.pointer(Text), take(self.fields * cython.sizeof(Text)))
        self.columns = cython.cast(cython.pointer(Read), take(self.fields * cython.sizeof(Read)))
        memset(self.columns, 0, self.fields * cython.sizeof(Read))
        # never to grow: pointers into it are kept
        self.rendered = Buf(
            PyBytes_GET_SIZE(self.packed) + BULK_BYTES * self.fields * (VALUES_MAX + 2)
        )
        for field in range(self.fields):
            self.heads[field] = self.bulk(2 * self.fields if field == 0 else 0)
        ms = self.number()
        seq = self.number()
        gaps = self.p
        for row in range(1, self.n):
            self.number()
        steps = self.p
        for row in range(1, self.n):
            self.number()
        for field in range(self.fields):
            self.open_column(self.columns + field)
        if self.p != self.end:
            raise ValueError("columns with more behind them")
        if key:
            codes = self.columns[key - 1].at
            if self.columns[key - 1].kind != CODES:
                raise ValueError("columns with a key that is none")
        for row in range(self.n):
            if row > 0:
                gaps = read_varint(gaps, self.end, cython.address(gap))
                steps = read_varint(steps, self.end, cython.address(step))
                seq = seq + 1 + step if gap == 0 else step
                ms += gap
            out.put(b"*2\r\n", 4)
            if ms_len == 0 or gap > 0:
                ms_len = write_num(ms_text, ms)
                ms_text[ms_len] = 45  # '-'
                ms_len += 1
            out.put_head(36, ms_len + num_len(seq))
            out.put(ms_text, ms_len)
            out.put_num(seq)
            out.put(b"\r\n", 2)
            for field in range(self.fields):
                out.put(self.heads[field].p, self.heads[field].n)
                self.write_value(
                    out,
                    self.columns + field,
                    0 if key == 0 else cython.cast(uint8_t, codes[row]),
                )
            if out.n > wire_bytes:
                break
        if out.n != wire_bytes:
            raise ValueError("columns of another length")
        for field in range(self.fields):
            if self.columns[field].at != self.columns[field].end:
                raise ValueError("a column that is too long")
        return out.copy()

    def number(self):
        """The next varint."""
        value: uint64_t = 0
        self.p = read_varint(self.p, self.end, cython.address(value))
        if self.p == cython.NULL:
            raise ValueError("columns are cut short")
        return value

    def text(self):
        """The next text with its length."""
        found: Text
        n: uint64_t = self.number()
        if n > cython.cast(uint64_t, self.end - self.p):
            raise ValueError("columns are cut short")
        found.p = self.p
        found.n = n
        self.p += n
        return found

    def bulk(self, args):
        """The next text as it stands in an entry; before it the head of ``args`` (0: none)."""
        text: Text = self.text()
        found: Text
        start: cython.Py_ssize_t = self.rendered.n
        if args:
            self.rendered.put_head(42, args)
        self.rendered.put_bulk(text.p, text.n)
        found.p = self.rendered.p + start
        found.n = self.rendered.n - start
        return found

    def open_column(self, column):
        """Find where the parts of the next column are."""
        body: Text
        end: cython.p_const_char = self.end
        texts: uint64_t = 0
        length: uint64_t
        i: uint64_t
        if self.p >= end:
            raise ValueError("columns are cut short")
        column.kind = cython.cast(uint8_t, self.p[0])
        self.p += 1
        body = self.text()
        if column.kind == TEXT:
            self.p = column.lengths = body.p
            self.end = body.p + body.n
            for i in range(self.n):
                length = self.number()
                if length > cython.cast(uint64_t, body.n):
                    raise ValueError("a column of another length")
                texts += length
            column.at = self.p
        elif column.kind == CODES:
            self.p = body.p
            self.end = body.p + body.n
            column.n_values = self.number()
            if column.n_values == 0 or column.n_values > VALUES_MAX:
                raise ValueError("a column with an impossible number of values")
            column.values = cython.cast(
                cython.pointer(Text), take(column.n_values * cython.sizeof(Text))
            )
            for i in range(column.n_values):
                column.values[i] = self.bulk(0)
            column.at = self.p
            texts = self.n
        elif column.kind == DECIMAL and body.n > 0:
            column.scale = cython.cast(uint8_t, body.p[0])
            column.at = body.p + 1
            column.last = cython.cast(cython.pointer(Last), take(VALUES_MAX * cython.sizeof(Last)))
            memset(column.last, 0, VALUES_MAX * cython.sizeof(Last))
            texts = body.n - 1
            if column.scale > DIGITS_MAX:
                raise ValueError("a column of numbers that are too long")
        else:
            raise ValueError("a column of an unknown kind")
        column.end = body.p + body.n
        if texts != cython.cast(uint64_t, column.end - column.at):
            raise ValueError("a column of another length")
        self.p = column.end
        self.end = end
        return 0

    def write_value(self, out, column, code):
        """The next value of a column as a bulk string."""
        text: cython.char[32]
        start: cython.p_char
        digits: cython.int
        last: cython.pointer(Last)
        number: uint64_t = 0
        if column.kind == TEXT:
            column.lengths = read_varint(column.lengths, column.end, cython.address(number))
            out.put_bulk(column.at, number)
            column.at += number
        elif column.kind == CODES:
            number = cython.cast(uint8_t, column.at[0])
            if number >= column.n_values:
                raise ValueError("a value without a code")
            out.put(column.values[number].p, column.values[number].n)
            column.at += 1
        else:
            column.at = read_varint(column.at, column.end, cython.address(number))
            if column.at == cython.NULL:
                raise ValueError("a column of numbers is cut short")
            if code >= VALUES_MAX:
                raise ValueError("a value without a code")
            last = column.last + code
            if last.known:
                column.before = last.value
            column.before += (number >> 1) ^ (0 - (number & 1))
            last.known = True
            last.value = column.before
            digits = write_decimal(text + 5, cython.cast(int64_t, column.before), column.scale)
            start = text + (0 if digits > 9 else 1)
            start[0] = 36  # '$', and one or two digits
            write_num(start + 1, digits)
            text[3] = 13
            text[4] = 10
            text[5 + digits] = 13
            text[6 + digits] = 10
            out.put(start, text + 7 + digits - start)
        return 0


def take(n):
    """Memory; there is always some."""
    found: cython.p_void = malloc(n if n > 0 else 1)
    if found == cython.NULL:
        abort()
    return found


def write_decimal(to, value, scale):
    """Print a number of ``scale`` digits behind the point, which are at most 18; its length."""
    digits: cython.char[24]
    n: cython.int
    whole: cython.int
    at: cython.int = 0
    rest: uint64_t = cython.cast(uint64_t, value)
    if value < 0:
        to[0] = 45
        at = 1
        rest = 0 - rest
    n = write_num(digits, rest)
    whole = n - scale
    if whole <= 0:
        to[at] = 48
        at += 1
    else:
        memcpy(to + at, digits, whole)
        at += whole
    if scale > 0:
        to[at] = 46
        at += 1
        while whole < 0:
            to[at] = 48
            at += 1
            whole += 1
        memcpy(to + at, digits + whole, n - whole)
        at += n - whole
    return at
