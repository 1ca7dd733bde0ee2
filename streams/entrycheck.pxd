from libc.stdint cimport int64_t, uint64_t


cdef const char* read_head(const char* p, const char* stop, char kind, int64_t* n) noexcept
cdef const char* check_bulk(const char* p, const char* stop, Py_ssize_t* total) noexcept
cdef const char* check_id(const char* p, const char* stop, uint64_t* ms, uint64_t* seq) noexcept
