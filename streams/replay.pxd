cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

from lsmstore.buf cimport Buf, read_varint
from streams.group cimport Consumer, Group
from streams.producer cimport Word, word
from streams.producers cimport Producers
from streams.stream cimport Stream


@cython.final
cdef class Replay:
    cdef object keys
    cdef const char* p
    cdef const char* end
    cdef readonly uint64_t lsn
    cdef readonly uint64_t skipped
    cdef uint64_t* ids_ms
    cdef uint64_t* ids_seq
    cdef Py_ssize_t ids_cap
    cdef uint64_t recent_sid
    cdef Stream recent

    cdef uint64_t number(self) except? 0xFFFFFFFFFFFFFFFE
    cdef bytes string(self)
    cdef Py_ssize_t id_list(self) except -1
    cdef Stream stream(self)
    cdef Group group(self, Stream stream)
    cdef Consumer consumer(self, Group group)
    cdef int record(self, uint8_t kind) except -1
    cdef int stream_record(self, uint8_t kind, Stream stream) except -1
    cdef int group_record(self, uint8_t kind, Group group) except -1
    cdef int claim(self, Group group) except -1
    cdef int producer_record(self, uint8_t kind, Stream stream) except -1
