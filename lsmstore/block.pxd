cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lsmstore.buf cimport Buf


@cython.final
cdef class Block:
    cdef readonly uint64_t first_pos
    cdef readonly uint32_t count
    cdef uint64_t first_ms
    cdef uint64_t first_seq
    cdef uint64_t last_ms
    cdef uint64_t last_seq
    cdef const char* base
    cdef bytes closed
    cdef Buf growing
    cdef uint32_t* ends
    cdef uint32_t ends_cap
    cdef readonly uint64_t logical_bytes

    cdef void append(self, const char* wire, Py_ssize_t n, uint64_t ms, uint64_t seq,
                     uint64_t logical) noexcept
    cdef void grow_ends(self) noexcept
    cdef Py_ssize_t start_of(self, uint32_t i) noexcept
    cdef Py_ssize_t end_of(self, uint32_t i) noexcept
    cdef void id_at(self, uint32_t i, uint64_t* ms, uint64_t* seq) noexcept
    cdef uint32_t lower_bound(self, uint64_t ms, uint64_t seq) noexcept
    cdef Py_ssize_t wire_length(self) noexcept
    cdef int index_entries(self) except -1


@cython.final
cdef class Run:
    cdef readonly object segment
    cdef readonly list blocks
    cdef readonly uint32_t n_blocks
    cdef readonly uint32_t n_nodes
    cdef readonly uint64_t first_pos
    cdef readonly uint64_t end_pos
    cdef uint64_t last_ms
    cdef uint64_t last_seq
    cdef uint64_t* first_ms
    cdef uint64_t* first_seq
    cdef uint64_t* frame_offsets
    cdef uint32_t* first_ordinals
    cdef uint32_t* frame_lens
    cdef uint32_t* raw_offsets
    cdef uint32_t* raw_lens
    cdef uint32_t* node_ordinals

    cdef uint32_t block_at_pos(self, uint64_t pos) noexcept
    cdef uint32_t block_at_id(self, uint64_t ms, uint64_t seq) noexcept


cdef int id_less(uint64_t a_ms, uint64_t a_seq, uint64_t b_ms, uint64_t b_seq) noexcept
cdef const char* read_entry_id(const char* p, uint64_t* ms, uint64_t* seq) noexcept
cdef const char* skip_bulk(const char* p, const char* end) noexcept
cdef const char* skip_entry(const char* p, const char* end) noexcept
