cimport cython
from libc.stdint cimport int64_t, uint64_t

from streams.group cimport Group
from streams.journal cimport Journal
from streams.pending cimport Cursor, PendingList, Row
from streams.stream cimport Stream


# Where the merge stands in one pending list: ``row`` is the lowest that it has not taken yet.
cdef struct Place:
    Cursor cursor
    Row row
    bint ended


@cython.final
cdef class References:
    cdef Stream stream
    cdef uint64_t read_ms
    cdef uint64_t read_seq
    cdef list lists
    cdef Place* places
    cdef uint64_t ms
    cdef uint64_t seq
    cdef uint64_t unread_pos
    cdef uint64_t after_pos

    cdef bint is_unread(self, uint64_t ms, uint64_t seq) noexcept
    cdef bint is_pending(self, uint64_t ms, uint64_t seq) except -1
    cdef int start(self, uint64_t ms, uint64_t seq) except -1
    cdef bint next_row(self) except -1
    cdef int walk(self) except -1
    cdef bint row_is_at(self, uint64_t pos) except -1
    cdef uint64_t next_referenced(self, uint64_t pos) except? 0xFFFFFFFFFFFFFFFF


@cython.final
cdef class TrimPlan:
    cdef Stream stream
    cdef References references
    cdef bint acked
    cdef bint grows
    cdef bint new_node
    cdef uint64_t new_ms
    cdef uint64_t new_seq
    cdef list runs
    cdef tuple forgotten
    cdef readonly uint64_t count

    cdef int choose(self, bint by_id, uint64_t ms_or_length, uint64_t seq, bint approximate,
                    int64_t limit) except -1
    cdef uint64_t take(self, uint64_t start, uint64_t stop,
                       uint64_t wanted) except? 0xFFFFFFFFFFFFFFFF
    cdef int add_run(self, uint64_t start, uint64_t end) except -1
    cdef uint64_t node_end(self, uint64_t pos) noexcept
    cdef int find_forgotten(self) except -1
