from libc.stdint cimport int64_t, uint64_t

from lsmstore.block cimport Block, Run
from lsmstore.buf cimport Buf
from streams.deleted cimport DeletedPage


cdef class Entries:
    cdef readonly uint64_t sid
    cdef public object loader
    cdef readonly uint64_t length
    cdef readonly uint64_t mark_pos
    cdef readonly uint64_t end_pos
    cdef uint64_t last_ms
    cdef uint64_t last_seq
    cdef uint64_t first_ms
    cdef uint64_t first_seq
    cdef bint first_known
    cdef readonly list runs
    cdef readonly list mem
    cdef Block tail
    cdef readonly dict deleted_pages
    cdef readonly uint64_t deleted_above_mark

    cdef int need_first(self) except -1
    cdef uint64_t deleted_between(self, uint64_t start, uint64_t end) noexcept
    cdef bint is_deleted(self, uint64_t pos) noexcept
    cdef uint64_t next_live(self, uint64_t pos) noexcept
    cdef uint64_t previous_live(self, uint64_t pos) noexcept
    cdef uint64_t cold_bytes(self, uint64_t start, uint64_t end) noexcept
    cdef Block block_at(self, uint64_t pos)
    cdef Block resident_block(self, uint64_t pos)
    cdef uint64_t seek(self, uint64_t ms, uint64_t seq) except? 0xFFFFFFFFFFFFFFFF
    cdef object cold_block(self, uint64_t ms, uint64_t seq)
    cdef uint64_t find(self, uint64_t ms, uint64_t seq) except? 0xFFFFFFFFFFFFFFFF
    cdef int id_of(self, uint64_t pos, uint64_t* ms, uint64_t* seq) except -1
    cdef uint64_t skip_live(self, uint64_t pos, uint64_t n) noexcept
    cdef uint64_t take_until(self, uint64_t start, uint64_t end, uint64_t limit) noexcept
    cdef int64_t copy(self, Buf out, uint64_t start, uint64_t end) except -1
    cdef int64_t copy_reverse(self, Buf out, uint64_t start, uint64_t end) except -1
    cdef uint64_t back_live(self, uint64_t end, uint64_t start, uint64_t n) noexcept
    cdef Py_ssize_t mem_index(self, uint64_t pos) noexcept
    cdef list missing(self, uint64_t start, uint64_t end, Py_ssize_t limit)
    cdef Py_ssize_t wire_estimate(self, uint64_t start, uint64_t end) noexcept
