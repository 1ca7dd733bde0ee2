cimport cython
from libc.stdint cimport int64_t, uint64_t

from lsmstore.buf cimport Buf


cdef extern from "sys/socket.h":
    """
    #define RESPQ_SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
    """
    const int SEND_FLAGS "RESPQ_SEND_FLAGS"
    Py_ssize_t send_bytes "send"(int fd, const void* data, Py_ssize_t n, int flags)


@cython.final
cdef class Session:
    # who
    cdef readonly uint64_t id
    cdef public str addr
    cdef public str laddr
    cdef public int fd
    cdef public bytes name
    cdef public bytes lib_name
    cdef public bytes lib_ver
    cdef readonly int64_t created_ms
    cdef public int64_t last_interaction_ms
    cdef public object last_command

    # how it speaks
    cdef public int proto
    cdef public int db
    cdef public bint authenticated
    cdef public bint no_evict
    cdef public bint no_touch
    cdef public int reply_mode

    # why its commands are more than executed
    cdef public bint special
    cdef public object multi
    cdef public object watching
    cdef public object subscriptions
    cdef public object tracking
    cdef public bint monitoring

    # where it stands
    cdef public object transport
    cdef public int socket_fd
    cdef bint through_transport
    cdef object feed
    cdef object owner
    cdef public object blocked
    cdef public object stream_reply
    cdef public list pushes
    cdef public bint paused
    cdef public bint close_after_reply
    cdef public bint closed
    cdef public bint queued
    cdef readonly Buf inp
    cdef Buf out
    cdef public uint64_t total_commands
    cdef public uint64_t received_bytes
    cdef readonly uint64_t sent_bytes
    cdef Py_ssize_t wanted

    cdef void fail(self, const char* line, Py_ssize_t n) noexcept
    cdef int send_out(self) except -1
