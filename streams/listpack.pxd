from libc.stdint cimport int64_t, uint64_t


cdef Py_ssize_t int_size(int64_t value) noexcept
cdef Py_ssize_t string_size(const char* p, Py_ssize_t n) noexcept
