cimport cython
from libc.stdint cimport uint32_t, uint64_t

from lsmstore.buf cimport Buf
from streams.producer cimport IID_ROW_BYTES, Iid, Producer, Word, word


@cython.final
cdef class Producers:
    cdef readonly uint32_t duration_s
    cdef readonly uint32_t maxsize
    cdef readonly uint64_t iids_added
    cdef readonly uint64_t iids_duplicates
    cdef readonly uint64_t iids_tracked
    cdef public bint watched
    cdef dict by_pid
    cdef dict changed
    cdef bint counters_changed
    cdef uint32_t next_number
    cdef uint64_t oldest_ms
    cdef Py_ssize_t text_bytes
    cdef Producer recent

    cdef Producer find(self, const char* pid, Py_ssize_t n)
    cdef Iid* lookup(self, const char* pid, Py_ssize_t n, const Word* iid) except? NULL
    cdef uint64_t expired_upto(self, uint64_t now_ms) noexcept
    cdef bint is_due(self, uint64_t now_ms) except -1

    # the apply half of the records; callers have checked
    cdef Py_ssize_t record(self, const char* pid, Py_ssize_t n, const Word* iid, uint64_t ms,
                           uint64_t seq, bint added) except -1
    cdef void count_duplicate(self) noexcept
    cdef int sweep(self, uint64_t limit_ms) except -1


@cython.final
cdef class RowReader:
    cdef bytes row
    cdef Py_ssize_t at


cdef bytes content_iid(const char** texts, const Py_ssize_t* lengths, Py_ssize_t n)
