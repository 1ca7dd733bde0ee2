"""Entries into the journal without a client: what XADD does once it has parsed and checked.

Compiled, because the journal is asked for each entry.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import uint32_t, uint64_t

from streams.journal import Journal
from streams.stream import Stream

NODE_BYTES_MAX = cython.declare(cython.longlong, 4096)
NODE_ENTRIES_MAX = cython.declare(cython.longlong, 100)

Prepared = tuple[int, int, bytes, int, int]
"""ms, seq, fields and values as bulk strings, how many, their bytes in all."""


def feed(journal: Journal, stream: Stream, entries: list[Prepared]) -> None:
    """Add entries, whose IDs ascend, to a stream. REQUIRES: there is room in the log."""
    ms: uint64_t
    seq: uint64_t
    bulks: bytes
    n_args: uint32_t
    total: cython.Py_ssize_t
    new_node: cython.bint
    if not stream.node_open and stream.node_count > 0:
        stream.reckon_last_node()
    for ms, seq, bulks, n_args, total in entries:
        new_node = stream.starts_node(
            PyBytes_AS_STRING(bulks), n_args, total, NODE_BYTES_MAX, NODE_ENTRIES_MAX
        )
        journal.add(
            stream, ms, seq, PyBytes_AS_STRING(bulks), PyBytes_GET_SIZE(bulks), n_args, new_node
        )
