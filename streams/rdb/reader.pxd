cimport cython
from libc.stdint cimport uint8_t, uint64_t


@cython.final
cdef class RdbReader:
    cdef object read
    cdef bytes window
    cdef const char* p
    cdef const char* end
    cdef const char* unsummed
    cdef uint64_t crc
    cdef uint64_t before
    cdef readonly uint64_t limit_bytes

    cdef int settle(self) except -1
    cdef int need(self, Py_ssize_t n) except -1
    cdef uint8_t byte(self) except? 255
    cdef uint64_t fixed(self, Py_ssize_t n) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t big_endian(self, Py_ssize_t n) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t length(self) except? 0xFFFFFFFFFFFFFFFF
    cdef Py_ssize_t string_length(self, Py_ssize_t* packed) except? -2
    cdef bytes integer(self)
    cdef bytes string(self)
    cdef int skip(self, uint64_t n) except -1
    cdef int skip_string(self) except -1
