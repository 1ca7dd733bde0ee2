cimport cython
from libc.stdint cimport int64_t, uint64_t

from lsmstore.block cimport Block
from lsmstore.buf cimport Buf
from respserver.context cimport VERB_BLOCK, VERB_COLD, VERB_DONE, VerbContext
from respserver.readargs cimport HISTORY, NEW, Part
from respserver.readplan cimport ReadPlan
from respserver.scan cimport Args
from respserver.session cimport Session
from streams.group cimport Consumer, Group
from streams.journal cimport Journal
from streams.pending cimport Row
from streams.stream cimport Stream


@cython.final
cdef class Reader(ReadPlan):
    cdef int read(self, VerbContext context, Session session, bint grouped) except -1
    cdef int serve(self, VerbContext context, Session session) except -1
    cdef Consumer see(self, VerbContext context, Stream stream, Group group)
    cdef int drop_gone(self, Journal journal, Stream stream, Group group, Part* part) except -1
    cdef int claim(self, VerbContext context, Stream stream, Group group, Consumer consumer,
                   Part* part) except -1
    cdef int put_rows(self, VerbContext context, Session session, Stream stream,
                      Part* part) except -1
    cdef int put_new(self, Stream stream, Part* part, Buf out) except -1
    cdef bytes wire(self, VerbContext context)
    cdef int wait(self, VerbContext context, Session session) except -1
