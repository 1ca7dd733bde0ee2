cimport cython
from libc.stdint cimport uint32_t, uint64_t

from lsmstore.buf cimport Buf


cdef extern from "Python.h":
    ctypedef struct PyHash_FuncDef:
        Py_hash_t (*hash)(const void* data, Py_ssize_t n) noexcept
    PyHash_FuncDef* PyHash_GetFuncDef() noexcept


cdef enum:
    IID_ROW_BYTES = 10  # what an iid adds to a row beside its text, about


# An idempotent ID that is looked for or recorded.
cdef struct Word:
    const char* text
    uint32_t n
    uint32_t hash


# One that is remembered, and the memory its text stands in.
cdef struct Iid:
    uint64_t ms
    uint64_t seq
    char* text
    uint32_t n
    uint32_t hash
    uint32_t cap


# Where in the ring an iid stands, plus 1; 0: the slot is free.
cdef struct Slot:
    uint32_t place
    uint32_t hash


@cython.final
cdef class Producer:
    cdef readonly uint32_t number
    cdef readonly bytes pid
    cdef Iid* ring
    cdef Slot* slots
    cdef uint32_t first
    cdef readonly uint32_t n
    cdef uint32_t cap
    cdef readonly Py_ssize_t text_bytes
    cdef bint changed

    cdef Iid* at(self, uint32_t i) noexcept
    cdef Iid* find(self, const Word* iid) noexcept
    cdef void grow(self) noexcept
    cdef void take_slot(self, uint32_t place, uint32_t digest) noexcept
    cdef void add(self, const Word* iid, uint64_t ms, uint64_t seq) noexcept
    cdef void drop_oldest(self) noexcept
    cdef Py_ssize_t row_bytes(self) noexcept


cdef Word word(const char* text, Py_ssize_t n) noexcept
cdef void put_text(Buf row, const char* text, Py_ssize_t n) noexcept
