cimport cython
from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    PAGE_BITS = 4096


@cython.final
cdef class DeletedPage:
    cdef uint64_t words[64]
    cdef readonly uint32_t count
    cdef public bint dirty

    cdef bint has(self, uint32_t bit) noexcept
    cdef uint32_t count_between(self, uint32_t start, uint32_t end) noexcept
