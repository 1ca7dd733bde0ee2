cimport cython
from libc.stdint cimport int64_t, uint64_t

from respserver.context cimport (
    RECORD_BYTES,
    ROW_RECORD_BYTES,
    VERB_COLD,
    VERB_DONE,
    VERB_STREAM,
    VerbContext,
)
from respserver.scan cimport Args
from respserver.session cimport Session
from respserver.xadd cimport xadd
from respserver.xread cimport Reader
from streams.group cimport Group
from streams.stream cimport Stream


@cython.final
cdef class Verbs(VerbContext):
    cdef Reader reader

    cdef int run(self, int verb, Session session) except -1
    cdef int xack(self, Session session) except -1
    cdef int xrange(self, Session session, bint reverse) except -1
    cdef int xlen(self, Session session) except -1
    cdef int ping(self, Session session) except -1
