"""Columns: the entries of a frame, field by field, numbers as differences. A filter before zstd.

    columns := v entries, v fields, v key, text name..., ids, column...
    ids     := v ms, v seq (of the first entry), v ms - ms before..., v step...
    step    := where ms stayed seq - seq before - 1, else seq
    column  := u8 kind, v length of what follows, then by kind:
    TEXT    := v length..., bytes...
    CODES   := v values, text value..., u8 code...
    DECIMAL := u8 scale, z difference...

    v = varint, z = varint of a zigzag number, text = v length, bytes

A number ``d.ddd`` of ``scale`` digits behind the point is the integer of its digits. ``key`` 0: the
difference is that to the entry before; else ``key`` - 1 is a column of codes, and it is that to the
last entry with the same code, such as the same sensor (the entry before, where it is the first).

Rules of this file:

1. Only entries that have the same fields in the same order are packed, and only what is unpacked to
   the same bytes: ``pack`` tries.
2. What unpacks them (lsmstore/columnreader.py) is a file of its own.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memcmp, memset
from cython.cimports.lsmstore.block import read_entry_id, skip_bulk, skip_entry
from cython.cimports.lsmstore.columnreader import take

from lsmstore.buf import Buf
from lsmstore.columnreader import unpack

ENTRIES_MIN = cython.declare(uint32_t, 16)
HASHED_BYTES = cython.declare(cython.Py_ssize_t, 32)


def pack(wire: bytes) -> bytes | None:
    """The entries in ``wire`` as columns, which are shorter; None where they would not be, or the
    entries are too few or not alike.
    """
    columns = Columns()
    out: Buf = Buf(PyBytes_GET_SIZE(wire) // 4)
    p: cython.p_const_char = PyBytes_AS_STRING(wire)
    field: uint32_t
    if not columns.parse(p, p + PyBytes_GET_SIZE(wire)):
        return None
    for field in range(columns.fields):
        columns.make(field)
    columns.write(out, columns.best_key())
    if out.n >= PyBytes_GET_SIZE(wire):
        return None
    packed: bytes = out.copy()
    return packed if unpack(packed, PyBytes_GET_SIZE(wire)) == wire else None


@cython.final
@cython.cclass
class Columns:
    """Entries that are being put into columns."""

    def __cinit__(self) -> None:
        self.n = 0
        self.fields = 0
        self.ms = cython.NULL
        self.seq = cython.NULL
        self.names = cython.NULL
        self.values = cython.NULL
        self.made = cython.NULL

    def __dealloc__(self) -> None:
        field: uint32_t
        if self.made != cython.NULL:
            for field in range(self.fields):
                free(self.made[field].codes)
                free(self.made[field].numbers)
        free(self.made)
        free(self.values)
        free(self.names)
        free(self.seq)
        free(self.ms)

    def parse(self, p, end):
        """Find IDs, names and values; False where the entries are not alike."""
        q: cython.p_const_char = p
        args: uint32_t
        field: uint32_t
        row: uint32_t = 0
        n: cython.Py_ssize_t
        name: cython.pointer(Text)
        while q != cython.NULL and q < end:
            q = skip_entry(q, end)
            self.n += 1
        if q == cython.NULL or self.n < ENTRIES_MIN:
            return False
        self.ms = cython.cast(cython.pointer(uint64_t), take(8 * self.n))
        self.seq = cython.cast(cython.pointer(uint64_t), take(8 * self.n))
        while p < end:
            p = read_entry_id(p, self.ms + row, self.seq + row) + 1  # '*'
            args = 0
            while p[0] != 13:
                args = args * 10 + cython.cast(uint32_t, p[0] - 48)
                if args > 2 * FIELDS_MAX:
                    return False
                p += 1
            p += 2
            if row == 0:
                self.fields = args // 2
                self.names = cython.cast(
                    cython.pointer(Text), take(self.fields * cython.sizeof(Text))
                )
                self.values = cython.cast(
                    cython.pointer(Text), take(self.n * self.fields * cython.sizeof(Text))
                )
                self.made = cython.cast(
                    cython.pointer(Made), take(self.fields * cython.sizeof(Made))
                )
                memset(self.made, 0, self.fields * cython.sizeof(Made))
            if args != 2 * self.fields:
                return False
            for field in range(self.fields):
                name = self.names + field
                q = skip_bulk(p, end)
                while p[0] != 10:
                    p += 1
                n = q - p - 3
                if row == 0:
                    name.p = p + 1
                    name.n = n
                elif name.n != n or memcmp(name.p, p + 1, n) != 0:
                    return False
                p = q
                q = skip_bulk(p, end)
                while p[0] != 10:
                    p += 1
                # by column: what follows looks at one after the other
                self.values[field * self.n + row].p = p + 1
                self.values[field * self.n + row].n = q - p - 3
                p = q
            row += 1
        return True

    def make(self, field):
        """Choose how a column is written."""
        if self.make_codes(field, FEW_VALUES) or self.make_numbers(field):
            return 0
        if not self.make_codes(field, VALUES_MAX):
            self.made[field].kind = TEXT
        return 0

    def make_codes(self, field, most):
        """Number the values, if there are at most ``most`` and each comes again and again."""
        made: cython.pointer(Made) = self.made + field
        value: cython.pointer(Text)
        seen: Text[VALUES_MAX]
        places: cython.short[PLACES]
        count: cython.int = 0
        hashed: uint32_t
        i: cython.Py_ssize_t
        row: uint32_t
        if made.codes == cython.NULL:
            made.codes = cython.cast(cython.pointer(uint8_t), take(self.n))
        memset(places, 255, cython.sizeof(places))
        for row in range(self.n):
            value = self.values + field * self.n + row
            hashed = cython.cast(uint32_t, value.n)
            for i in range(value.n if value.n < HASHED_BYTES else HASHED_BYTES):
                hashed = hashed * 31 + cython.cast(uint8_t, value.p[i])
            hashed = (hashed ^ hashed >> 15) & (PLACES - 1)
            while places[hashed] >= 0:
                if (
                    seen[places[hashed]].n == value.n
                    and memcmp(seen[places[hashed]].p, value.p, value.n) == 0
                ):
                    break
                hashed = (hashed + 1) & (PLACES - 1)
            if places[hashed] < 0:
                if count == most or 4 * cython.cast(uint32_t, count) >= self.n:
                    return False
                seen[count] = value[0]
                places[hashed] = count
                count += 1
            made.codes[row] = cython.cast(uint8_t, places[hashed])
        made.kind = CODES
        made.values = count
        return True

    def make_numbers(self, field):
        """Take the values as numbers, if all of them are and have the same scale."""
        made: cython.pointer(Made) = self.made + field
        value: cython.pointer(Text)
        scale: cython.int = 0
        row: uint32_t
        made.numbers = cython.cast(cython.pointer(int64_t), take(8 * self.n))
        for row in range(self.n):
            value = self.values + field * self.n + row
            if not parse_decimal(value.p, value.n, cython.address(scale), made.numbers + row) or (
                row > 0 and scale != made.scale
            ):
                return False
            made.scale = scale
        made.kind = DECIMAL
        return True

    def best_key(self):
        """The column of codes with which differences are smallest; 0: none."""
        field: uint32_t
        best: cython.int = 0
        bits: uint64_t
        least: uint64_t = self.bits(0)
        for field in range(self.fields):
            if self.made[field].kind == CODES and self.made[field].values > 1:
                bits = self.bits(field + 1)
                if bits < least:
                    best = field + 1
                    least = bits
        return best

    def bits(self, key):
        """How many bits the differences have with a key."""
        last: Last[VALUES_MAX]
        codes: cython.pointer(uint8_t) = cython.NULL if key == 0 else self.made[key - 1].codes
        total: uint64_t = 0
        value: int64_t
        before: int64_t
        code: uint8_t
        field: uint32_t
        row: uint32_t
        for field in range(self.fields):
            if self.made[field].kind != DECIMAL:
                continue
            memset(last, 0, cython.sizeof(last))
            before = 0
            for row in range(self.n):
                value = self.made[field].numbers[row]
                code = 0 if codes == cython.NULL else codes[row]
                if last[code].known:
                    before = cython.cast(int64_t, last[code].value)
                total += bit_length(zigzag(value - before))
                last[code].known = True
                last[code].value = cython.cast(uint64_t, value)
                before = value
        return total

    def write(self, out, key):
        """Everything."""
        row: uint32_t
        field: uint32_t
        out.put_varint(self.n)
        out.put_varint(self.fields)
        out.put_varint(key)
        for field in range(self.fields):
            out.put_varint(self.names[field].n)
            out.put(self.names[field].p, self.names[field].n)
        out.put_varint(self.ms[0])
        out.put_varint(self.seq[0])
        for row in range(1, self.n):
            out.put_varint(self.ms[row] - self.ms[row - 1])
        for row in range(1, self.n):
            if self.ms[row] == self.ms[row - 1]:
                out.put_varint(self.seq[row] - self.seq[row - 1] - 1)
            else:
                out.put_varint(self.seq[row])
        body: Buf = Buf(4096)
        for field in range(self.fields):
            body.n = 0
            self.write_column(body, field, key)
            out.put_byte(self.made[field].kind)
            out.put_varint(body.n)
            out.put(body.p, body.n)

    def write_column(self, out, field, key):
        """The values of a field."""
        made: cython.pointer(Made) = self.made + field
        value: cython.pointer(Text) = self.values + field * self.n
        codes: cython.pointer(uint8_t) = cython.NULL if key == 0 else self.made[key - 1].codes
        last: Last[VALUES_MAX]
        before: int64_t = 0
        code: cython.int
        row: uint32_t
        if made.kind == TEXT:
            for row in range(self.n):
                out.put_varint(value[row].n)
            for row in range(self.n):
                out.put(value[row].p, value[row].n)
        elif made.kind == CODES:
            out.put_varint(made.values)
            code = 0
            for row in range(self.n):
                if made.codes[row] == code:  # the first with it
                    out.put_varint(value[row].n)
                    out.put(value[row].p, value[row].n)
                    code += 1
            out.put(cython.cast(cython.p_const_char, made.codes), self.n)
        else:
            out.put_byte(made.scale)
            memset(last, 0, cython.sizeof(last))
            for row in range(self.n):
                code = 0 if codes == cython.NULL else codes[row]
                if last[code].known:
                    before = cython.cast(int64_t, last[code].value)
                out.put_varint(zigzag(made.numbers[row] - before))
                before = made.numbers[row]
                last[code].known = True
                last[code].value = cython.cast(uint64_t, before)


def parse_decimal(p, n, scale, value):
    """Whether a text is a number as ``write_decimal`` prints it."""
    i: cython.Py_ssize_t = 0
    start: cython.Py_ssize_t
    digits: cython.int = 0
    point: cython.Py_ssize_t = -1
    found: int64_t = 0
    if n > 0 and p[0] == 45:
        i = 1
    start = i
    while i < n:
        if p[i] == 46 and point < 0 and i > start:
            point = i
        elif 48 <= p[i] <= 57:
            digits += 1
            if digits > DIGITS_MAX:
                return False
            found = found * 10 + (p[i] - 48)
        else:
            return False
        i += 1
    if digits == 0 or point == n - 1 or (start == 1 and found == 0):
        return False
    if p[start] == 48 and n - start > 1 and p[start + 1] != 46:
        return False
    scale[0] = 0 if point < 0 else cython.cast(cython.int, n - 1 - point)
    value[0] = -found if start == 1 else found
    return True


def zigzag(value):
    """A signed number as an unsigned one, small ones small."""
    return cython.cast(uint64_t, value) << 1 ^ cython.cast(uint64_t, value >> 63)


def bit_length(value):
    """How many bits a number has."""
    n: cython.int = 0
    while value:
        value >>= 1
        n += 1
    return n
