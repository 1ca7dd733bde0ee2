cimport cython
from libc.stdint cimport int64_t, uint64_t

from lsmstore.block cimport Block
from lsmstore.buf cimport num_len
from respserver.context cimport RECORD_BYTES, ROW_RECORD_BYTES, VerbContext
from respserver.readargs cimport AFTER, HISTORY, LAST, NEW, Part, ReadArgs
from respserver.scan cimport Args
from respserver.session cimport Session
from streams.ageheap cimport Aged
from streams.chunk cimport OWNED
from streams.group cimport Consumer, Group
from streams.pending cimport Cursor, Row
from streams.stream cimport Stream


cdef enum:
    CLAIM_RECORD_BYTES = 48
    GONE_MAX = 1024


cdef class ReadPlan(ReadArgs):
    # pending entries that will be given, where their entries are (U64_MAX: gone), and those that
    # will be dropped
    cdef Row* rows
    cdef uint64_t* positions
    cdef Py_ssize_t rows_n
    cdef Py_ssize_t rows_cap
    cdef Aged* aged
    cdef Py_ssize_t aged_cap
    cdef Row* gone
    cdef Py_ssize_t gone_n

    # what the reply holds so far
    cdef Py_ssize_t visited
    cdef int64_t entries
    cdef int64_t size
    cdef int proto

    # the most bytes of records
    cdef Py_ssize_t record_bytes

    cdef Py_ssize_t plan(self, VerbContext context, Session session) except -3
    cdef int plan_part(self, VerbContext context, Py_ssize_t i) except -1
    cdef int plan_history(self, VerbContext context, Py_ssize_t i) except -1
    cdef Py_ssize_t add_given(self, Py_ssize_t i, Py_ssize_t n, uint64_t limit) except -1
    cdef int plan_due(self, VerbContext context, Py_ssize_t i) except -1
    cdef int plan_gone(self, VerbContext context, Stream stream, Group group,
                       Part* part, Py_ssize_t n) except -1
    cdef int plan_entries(self, VerbContext context, Py_ssize_t i) except -1
    cdef int find_due(self, VerbContext context, Py_ssize_t i) except -1

    cdef bint is_spent(self) noexcept
    cdef uint64_t limit(self, uint64_t given) noexcept
    cdef void want_rows(self, Py_ssize_t n) noexcept
    cdef void give_back(self) noexcept
    cdef void want_aged(self, Py_ssize_t n) noexcept
    cdef void note_gone(self, Row* row) noexcept
    cdef int64_t head_size(self, Py_ssize_t key_len) noexcept
    cdef int count_row(self, Stream stream, Py_ssize_t k, int64_t now_ms, bint claimed) except -1
    cdef int cap_size(self, VerbContext context, Stream stream, Part* part) except -1
