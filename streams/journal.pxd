cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lsmstore.block cimport Block
from lsmstore.buf cimport Buf, num_len, varint_len, write_num, write_varint
from streams.group cimport Consumer, Group
from streams.pending cimport Row
from streams.producer cimport Word, word
from streams.producers cimport Producers
from streams.records cimport (
    ACK,
    ADD,
    CLAIM,
    CONSUMER_CREATE,
    CONSUMER_DELETE,
    DELETE,
    DELIVER,
    FLAG_ADDED,
    FLAG_NEW_NODE,
    FLAG_NOACK,
    FORGET,
    GROUP_CREATE,
    GROUP_DESTROY,
    GROUP_POLICY,
    GROUP_SET_ID,
    IDMP_CONFIG,
    IDMP_COUNTS,
    IDMP_DUPLICATE,
    IDMP_RECORD,
    IDMP_SWEEP,
    KEY_STREAM,
    NACK,
    PULL_BACK,
    SET_ID,
    TRIM,
    RecordWriter,
)
from streams.stream cimport Stream


@cython.final
cdef class Journal(RecordWriter):
    cdef public uint32_t idmp_duration_s
    cdef public uint32_t idmp_maxsize
    cdef public object keys
    cdef public uint64_t shed_bytes
    # the milliseconds of the latest entry as they are printed, a '-' behind them
    cdef uint64_t ms
    cdef char[21] ms_text
    cdef int ms_len
    # where the ID of the latest entry stands in the log
    cdef Py_ssize_t id_at
    cdef Py_ssize_t id_bytes

    cdef int add(self, Stream stream, uint64_t ms, uint64_t seq, const char* args, Py_ssize_t n,
                 uint32_t n_args, bint new_node) except -1
    cdef void put_id_added(self, Buf reply) noexcept
    cdef int trim_to(self, Stream stream, uint64_t pos) except -1
    cdef int64_t deliver(self, Stream stream, Group group, Consumer consumer, uint64_t start,
                         uint64_t stop, int64_t entries, uint64_t now_ms, bint noack) except -1
    cdef int64_t ack_ids(self, Stream stream, Group group, Py_ssize_t n) except -1
    cdef int claim_rows(self, Stream stream, Group group, Consumer consumer, Row* rows,
                        Py_ssize_t n, uint64_t now_ms, int64_t active_ms) except -1
    cdef int pull_back(self, Stream stream, Group group, uint64_t latest_ms) except -1
    cdef int remember(self, Stream stream, const char* pid, Py_ssize_t n, const Word* iid,
                      uint64_t ms, uint64_t seq, bint added) except -1
    cdef int count_duplicate(self, Stream stream) except -1
    cdef int sweep_if_due(self, Stream stream, uint64_t now_ms) except -1
    cdef Consumer new_consumer(self, Stream stream, Group group, bytes name, uint64_t now_ms)
