cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lsmstore.block cimport Block
from lsmstore.buf cimport Buf, num_len
from streams.group cimport Consumer, Group
from streams.pending cimport Row
from streams.stream cimport Stream


cdef enum:
    ADD = 1
    TRIM = 2
    DELETE = 3
    SET_ID = 4
    GROUP_CREATE = 5
    GROUP_SET_ID = 6
    GROUP_DESTROY = 7
    CONSUMER_CREATE = 8
    CONSUMER_DELETE = 9
    DELIVER = 10
    ACK = 11
    CLAIM = 12
    NACK = 13
    PULL_BACK = 14
    GROUP_POLICY = 15
    FORGET = 16

    # of the key directory
    KEY_STREAM = 64
    KEY_STRING = 65
    KEY_DELETE = 66
    NAMESPACE = 67

    FLAG_NEW_NODE = 1
    FLAG_NOACK = 1


@cython.final
cdef class Journal:
    cdef readonly Buf log
    cdef readonly uint32_t count
    cdef public uint64_t base_lsn
    cdef readonly list dirty
    cdef public uint64_t memtable_bytes
    cdef public object keys
    cdef Buf body
    cdef uint64_t* ids_ms
    cdef uint64_t* ids_seq
    cdef Py_ssize_t ids_cap

    cdef void seal(self, uint8_t kind) noexcept
    cdef int touch(self, Stream stream) except -1
    cdef void want_ids(self, Py_ssize_t n) noexcept
    cdef void put_ids(self, Buf to, Py_ssize_t n) noexcept
    cdef int add(self, Stream stream, uint64_t ms, uint64_t seq, const char* args, Py_ssize_t n,
                 uint32_t n_args, bint new_node) except -1
    cdef int trim_to(self, Stream stream, uint64_t pos) except -1
    cdef int64_t deliver(self, Stream stream, Group group, Consumer consumer, uint64_t start,
                         uint64_t stop, int64_t entries, uint64_t now_ms, bint noack) except -1
    cdef int64_t ack_ids(self, Stream stream, Group group, Py_ssize_t n) except -1
    cdef int claim_rows(self, Stream stream, Group group, Consumer consumer, Row* rows,
                        Py_ssize_t n, uint64_t now_ms, int64_t active_ms) except -1
    cdef int pull_back(self, Stream stream, Group group, uint64_t latest_ms) except -1
    cdef Consumer new_consumer(self, Stream stream, Group group, bytes name, uint64_t now_ms)
