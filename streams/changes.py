"""What the records of a log say has changed, without applying them.

A record is the only thing that tells every change exactly and once (grammar: streams/records.py).
Whoever must hear of changes as they happen reads the records that a command has just written;
while nobody listens nothing is read.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.libc.stdint import uint8_t, uint64_t
from cython.cimports.lsmstore.buf import read_varint
from cython.cimports.streams.records import (
    ADD,
    CONSUMER_CREATE,
    CONSUMER_DELETE,
    DELETE,
    GROUP_CREATE,
    GROUP_DESTROY,
    GROUP_SET_ID,
    KEY_COPY,
    KEY_DELETE,
    KEY_EXPIRE,
    KEY_EXPIRED,
    KEY_MOVE,
    KEY_PATCH,
    KEY_STREAM,
    KEY_STRING,
    NAMESPACE,
    SET_ID,
    SWAP,
    TRIM,
)

from lsmstore.buf import Buf

# Named as Redis names the event; records that make no event (deliveries, acknowledgements, claims)
# are passed over.
STREAM_EVENTS = {
    ADD: b"xadd",
    TRIM: b"xtrim",
    DELETE: b"xdel",
    SET_ID: b"xsetid",
    GROUP_CREATE: b"xgroup-create",
    GROUP_SET_ID: b"xgroup-setid",
    GROUP_DESTROY: b"xgroup-destroy",
    CONSUMER_CREATE: b"xgroup-createconsumer",
    CONSUMER_DELETE: b"xgroup-delconsumer",
}
KEY_EVENTS = {
    KEY_STREAM: b"new",
    KEY_STRING: b"set",
    KEY_DELETE: b"del",
    KEY_PATCH: b"set",
    KEY_EXPIRE: b"expire",
    KEY_MOVE: b"rename_from",
    KEY_COPY: b"copy_to",
    KEY_EXPIRED: b"expired",
}
FLUSHED = b"flush"
SWAPPED = b"swap"
TIMED = b"timed"


def changes(log: Buf, start: cython.Py_ssize_t) -> list[tuple[bytes, int, bytes | None]]:
    """The changes that the records from byte ``start`` of ``log`` on make.

    ``(event, sid, None)`` for a change of a stream, ``(event, namespace, key)`` for one of a key,
    ``(FLUSHED or SWAPPED, database, None)`` for a database that was emptied, or is another now. A
    key that moves is ``rename_from``, and ``new`` and ``rename_to`` where it comes to be, one that
    ceases to expire is ``persist``. TIMED follows ``set`` where the string has a time to expire.
    """
    found: list = []
    p: cython.p_const_char = log.p + start
    end: cython.p_const_char = log.p + log.n
    at: cython.p_const_char
    kind: uint8_t
    size: uint64_t = 0
    number: uint64_t = 0
    length: uint64_t = 0
    key: bytes
    while p < end:
        kind = cython.cast(uint8_t, p[0])
        p = read_varint(p + 1, end, cython.address(size))
        at = read_varint(p, end, cython.address(number))
        if kind == NAMESPACE:
            found.append((FLUSHED, number, None))
        elif kind == SWAP:
            found.append((SWAPPED, number, None))
            read_varint(at, end, cython.address(number))
            found.append((SWAPPED, number, None))
        elif kind in KEY_EVENTS:
            event = KEY_EVENTS[kind]
            ns = number
            if kind == KEY_STREAM or kind == KEY_COPY:
                at = read_varint(at, end, cython.address(number))
            at = read_varint(at, end, cython.address(length))
            key = PyBytes_FromStringAndSize(at, length)
            at += length
            if kind == KEY_EXPIRE:
                read_varint(at, end, cython.address(number))
                event = b"expire" if number else b"persist"
            if kind == KEY_MOVE:
                at = read_varint(at, end, cython.address(number))
                at = read_varint(at, end, cython.address(length))
                name = PyBytes_FromStringAndSize(at, length)
                found += [(b"new", number, name), (event, ns, key), (b"rename_to", number, name)]
                p += size
                continue
            if kind == KEY_COPY:
                found.append((b"new", ns, key))
            found.append((event, ns, key))
            if kind == KEY_STRING:
                read_varint(at, end, cython.address(number))
                if number:
                    found.append((TIMED, ns, key))
        elif kind in STREAM_EVENTS:
            found.append((STREAM_EVENTS[kind], number, None))
        p += size
    return found
