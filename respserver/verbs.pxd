cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lsmstore.buf cimport Buf
from respserver.scan cimport Args
from respserver.session cimport Session
from streams.group cimport Consumer, Group
from streams.idtext cimport parse_bound, parse_id
from streams.journal cimport Journal
from streams.pending cimport Cursor, Row
from streams.stream cimport Stream


cdef enum:
    VERB_DONE = 0
    VERB_BLOCK = 1
    VERB_COLD = 2
    VERB_STREAM = 3


cdef struct Trim:
    bint given
    bint by_id
    bint approximate
    bint limit_given
    uint64_t threshold
    uint64_t seq
    int64_t limit


cdef struct NewId:
    bint given
    bint seq_given
    bint no_make
    uint64_t ms
    uint64_t seq


# One stream of XREAD or XREADGROUP: what was asked, and what will be given.
cdef struct Part:
    char kind
    uint64_t ms
    uint64_t seq
    uint64_t start
    uint64_t stop
    uint64_t n


@cython.final
cdef class Verbs:
    cdef Args args
    cdef readonly Journal journal
    cdef object keys
    cdef list tables
    cdef object on_change
    cdef object make_room
    cdef public int64_t log_room
    cdef public uint64_t now_ms
    cdef public uint64_t tick
    cdef public int64_t node_max_bytes
    cdef public int64_t node_max_entries
    cdef public bint may_park

    # what a verb that did not finish leaves behind
    cdef readonly int64_t block_ms
    cdef readonly bytes retry
    cdef readonly list wait_keys
    cdef readonly bytes wait_group
    cdef readonly list missing
    cdef readonly object long_reply

    cdef bytes recent_key
    cdef dict recent_table
    cdef Stream recent

    # streams and groups of a multi-key read, between checking and changing
    cdef list streams
    cdef list groups

    cdef int run(self, int verb, Session session) except -1
    cdef Stream find_stream(self, Py_ssize_t i, Session session)
    cdef int reserve(self, Py_ssize_t n, bint frees) except -1
    cdef int xadd(self, Session session) except -1
    cdef Py_ssize_t xadd_options(self, Trim* trim, NewId* new) except -1
    cdef int xadd_id(self, Stream stream, NewId* new) except -1
    cdef int xack(self, Session session) except -1
    cdef int xlen(self, Session session) except -1
    cdef int xrange(self, Session session, bint reverse) except -1
    cdef int xread(self, Session session, bint grouped) except -1
    cdef int xread_parts(self, Session session, bint grouped, Py_ssize_t first, Py_ssize_t n,
                         Py_ssize_t group_at) except -1
    cdef Py_ssize_t xread_plan(self, bint grouped, Py_ssize_t n, int64_t count) except -1
    cdef int xread_serve(self, Session session, bint grouped, Py_ssize_t first, Py_ssize_t n,
                         Py_ssize_t group_at, bint noack, int64_t count) except -1
    cdef bint load_or_park(self, Stream stream, uint64_t start, uint64_t stop) except -1
    cdef int history(self, Session session, Stream stream, Group group, Consumer consumer,
                     Part* part, int64_t count) except -1
    cdef int block(self, Session session, Py_ssize_t first, Py_ssize_t n, Py_ssize_t group_at,
                   int64_t block_ms) except -1
    cdef int ping(self, Session session) except -1

    cdef Part* parts
    cdef Py_ssize_t parts_cap
