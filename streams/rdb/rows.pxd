cimport cython
from libc.stdint cimport uint64_t

from streams.pending cimport Row


@cython.final
cdef class Node:
    cdef readonly bytes wire
    cdef readonly Py_ssize_t entries
    cdef readonly list deleted


@cython.final
cdef class PendingRows:
    cdef Row* rows
    cdef Py_ssize_t n
    cdef Py_ssize_t cap

    cdef void add(self, uint64_t ms, uint64_t seq, uint64_t delivered_ms, uint64_t count) noexcept
    cdef Py_ssize_t find(self, uint64_t ms, uint64_t seq, Py_ssize_t start) noexcept
    cdef bint is_below(self, Py_ssize_t i, uint64_t ms, uint64_t seq) noexcept
    cdef tuple by_owner(self, Py_ssize_t owners)
