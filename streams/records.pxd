cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lsmstore.buf cimport Buf
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
    IDMP_CONFIG = 17
    IDMP_RECORD = 18
    IDMP_DUPLICATE = 19
    IDMP_SWEEP = 20
    IDMP_COUNTS = 21

    # of the key directory
    KEY_STREAM = 64
    KEY_STRING = 65
    KEY_DELETE = 66
    NAMESPACE = 67
    KEY_PATCH = 68
    KEY_EXPIRE = 69
    KEY_MOVE = 70
    SWAP = 71
    KEY_COPY = 72
    KEY_EXPIRED = 73

    FLAG_NEW_NODE = 1
    FLAG_NOACK = 1
    FLAG_ADDED = 1


cdef class RecordWriter:
    cdef readonly Buf log
    cdef readonly uint32_t count
    cdef public uint64_t base_lsn
    cdef readonly list dirty
    cdef public uint64_t memtable_bytes
    cdef Buf body
    cdef uint64_t* ids_ms
    cdef uint64_t* ids_seq
    cdef Py_ssize_t ids_cap

    cdef void seal(self, uint8_t kind) noexcept
    cdef int touch(self, Stream stream) except -1
    cdef void want_ids(self, Py_ssize_t n) noexcept
    cdef void put_ids(self, Buf to, Py_ssize_t n) noexcept
