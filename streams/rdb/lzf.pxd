from lsmstore.buf cimport Buf


cdef Py_ssize_t compress(const char* data, Py_ssize_t n, char* out, Py_ssize_t room) noexcept
cdef Py_ssize_t put_literals(const char* data, Py_ssize_t start, Py_ssize_t stop, char* out,
                             Py_ssize_t end, Py_ssize_t room) noexcept
cdef bint decompress(const char* data, Py_ssize_t n, char* out, Py_ssize_t length) noexcept
