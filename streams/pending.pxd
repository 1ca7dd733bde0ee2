cimport cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from lsmstore.buf cimport U64_MAX
from streams.ageheap cimport Aged
from streams.chunk cimport (
    CIDX,
    COUNT,
    DELIVERED,
    LARGE_COUNT,
    MS,
    OWNED,
    ROWS_MAX,
    SEQ,
    U32_MAX,
    Chunk,
    age,
    append_rows,
    close_gap,
    column,
    delivered_high,
    delivered_of,
    fits,
    holds,
    lower_bound,
    may_own,
    ms_of,
    open_gap,
    pull_back,
    rebase,
    remove_owner,
    run_length,
    seq_of,
    tighten,
)
from streams.chunklist cimport ChunkList


cdef struct Row:
    uint64_t ms
    uint64_t seq
    uint64_t delivered_ms
    uint64_t count
    uint32_t cidx


# Where a scan stands. Any change of the list makes it invalid.
cdef struct Cursor:
    Py_ssize_t slot
    uint32_t row


@cython.final
cdef class PendingList(ChunkList):
    cdef Aged passed
    cdef bint has_passed
    # Rows
    cpdef int64_t put(self, uint64_t ms, uint64_t seq, uint32_t cidx, uint64_t delivered_ms,
                      uint64_t count) except -1
    cpdef int64_t release(self, uint64_t ms, uint64_t seq, uint64_t count) except -1
    cdef int append_run(self, const uint64_t* ms, const uint64_t* seq, Py_ssize_t n, uint32_t cidx,
                        uint64_t delivered_ms) except -1
    cpdef int64_t remove(self, uint64_t ms, uint64_t seq) except -2
    cdef bint find(self, uint64_t ms, uint64_t seq, Row* out) except -1
    cpdef bint is_above(self, uint64_t ms, uint64_t seq) noexcept

    # Scans
    cdef void seek(self, uint64_t ms, uint64_t seq, Cursor* cursor) noexcept
    cdef bint next_row(self, Cursor* cursor, int64_t cidx, Row* out) except -1

    # By age
    cdef Py_ssize_t oldest(self, uint64_t age_max, uint64_t floor_ms, uint64_t floor_seq,
                           bint passing, Aged* out, Py_ssize_t want) noexcept
    cdef void pass_over(self, const Aged* aged) noexcept
    cdef int read_aged(self, Aged* aged, Row* out) except -1
    cdef bint is_due(self, uint64_t age_max) noexcept
    cpdef int pull_back_to(self, uint64_t latest_ms) except -1

    # Inside
    cdef int insert_row(self, Py_ssize_t at, uint32_t i, uint64_t ms, uint64_t seq, uint32_t cidx,
                        uint64_t delivered_ms, uint64_t count) except -1
    cdef int set_row(self, Chunk* c, uint32_t i, uint64_t ms, uint64_t seq, uint32_t cidx,
                     uint64_t delivered_ms, uint64_t count) except -1
    cdef int read_row(self, Chunk* c, uint32_t i, Row* out) except -1
