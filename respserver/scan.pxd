cimport cython
from libc.stdint cimport int64_t, uint64_t


cdef enum:
    SCAN_COMMAND = 0
    SCAN_MORE = 1
    SCAN_EMPTY = 2
    SCAN_ERROR = 3
    SCAN_INLINE = 4


@cython.final
cdef class Args:
    cdef const char** p
    cdef Py_ssize_t* n
    cdef Py_ssize_t count
    cdef Py_ssize_t cap
    cdef const char* begin
    cdef const char* end
    cdef Py_ssize_t wanted
    cdef readonly bytes error
    cdef public Py_ssize_t max_bulk_bytes

    cdef void room(self, Py_ssize_t n) noexcept
    cdef int scan(self, const char* p, Py_ssize_t n, bint trusted) noexcept
    cdef int scan_multibulk(self, const char* p, Py_ssize_t n, bint trusted)
    cdef int more(self, Py_ssize_t wanted) noexcept
    cdef int take_list(self, list words) except -1
    cdef bytes word(self, Py_ssize_t i)
    cdef list words(self)
    cdef bytes wire(self)
    cdef bint matches(self, Py_ssize_t i, const char* upper, Py_ssize_t n) noexcept
    cdef bint is_char(self, Py_ssize_t i, char c) noexcept
    cdef bint integer(self, Py_ssize_t i, int64_t* out) noexcept


cdef bint parse_integer(const char* p, Py_ssize_t n, int64_t* out) noexcept
