from libc.stdint cimport uint8_t, uint64_t

cdef uint64_t mixed(uint64_t sid) noexcept
cdef bint holds(const uint8_t* bits, uint64_t m, uint64_t digest) noexcept
