cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from streams.pending cimport PendingList


@cython.final
cdef class Consumer:
    cdef readonly uint32_t cidx
    cdef readonly bytes name
    cdef public int64_t seen_ms
    cdef public int64_t active_ms
    cdef public uint64_t pending_count


@cython.final
cdef class Group:
    cdef readonly uint32_t gid
    cdef readonly bytes name
    cdef uint64_t last_ms
    cdef uint64_t last_seq
    cdef readonly int64_t entries_read
    cdef uint64_t next_pos
    cdef bint next_known
    cdef readonly dict consumers
    cdef readonly dict by_index
    cdef uint32_t next_cidx
    cdef readonly PendingList pending
    cdef public bint dirty
    cdef Consumer recent

    # policy
    cdef readonly int64_t idle_timeout_ms

    # whether clients wait for pending entries to fall due, but nobody will wake them yet
    cdef public bint unwatched

    cdef Consumer find_consumer(self, const char* name, Py_ssize_t n)
    cdef void set_position(self, uint64_t ms, uint64_t seq, int64_t entries_read) noexcept
    cdef int pend(self, const uint64_t* ms, const uint64_t* seq, Py_ssize_t n, Consumer consumer,
                  uint64_t now_ms) except -1
    cdef int give(self, uint64_t ms, uint64_t seq, Consumer consumer, uint64_t delivered_ms,
                  uint64_t count) except -1
    cdef int lose_one(self, uint32_t cidx) except -1
    cdef int release(self, uint64_t ms, uint64_t seq, uint64_t count) except -1
    cdef bint acknowledge(self, uint64_t ms, uint64_t seq) except -1
    cdef int pull_back(self, uint64_t latest_ms) except -1
    cdef void set_idle_timeout(self, int64_t idle_ms) noexcept
    cdef Consumer add_consumer(self, uint32_t cidx, bytes name, int64_t seen_ms)
