from libc.stdint cimport int64_t, uint64_t

from lsmstore.buf cimport Buf


# An element as read: a string of `n` bytes at `p`, or an integer where `p` is NULL.
cdef struct Element:
    const char* p
    Py_ssize_t n
    int64_t value


cdef Py_ssize_t backlen_size(Py_ssize_t size) noexcept
cdef Py_ssize_t int_size(int64_t value) noexcept
cdef bint read_canonical(const char* p, Py_ssize_t n, int64_t* out) noexcept
cdef Py_ssize_t string_size(const char* p, Py_ssize_t n) noexcept
cdef const char* read_element(const char* p, const char* end, Element* out) noexcept
cdef void put_backlen(Buf to, Py_ssize_t size) noexcept
cdef void put_int(Buf to, int64_t value) noexcept
cdef void put_string(Buf to, const char* p, Py_ssize_t n) noexcept
