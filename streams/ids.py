"""Stream IDs as tuples (ms, seq) of unsigned 64-bit integers, which compare as IDs do.

The grammar of their text is that of streams/idtext.py, which reads them.
"""

from __future__ import annotations

from streams.idtext import read_bound, read_id

ID = tuple[int, int]

U64_MAX = (1 << 64) - 1
MIN_ID: ID = (0, 0)
MAX_ID: ID = (U64_MAX, U64_MAX)


def parse(text: bytes, missing_seq: int = 0) -> ID | None:
    """An ID, ``-`` or ``+``; None if it is neither. An ID without seq gets ``missing_seq``."""
    return read_id(text, missing_seq, False)


def parse_strict(text: bytes, missing_seq: int = 0) -> ID | None:
    """An ID that is neither ``-`` nor ``+``, or None."""
    return read_id(text, missing_seq, True)


def parse_bound(text: bytes, missing_seq: int) -> tuple[ID, bool] | None:
    """One end of a range and whether it is excluded, or None."""
    bound = read_bound(text, missing_seq)
    return None if bound is None else ((bound[0], bound[1]), bound[2])


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
