cimport cython
from libc.stdint cimport uint64_t

from streams.journal cimport Journal
from streams.stream cimport Stream


@cython.final
cdef class KeyRecords:
    cdef Journal journal
    cdef object keys

    cdef int begin(self, uint64_t first, bytes key) except -1
