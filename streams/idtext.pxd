from libc.stdint cimport uint64_t


cdef bint parse_id(const char* p, Py_ssize_t n, uint64_t missing_seq, bint strict, bint* seq_given,
                   uint64_t* ms, uint64_t* seq) noexcept
cdef bint parse_bound(const char* p, Py_ssize_t n, uint64_t missing_seq, bint* exclusive,
                      uint64_t* ms, uint64_t* seq) noexcept
cdef bint read_number(const char* text, uint64_t* out) noexcept
