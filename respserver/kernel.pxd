cimport cython
from libc.stdint cimport int64_t, uint64_t

from respserver.context cimport VERB_BLOCK, VERB_COLD, VERB_DONE, VERB_STREAM
from respserver.replies cimport encode
from respserver.scan cimport (
    SCAN_COMMAND,
    SCAN_EMPTY,
    SCAN_ERROR,
    SCAN_INLINE,
    SCAN_MORE,
    Args,
)
from respserver.session cimport Session
from respserver.stopwatch cimport Stopwatch, Times, fine_ns
from respserver.verbs cimport Verbs
from streams.journal cimport Journal


@cython.final
cdef class Verb:
    cdef readonly bytes name
    cdef readonly object spec
    cdef readonly dict subcommands
    cdef int hot
    cdef Py_ssize_t arity
    cdef bint writes
    cdef bint frees
    cdef bint open_to_all
    cdef bint no_multi
    cdef bint steers
    cdef bint of_subscribers
    cdef bint allow_busy
    cdef bint alone
    cdef object handler
    cdef readonly Times times
    cdef public uint64_t calls
    cdef public uint64_t rejected
    cdef public uint64_t failed


@cython.final
cdef class Kernel:
    cdef Args args
    cdef readonly Verbs verbs
    cdef readonly Journal journal
    cdef readonly dict table
    cdef object server
    cdef object make_call
    cdef readonly list dirty
    cdef readonly list unfinished
    cdef public bint ticking
    cdef public bint woken
    cdef public bint special
    cdef public bint holding
    cdef public bint within
    cdef public bint busy
    cdef readonly Stopwatch stopwatch
    cdef public list argv
    cdef public object executing
    cdef public Py_ssize_t query_limit_bytes
    cdef readonly uint64_t received_bytes
    cdef bytes recent_name
    cdef Verb recent
    cdef bytes inline_wire

    cdef Py_ssize_t run(self, Session session, const char* p, Py_ssize_t n) except -1
    cdef int take_inline(self, Session session) except -1
    cdef Verb find_verb(self)
    cdef int execute(self, Session session) except -1
    cdef int detour(self, Verb verb, Session session) except -1
    cdef bint queue_command(self, Verb verb, Session session) except -1
    cdef int attend(self, Verb verb, Session session) except -1
    cdef int perform(self, Verb verb, Session session) except -1
    cdef int tell_slow(self, Verb verb, Session session, int64_t ns) except -1
    cdef int call_handler(self, Verb verb, Session session) except -1
    cdef int queue(self, Session session) except -1
    cpdef bint may_run(self, Session session)
