cimport cython
from libc.stdint cimport int64_t, uint64_t


@cython.final
cdef class Histogram:
    cdef readonly uint64_t count
    cdef uint64_t[1920] buckets

    cdef void put(self, int64_t value_ns) noexcept


cdef int bucket_of(int64_t value) noexcept
