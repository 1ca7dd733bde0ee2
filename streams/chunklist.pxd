cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from streams.ageheap cimport AgeHeap
from streams.chunk cimport (
    CIDX,
    ROWS_MAX,
    U32_MAX,
    BlobHeader,
    Chunk,
    blob_of,
    check_rows,
    chunk_bytes,
    column,
    cut,
    delivery_of,
    fill,
    fits,
    join,
    move_rows,
    ms_of,
    new_chunk,
    read_header,
    resized,
    seq_of,
)


# ``ms-seq`` is at or below the chunk's first ID and above the last ID of the chunk before it.
cdef struct Slot:
    uint64_t ms
    uint64_t seq
    Chunk* chunk


cdef class ChunkList:
    cdef readonly Py_ssize_t length
    cdef Slot* room
    cdef Slot* slots
    cdef Py_ssize_t slot_cap
    cdef Py_ssize_t slot_count
    cdef Py_ssize_t chunks_bytes
    cdef uint32_t next_no
    cdef uint64_t next_release
    cdef readonly uint64_t latest_ms
    cdef AgeHeap ages
    cdef dict large_counts
    cdef set vanished

    cdef Py_ssize_t slot_of(self, uint64_t ms, uint64_t seq) noexcept
    cdef Chunk* add_chunk(self, Py_ssize_t at, uint64_t ms, uint64_t seq, uint32_t rows) noexcept
    cdef Chunk* open_slot(self, Py_ssize_t at, uint64_t ms, uint64_t seq, uint32_t rows,
                          uint32_t number) noexcept
    cdef void drop_chunk(self, Py_ssize_t at) noexcept
    cdef Chunk* resize(self, Py_ssize_t at, uint32_t cap) noexcept
    cdef Chunk* make_room(self, Py_ssize_t at, uint32_t more) noexcept
    cdef void split(self, Py_ssize_t at, uint32_t i) noexcept
    cdef void after_removal(self, Py_ssize_t at) noexcept
    cdef bint merge(self, Py_ssize_t left) noexcept
    cdef void renumber(self) noexcept
    cdef int check_order(self, Py_ssize_t at) except -1
