cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef struct Row:
    uint64_t ms
    uint64_t seq
    uint64_t delivered_ms
    uint64_t count
    uint32_t cidx


# Where a scan stands. Any change of the list other than ``touch`` makes it invalid.
cdef struct Cursor:
    Py_ssize_t slot
    uint32_t row


# The columns follow the header in the same allocation, each ``cap`` long:
# u32 ms_delta, u32 seq_low, u32 cidx, u32 count, u32 delivered_low, u16 delivered_high.
# The rows in use are [start, start + n).
cdef struct Chunk:
    uint64_t base_ms
    uint64_t delivered_min_ms
    uint64_t owners
    uint32_t seq_high
    uint32_t no
    uint16_t start
    uint16_t n
    uint16_t cap
    uint8_t dirty
    uint8_t stored


# ``ms-seq`` is at or below the chunk's first ID and above the last ID of the chunk before it.
cdef struct Slot:
    uint64_t ms
    uint64_t seq
    Chunk* chunk


@cython.final
cdef class PendingList:
    cdef readonly Py_ssize_t length
    cdef Slot* room
    cdef Slot* slots
    cdef Py_ssize_t slot_cap
    cdef Py_ssize_t slot_count
    cdef Py_ssize_t chunk_bytes
    cdef uint32_t next_no
    cdef dict large_counts
    cdef set vanished

    # Rows
    cpdef int64_t put(self, uint64_t ms, uint64_t seq, uint32_t cidx, uint64_t delivered_ms,
                      uint64_t count) except -1
    cdef int append_run(self, const uint64_t* ms, const uint64_t* seq, Py_ssize_t n, uint32_t cidx,
                        uint64_t delivered_ms) except -1
    cpdef int64_t remove(self, uint64_t ms, uint64_t seq) except -2
    cdef bint find(self, uint64_t ms, uint64_t seq, Row* out) except -1
    cpdef bint is_above(self, uint64_t ms, uint64_t seq) noexcept

    # Scans
    cdef void seek(self, uint64_t ms, uint64_t seq, Cursor* cursor) noexcept
    cdef bint next_row(self, Cursor* cursor, int64_t cidx, Row* out) except -1
    cdef int touch(self, Cursor* cursor, uint64_t delivered_ms) except -1

    # Inside
    cdef Py_ssize_t slot_of(self, uint64_t ms, uint64_t seq) noexcept
    cdef Chunk* new_chunk(self, Py_ssize_t at, uint64_t ms, uint64_t seq, uint32_t rows) noexcept
    cdef Chunk* open_chunk(self, Py_ssize_t at, uint64_t ms, uint64_t seq, uint32_t rows,
                           uint32_t number) noexcept
    cdef void drop_chunk(self, Py_ssize_t at) noexcept
    cdef Chunk* resize(self, Py_ssize_t at, uint32_t cap) noexcept
    cdef Chunk* make_room(self, Py_ssize_t at, uint32_t more) noexcept
    cdef int insert_row(self, Py_ssize_t at, uint32_t i, uint64_t ms, uint64_t seq, uint32_t cidx,
                        uint64_t delivered_ms, uint64_t count) except -1
    cdef int set_row(self, Chunk* c, uint32_t i, uint64_t ms, uint64_t seq, uint32_t cidx,
                     uint64_t delivered_ms, uint64_t count) except -1
    cdef int read_row(self, Chunk* c, uint32_t i, Row* out) except -1
    cdef void split(self, Py_ssize_t at, uint32_t i) noexcept
    cdef void after_removal(self, Py_ssize_t at) noexcept
    cdef bint merge(self, Py_ssize_t left) noexcept
    cdef void renumber(self) noexcept
    cdef bytes blob_of(self, Chunk* c)
    cdef int load_large_counts(self, uint32_t number, Chunk* c, bytes data) except -1
    cdef int check_order(self, Py_ssize_t at) except -1


cdef uint32_t* column(Chunk* c, uint32_t which) noexcept
cdef uint16_t* delivered_high(Chunk* c) noexcept
cdef uint64_t ms_of(Chunk* c, uint32_t i) noexcept
cdef uint64_t seq_of(Chunk* c, uint32_t i) noexcept
cdef uint64_t delivered_of(Chunk* c, uint32_t i) noexcept
cdef uint32_t lower_bound(Chunk* c, uint64_t ms, uint64_t seq) noexcept
cdef bint holds(Chunk* c, uint32_t i, uint64_t ms, uint64_t seq) noexcept
cdef bint fits(Chunk* c, uint64_t ms, uint64_t seq) noexcept
cdef void rebase(Chunk* c, uint64_t base_ms) noexcept
cdef void move_rows(Chunk* c, uint32_t to, uint32_t start, uint32_t n) noexcept
cdef void copy_rows(Chunk* to, uint32_t at, Chunk* source, uint32_t start, uint32_t n) noexcept
cdef void tighten(Chunk* c) noexcept
