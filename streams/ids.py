"""Stream IDs for the commands that are not compiled: Redis' grammar, neighbours, text.

An ID is a tuple (ms, seq) of unsigned 64-bit integers::

    id    := '-' | '+' | num [ '-' num ]    '-' and '+': the lowest and the highest; strict: neither
    bound := '(' strict id | id             '(': the ID itself is excluded

Rules: an ID is at most 127 bytes long and ends at a NUL, as C sees it. ``num`` is what C's
strtoull takes for an unsigned number: spaces and a plus sign may lead, leading zeros are skipped,
and a number with a minus sign wraps around unless it is a plain negative 64-bit integer
(``5--05`` names the seq 2^64 - 5).
"""

from __future__ import annotations

import re

ID = tuple[int, int]

U64_MAX = (1 << 64) - 1
INT64_MIN_MAGNITUDE = 1 << 63
ID_BYTES_MAX = 127
MIN_ID: ID = (0, 0)
MAX_ID: ID = (U64_MAX, U64_MAX)

_NUMBER = re.compile(rb"([ \t\n\v\f\r]*)([+-]?)([0-9]+)")


def parse_number(text: bytes) -> int | None:
    """The unsigned 64-bit number that Redis reads in ``text``, or None."""
    if text.isdigit():
        value = int(text)
        return value if value <= U64_MAX else None
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    spaces, sign, digits = found.groups()
    value = int(digits)
    if value > U64_MAX:
        return None
    if sign != b"-":
        return value
    plain = not spaces and digits[:1] != b"0"
    if plain and value <= INT64_MIN_MAGNITUDE:
        return None
    return -value & U64_MAX


def parse(text: bytes, missing_seq: int = 0) -> ID | None:
    """An ID, ``-`` or ``+``; None if it is neither. An ID without seq gets ``missing_seq``."""
    if len(text) > ID_BYTES_MAX:
        return None
    if text[:2] in (b"-", b"-\0"):
        return MIN_ID
    if text[:2] in (b"+", b"+\0"):
        return MAX_ID
    ms_text, dash, seq_text = text.partition(b"\0")[0].partition(b"-")
    ms = parse_number(ms_text)
    seq = parse_number(seq_text) if dash else missing_seq
    if ms is None or seq is None:
        return None
    return ms, seq


def parse_strict(text: bytes, missing_seq: int = 0) -> ID | None:
    """An ID that is neither ``-`` nor ``+``, or None."""
    if text[:2] in (b"-", b"+", b"-\0", b"+\0"):
        return None
    return parse(text, missing_seq)


def parse_bound(text: bytes, missing_seq: int) -> tuple[ID, bool] | None:
    """One end of a range and whether it is excluded, or None."""
    if len(text) > 1 and text[:1] == b"(":
        bound = parse_strict(text[1:], missing_seq)
        return None if bound is None else (bound, True)
    bound = parse(text, missing_seq)
    return None if bound is None else (bound, False)


def successor(id: ID) -> ID | None:
    """The next higher ID; None after the highest."""
    ms, seq = id
    if seq < U64_MAX:
        return ms, seq + 1
    if ms < U64_MAX:
        return ms + 1, 0
    return None


def predecessor(id: ID) -> ID | None:
    """The next lower ID; None before the lowest."""
    ms, seq = id
    if seq > 0:
        return ms, seq - 1
    if ms > 0:
        return ms - 1, U64_MAX
    return None


def text(id: ID) -> bytes:
    """The ID as Redis prints it."""
    return b"%d-%d" % id


def id_of_entry(wire: bytes) -> ID:
    """The ID of an entry in wire form (see lsmstore/block.py)."""
    start = wire.index(b"\n", 4) + 1
    ms, _, seq = wire[start : wire.index(b"\r", start)].partition(b"-")
    return int(ms), int(seq)
