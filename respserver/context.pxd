cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from respserver.scan cimport Args
from respserver.session cimport Session
from streams.journal cimport Journal
from streams.pending cimport Row
from streams.stream cimport Stream


cdef enum:
    VERB_DONE = 0
    VERB_BLOCK = 1
    VERB_COLD = 2
    VERB_STREAM = 3

    # the most that one record takes, and one row of a record
    RECORD_BYTES = 160
    ROW_RECORD_BYTES = 32
    # a record about producers, beside pid and iid
    IDMP_RECORD_BYTES = 64


cdef class VerbContext:
    cdef Args args
    cdef readonly Journal journal
    cdef object keys
    cdef list tables
    cdef object on_change
    cdef object make_room
    cdef public int64_t log_room
    cdef public int64_t promised
    cdef public uint64_t now_ms
    cdef public uint32_t redis_level
    cdef public int64_t node_max_bytes
    cdef public int64_t node_max_entries
    cdef public bint may_park

    # what a verb that did not finish leaves behind
    cdef readonly int64_t block_ms
    cdef readonly bytes retry
    cdef readonly list wait_keys
    cdef readonly bytes wait_group
    cdef readonly int64_t wait_idle_ms
    cdef readonly list wait_due
    cdef readonly list missing
    cdef readonly object long_reply

    cdef bytes recent_key
    cdef dict recent_table
    cdef uint32_t recent_ns
    cdef Stream recent

    cdef Stream find_stream(self, Py_ssize_t i, Session session)
    cpdef int reserve(self, Py_ssize_t n, bint frees) except -1
    cdef bint load_or_park(self, Stream stream, uint64_t start, uint64_t stop) except -1
    cdef bint load_rows_or_park(self, Stream stream, Row* rows, Py_ssize_t n) except -1
    cdef bint load_now_or_park(self, Stream stream, list missing) except -1
    cdef void put_null_array(self, Session session) noexcept
