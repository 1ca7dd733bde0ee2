from libc.stdint cimport int64_t, uint32_t, uint64_t

from lsmstore.block cimport Block, Run
from lsmstore.buf cimport Buf
from streams.entries cimport Entries


cdef class NodedEntries(Entries):
    cdef readonly uint64_t node_count
    cdef readonly bint node_open
    cdef uint64_t node_pos
    cdef uint64_t node_ms
    cdef uint64_t node_seq
    cdef uint64_t node_live
    cdef uint64_t node_adds
    cdef readonly Py_ssize_t node_bytes
    cdef uint32_t node_field_count
    cdef Buf node_fields
    cdef list node_holes
    cdef list node_voids
    cdef uint64_t* node_starts
    cdef uint32_t node_starts_n
    cdef uint32_t node_starts_cap

    cdef bint starts_node(self, const char* fields, uint32_t n_args, Py_ssize_t total,
                          int64_t max_bytes, int64_t max_entries) noexcept
    cdef void account(self, const char* args, uint32_t n_args, uint64_t ms, uint64_t seq,
                      bint new_node) noexcept
    cdef void note_node_start(self, uint64_t pos) noexcept
    cdef int reckon_last_node(self) except -1
    cdef int reopen_node(self) except -1
    cdef void node_entries_gone(self, uint64_t n) noexcept
    cdef uint64_t next_node_start(self, uint64_t pos) noexcept
    cdef uint64_t node_start_at(self, uint64_t pos) noexcept
    cdef uint64_t next_start(self, uint64_t pos) noexcept
    cdef uint64_t start_at(self, uint64_t pos) noexcept
