cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from streams.group cimport Consumer, Group
from streams.journal cimport Journal
from streams.rdb.rows cimport Node, PendingRows
from streams.stream cimport Stream


@cython.final
cdef class StreamLoader:
    cdef Journal journal
    cdef Stream stream
    cdef list deleted


cdef int load_group(Journal journal, Stream stream, object head, uint64_t now_ms) except -1
cdef const char* read_count(const char* p, uint32_t* n) noexcept
