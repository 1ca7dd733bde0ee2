cimport cython
from libc.stdint cimport int64_t, uint64_t

from respserver.context cimport IDMP_RECORD_BYTES, RECORD_BYTES, VERB_DONE, VerbContext
from respserver.scan cimport Args
from respserver.session cimport Session
from streams.producer cimport Iid, Word, word
from streams.producers cimport Producers, content_iid
from streams.references cimport TrimPlan
from streams.stream cimport Stream


cdef enum:
    # what a trim does with references; 0 where nothing was said
    KEEPREF = 1
    DELREF = 2
    ACKED = 3


cdef struct Trim:
    bint given
    int references
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
    Py_ssize_t pid  # where IDMP's or IDMPAUTO's producer stands, 0 without
    Py_ssize_t iid_at  # where IDMP's idempotent ID stands, 0 for IDMPAUTO
    Word iid


cdef int xadd(VerbContext context, Session session) except -1
cdef int reference_word(VerbContext context, Py_ssize_t i) except -1
cdef Py_ssize_t xadd_options(VerbContext context, Trim* trim, NewId* new) except -1
cdef int xadd_id(VerbContext context, Stream stream, NewId* new) except -1
cdef bint xadd_duplicate(VerbContext context, Session session, Stream stream,
                         NewId* new) except -1
