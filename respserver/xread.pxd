cimport cython
from libc.stdint cimport int64_t, uint64_t

from lsmstore.buf cimport Buf
from respserver.context cimport (
    RECORD_BYTES,
    ROW_RECORD_BYTES,
    VERB_BLOCK,
    VERB_COLD,
    VERB_DONE,
    VerbContext,
)
from respserver.scan cimport Args
from respserver.session cimport Session
from streams.group cimport Consumer, Group
from streams.pending cimport Cursor, Row
from streams.stream cimport Stream


# One stream of a read: what was asked, and what will be given.
cdef struct Part:
    char kind
    uint64_t ms
    uint64_t seq
    uint64_t start
    uint64_t stop
    uint64_t n


@cython.final
cdef class Reader:
    # what was asked: `n` keys from argument `first` on, then as many IDs
    cdef bint grouped
    cdef Py_ssize_t first
    cdef Py_ssize_t n
    cdef Py_ssize_t group_at
    cdef bint noack
    cdef int64_t count
    cdef int64_t block_ms

    # stream, group and part of each key, between checking and changing
    cdef list streams
    cdef list groups
    cdef Part* parts
    cdef Py_ssize_t parts_cap

    cdef int read(self, VerbContext context, Session session, bint grouped) except -1
    cdef int options(self, VerbContext context) except -1
    cdef int find(self, VerbContext context, Session session) except -1
    cdef Py_ssize_t plan(self, VerbContext context) except -1
    cdef int serve(self, VerbContext context, Session session) except -1
    cdef int history(self, VerbContext context, Session session, Stream stream, Group group,
                     Consumer consumer, Part* part) except -1
    cdef bytes wire(self, VerbContext context)
    cdef int wait(self, VerbContext context, Session session) except -1
