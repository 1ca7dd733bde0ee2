cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t


# A literal this large would be a Python integer.
cdef extern from *:
    """
    #define RESPQ_U64_MAX 0xFFFFFFFFFFFFFFFFULL
    """
    const uint64_t U64_MAX "RESPQ_U64_MAX"


@cython.final
cdef class Buf:
    cdef char* p
    cdef Py_ssize_t n
    cdef Py_ssize_t cap

    cdef void room(self, Py_ssize_t extra) noexcept
    cdef void put(self, const char* s, Py_ssize_t n) noexcept
    cdef void put_byte(self, uint8_t value) noexcept
    cdef void put_num(self, uint64_t value) noexcept
    cdef void put_varint(self, uint64_t value) noexcept
    cdef void put_id(self, uint64_t ms, uint64_t seq) noexcept
    cdef void put_bulk_id(self, uint64_t ms, uint64_t seq) noexcept
    cdef void put_head(self, uint8_t kind, uint64_t value) noexcept
    cdef void put_bulk(self, const char* s, Py_ssize_t n) noexcept
    cdef void put_bytes(self, bytes data) noexcept
    cdef void drop_front(self, Py_ssize_t n) noexcept


cdef int num_len(uint64_t value) noexcept
cdef int varint_len(uint64_t value) noexcept
cdef int write_num(char* to, uint64_t value) noexcept
cdef char* write_varint(char* to, uint64_t value) noexcept
cdef const char* read_varint(const char* p, const char* end, uint64_t* out) noexcept
