cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lsmstore.block cimport Block, Run
from streams.deleted cimport DeletedPage
from streams.group cimport Group
from streams.nodes cimport NodedEntries
from streams.producers cimport Producers


@cython.final
cdef class Stream(NodedEntries):
    cdef public bytes key
    cdef public uint32_t ns
    cdef readonly uint64_t entries_added
    cdef uint64_t max_deleted_ms
    cdef uint64_t max_deleted_seq

    # groups and life
    cdef readonly dict groups
    cdef public Producers producers
    cdef public uint32_t next_gid
    cdef public list dropped_gids
    cdef public list dropped_pages
    cdef readonly list bases
    cdef public bint lent
    cdef public bint stored
    cdef public bint dirty
    cdef public bint dropped
    cdef public uint64_t applied_lsn
    cdef public uint64_t touched_ms
    cdef public uint64_t expires_ms
    cdef public uint32_t waiters

    # the apply half of the records; callers have checked
    cdef int append(self, const char* wire, Py_ssize_t n, uint64_t ms, uint64_t seq,
                    bint new_node) except -1
    cdef int delete_at(self, uint64_t pos) except -1
    cdef int delete_run(self, uint64_t start, uint64_t end) except -1
    cdef void raise_max_deleted(self, uint64_t ms, uint64_t seq) noexcept
    cdef void move_mark(self, uint64_t pos) noexcept
    cdef void forget_below_mark(self) noexcept
    cdef Producers need_producers(self)

    cdef uint64_t trim_target(self, bint by_id, uint64_t ms_or_length, uint64_t seq,
                              bint approximate, int64_t limit) except? 0xFFFFFFFFFFFFFFFF
    cdef bint has_tombstone_from(self, uint64_t ms, uint64_t seq) noexcept
    cdef int64_t estimate_read(self, uint64_t ms, uint64_t seq) noexcept
