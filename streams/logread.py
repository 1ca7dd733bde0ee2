"""Records of the log read without applying them: what they are about, for reports and repairs.

Grammar: streams/records.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

ADD: Final = 1
"""As in streams/records.pxd."""


class Record(NamedTuple):
    """One record."""

    lsn: int
    kind: int
    data: bytes
    """All of it, with kind and length."""
    body: bytes


def records(first_lsn: int, payload: bytes) -> Iterator[Record]:
    """The records of a frame's payload, up to the first that is cut short."""
    at = 0
    lsn = first_lsn
    while at < len(payload):
        length, start = varint(payload, at + 1)
        end = start + length
        if end > len(payload):
            return
        yield Record(lsn, payload[at], payload[at:end], payload[start:end])
        at = end
        lsn += 1


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends) of a varint; at the end of the data it is 0."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return value, at


def added(record: Record) -> tuple[int, tuple[int, int]] | None:
    """(sid, ID) of an entry that a record adds; None if it adds none."""
    if record.kind != ADD:
        return None
    sid, at = varint(record.body, 0)
    start = record.body.index(b"\r\n", at + 5) + 2  # behind the flags, '*2' and the ID's length
    ms, _, seq = record.body[start : record.body.index(b"\r\n", start)].partition(b"-")
    return sid, (int(ms), int(seq))
