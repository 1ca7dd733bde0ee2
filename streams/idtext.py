"""Stream IDs as clients write them, read exactly as Redis reads them.

    id := number | number '-' number | number '-*' (where asked) | '-' | '+' (unless strict)

A number is what C's strtoull takes whole: the common case is plain digits; blanks in front, a plus
sign and leading zeros pass, too. More than 127 bytes are no ID; a NUL ends the text. Source:
streamGenericParseIDOrReply.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.string import memcpy, strchr, strlen
from cython.cimports.lsmstore.buf import U64_MAX

ID_BYTES_MAX = cython.declare(cython.Py_ssize_t, 127)


def read_number(text, out):
    """Redis' string2ull: a whole C string that strtoull takes; False for anything else."""
    value: uint64_t = 0
    digit: uint64_t
    negative: cython.bint = False
    i: cython.int = 0
    while text[i] == 32 or 9 <= text[i] <= 13:
        i += 1
    if text[i] == 43 or text[i] == 45:
        negative = text[i] == 45
        i += 1
    if text[i] == 0:
        return False
    while text[i] != 0:
        if text[i] < 48 or text[i] > 57:
            return False
        digit = cython.cast(uint64_t, text[i] - 48)
        if value > U64_MAX // 10 or (value == U64_MAX // 10 and digit > 5):
            return False
        value = value * 10 + digit
        i += 1
    # A plain negative 64-bit integer is refused; strtoull lets all others wrap around.
    if text[0] == 45 and text[1] != 48 and value <= 0x8000000000000000:
        return False
    out[0] = 0 - value if negative else value
    return True


def parse_id(p, n, missing_seq, strict, seq_given, ms, seq):
    """Read an ID; False where it is none.

    ``seq_given`` (may be NULL) allows ``ms-*`` and says whether it was not that.
    """
    value: uint64_t = 0
    i: cython.Py_ssize_t = 0
    text: cython.char[128]
    dash: cython.p_char
    if seq_given != cython.NULL:
        seq_given[0] = True
    # plain digits, at most 19 of them: cannot overflow
    while i < n and i < 19 and 48 <= p[i] <= 57:
        value = value * 10 + cython.cast(uint64_t, p[i] - 48)
        i += 1
    if i == n and i > 0:
        ms[0] = value
        seq[0] = missing_seq
        return True
    if i > 0 and p[i] == 45 and i + 1 < n and n - i - 1 <= 19:
        ms[0] = value
        value = 0
        i += 1
        while i < n and 48 <= p[i] <= 57:
            value = value * 10 + cython.cast(uint64_t, p[i] - 48)
            i += 1
        if i == n:
            seq[0] = value
            return True
    if n > ID_BYTES_MAX:
        return False
    memcpy(text, p, n)
    text[n] = 0
    if text[0] == 45 and text[1] == 0:
        ms[0] = 0
        seq[0] = 0
        return not strict
    if text[0] == 43 and text[1] == 0:
        ms[0] = U64_MAX
        seq[0] = U64_MAX
        return not strict
    dash = strchr(text, 45)
    if dash != cython.NULL:
        dash[0] = 0
    if not read_number(text, ms):
        return False
    if dash == cython.NULL:
        seq[0] = missing_seq
        return True
    if seq_given != cython.NULL and strlen(dash + 1) == 1 and dash[1] == 42:
        seq[0] = 0
        seq_given[0] = False
        return True
    return read_number(dash + 1, seq)


def parse_bound(p, n, missing_seq, exclusive, ms, seq):
    """Read an end of a range: an ID, perhaps with ``(`` before it."""
    exclusive[0] = n > 1 and p[0] == 40
    if exclusive[0]:
        return parse_id(p + 1, n - 1, missing_seq, True, cython.NULL, ms, seq)
    return parse_id(p, n, missing_seq, False, cython.NULL, ms, seq)


def read_id(text: bytes, missing_seq: uint64_t = 0, strict: bool = True) -> tuple[int, int] | None:
    """The ID in ``text``, None where it is none."""
    ms: uint64_t = 0
    seq: uint64_t = 0
    if not parse_id(
        text, len(text), missing_seq, strict, cython.NULL, cython.address(ms), cython.address(seq)
    ):
        return None
    return ms, seq


def read_bound(text: bytes, missing_seq: uint64_t) -> tuple[int, int, bool] | None:
    """(ms, seq, exclusive) of an end of a range, None where it is none."""
    ms: uint64_t = 0
    seq: uint64_t = 0
    exclusive: cython.bint = False
    if not parse_bound(
        text,
        len(text),
        missing_seq,
        cython.address(exclusive),
        cython.address(ms),
        cython.address(seq),
    ):
        return None
    return ms, seq, exclusive
