cimport cython
from libc.stdint cimport int64_t, uint64_t

from respserver.context cimport VerbContext
from respserver.scan cimport Args
from respserver.session cimport Session
from streams.group cimport Group
from streams.stream cimport Stream


cdef enum:
    LAST = 43
    NEW = 62
    HISTORY = 104
    AFTER = 105


# One stream of a read: what was asked, and what will be given: pending entries, then those of
# positions [start, stop).
cdef struct Part:
    char kind
    bint shown  # stands in the reply
    uint64_t ms
    uint64_t seq
    int64_t idle_ms  # pending entries idle for so long are given first; -1: none
    int64_t due_ms  # where nothing is given: when one will be, in wall time; -1: never
    Py_ssize_t rows_at
    Py_ssize_t rows_n
    Py_ssize_t gone_at  # pending entries that are gone and will be dropped
    Py_ssize_t gone_n
    uint64_t start
    uint64_t stop
    uint64_t n


cdef class ReadArgs:
    # what was asked: `n` keys from argument `first` on, then as many IDs
    cdef bint grouped
    cdef Py_ssize_t first
    cdef Py_ssize_t n
    cdef Py_ssize_t group_at
    cdef bint noack
    cdef int64_t count
    cdef int64_t maxcount
    cdef int64_t maxsize
    cdef int64_t block_ms
    cdef int64_t claim_ms

    # stream, group and part of each key, between checking and changing
    cdef list streams
    cdef list groups
    cdef Part* parts
    cdef Py_ssize_t parts_cap

    cdef int options(self, VerbContext context) except -1
    cdef int positive(self, Args args, Py_ssize_t i, bytes name, int64_t* out) except -1
    cdef int find(self, VerbContext context, Session session) except -1
