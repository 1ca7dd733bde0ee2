cimport cython
from libc.stdint cimport int64_t, uint64_t

from streams.rdb.rows cimport PendingRows


cdef const char* read_line(const char* p, const char* stop, char kind, int64_t* n) noexcept
