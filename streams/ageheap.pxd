cimport cython
from libc.stdint cimport uint32_t, uint64_t

from streams.chunk cimport Chunk, age_of, lower_bound, ms_of, seq_of, tighten


cdef enum:
    LOOSE_MAX = 64


# Row ``i`` of a chunk, as long as the list does not change.
cdef struct Aged:
    uint64_t age
    uint64_t ms
    uint64_t seq
    Chunk* chunk
    uint32_t i


@cython.final
cdef class AgeHeap:
    cdef Chunk** chunks
    cdef Py_ssize_t n
    cdef Py_ssize_t cap
    cdef Chunk* loose[LOOSE_MAX]

    cdef void push(self, Chunk* c) noexcept
    cdef void remove(self, Chunk* c) noexcept
    cdef void moved(self, Chunk* c) noexcept
    cdef void changed(self, Chunk* c) noexcept
    cdef void settle(self) noexcept
    cdef Py_ssize_t take_oldest(self, uint64_t age_max, uint64_t floor_ms, uint64_t floor_seq,
                                const Aged* after, Aged* out, Py_ssize_t want) noexcept

    cdef void put(self, Py_ssize_t at, Chunk* c) noexcept
    cdef void up(self, Py_ssize_t at) noexcept
    cdef void down(self, Py_ssize_t at) noexcept
    cdef int check(self) except -1


cdef bint earlier(Chunk* a, Chunk* b) noexcept
cdef bint may_precede(Chunk* c, Aged* row) noexcept
cdef bint older(const Aged* a, const Aged* b) noexcept
cdef void sift_up(Aged* rows, Py_ssize_t at) noexcept
cdef void sift_down(Aged* rows, Py_ssize_t at, Py_ssize_t n) noexcept
