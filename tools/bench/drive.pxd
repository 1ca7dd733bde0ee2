cimport cython
from libc.stdint cimport int64_t, uint64_t

from tools.bench.latency cimport Histogram
from tools.bench.skipper cimport Skipper

cdef int REPEAT, DRAIN, PRODUCE, CONSUME, TAKE_ACK, FILL


@cython.final
cdef class Connection:
    cdef object socket
    cdef int fd
    cdef int role
    cdef Part part
    cdef Skipper skipper
    cdef list batches
    cdef Py_ssize_t next_batch
    cdef Py_ssize_t batches_left
    cdef uint64_t depth
    cdef uint64_t awaited
    cdef bytes out
    cdef Py_ssize_t out_at
    cdef bint blocked
    cdef bint acking
    cdef int64_t sent_ns


@cython.final
cdef class Part:
    cdef readonly Histogram latency
    cdef readonly list connections
    cdef int role
    cdef bytes ack_head
    cdef Py_ssize_t batches_each
    cdef readonly uint64_t rounds


@cython.final
cdef class Drive:
    cdef readonly list parts
    cdef object epoll
    cdef dict by_fd
    cdef list idle
    cdef int64_t credits
    cdef int working
    cdef bytearray room
    cdef readonly int64_t elapsed_ns

    cdef int send(self, Connection connection, bytes data) except -1
    cdef int send_next(self, Connection connection) except -1
    cdef int push(self, Connection connection) except -1
    cdef int receive(self, Connection connection) except -1
    cdef int answered(self, Connection connection) except -1
    cdef int release(self) except -1
