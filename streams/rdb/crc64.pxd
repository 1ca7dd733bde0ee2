from libc.stdint cimport uint64_t


# A literal this large would be a Python integer.
cdef extern from *:
    """
    #define RESPQ_CRC64_POLYNOMIAL 0x95AC9329AC4BC9B5ULL
    """
    const uint64_t POLYNOMIAL "RESPQ_CRC64_POLYNOMIAL"


cdef int fill_tables() except -1
cdef uint64_t crc64(uint64_t crc, const char* p, Py_ssize_t n) noexcept
