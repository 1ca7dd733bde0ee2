"""Redis' glob patterns, to the letter: KEYS, SCAN MATCH, CONFIG GET and COMMAND LIST match by them.

    '*'             any bytes, none too
    '?'             one byte
    '[' set ']'     one byte of the set; after '^' one that is not in it
    '\\' byte        that byte
    byte            that byte; with ``nocase`` ASCII letters match in either case

    set := ( '\\' byte | byte '-' byte | byte )*

Peculiarities that clients can see and that are kept: a set that is not closed ends with the
pattern; ``[a-]`` is the range from ``a`` to ``]``; a range is turned round if need be and compares
bytes as signed; an escaped byte of a set is never matched in the other case; a ``\\`` at the very
end is a plain byte; a text without bytes is matched by an empty pattern only; with more than a
thousand stars before the last nothing matches.

The last star that was passed is the only one to come back to: what lies before it is matched as
early as possible, and matching it later can only leave less text for the rest.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE

STARS_MAX = 1000


def lower(c):
    """ASCII letters in lower case."""
    return c + 32 if 65 <= c <= 90 else c


def member(p, end, c, nocase, after):
    """Whether byte ``c`` is in the set that begins at ``p``; ``after``: where the set ends."""
    found: cython.bint = False
    negated: cython.bint = p < end and p[0] == 94
    low: cython.int
    high: cython.int
    one: cython.int
    if negated:
        p += 1
    while p < end and p[0] != 93:
        if p[0] == 92 and end - p >= 2:
            p += 1
            if p[0] == c:
                found = True
        elif end - p >= 3 and p[1] == 45:
            low = cython.cast(cython.schar, p[0])
            high = cython.cast(cython.schar, p[2])
            one = cython.cast(cython.schar, c)
            if low > high:
                low, high = high, low
            if nocase:
                low, high, one = lower(low), lower(high), lower(one)
            if low <= one <= high:
                found = True
            p += 2
        elif p[0] == c or (nocase and lower(p[0]) == lower(c)):
            found = True
        p += 1
    after[0] = p + 1 if p < end else end
    return found != negated


def matches(pattern: bytes, text: bytes, nocase: cython.bint = False) -> cython.bint:
    """Whether ``pattern`` matches the whole of ``text``."""
    p: cython.p_uchar = cython.cast(cython.p_uchar, PyBytes_AS_STRING(pattern))
    p_end: cython.p_uchar = p + PyBytes_GET_SIZE(pattern)
    s: cython.p_uchar = cython.cast(cython.p_uchar, PyBytes_AS_STRING(text))
    s_end: cython.p_uchar = s + PyBytes_GET_SIZE(text)
    star: cython.p_uchar = cython.NULL  # what follows the last star
    retry: cython.p_uchar = cython.NULL  # where that was last tried
    after: cython.p_uchar = cython.NULL
    stars: cython.int = 0
    fits: cython.bint
    if s == s_end:
        return p == p_end
    while s < s_end:
        fits = False
        if p < p_end and p[0] == 42:
            while p < p_end and p[0] == 42:
                p += 1
            if p == p_end:
                return True
            stars += 1
            if stars > STARS_MAX:
                return False
            star = p
            retry = s
            continue
        if p < p_end:
            if p[0] == 63:
                fits = True
                after = p + 1
            elif p[0] == 91:
                fits = member(p + 1, p_end, s[0], nocase, cython.address(after))
            else:
                if p[0] == 92 and p_end - p >= 2:
                    p += 1
                fits = p[0] == s[0] or (nocase and lower(p[0]) == lower(s[0]))
                after = p + 1
        if fits:
            p = after
            s += 1
        elif star != cython.NULL:
            retry += 1
            s = retry
            p = star
        else:
            return False
    while p < p_end and p[0] == 42:
        p += 1
    return p == p_end
