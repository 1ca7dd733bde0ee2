from lsmstore.buf cimport Buf


cdef class Simple:
    cdef readonly bytes text


cdef class Verbatim:
    cdef readonly bytes text


cdef class Raw:
    cdef readonly bytes data


cdef class Set:
    cdef readonly list members


cdef class NullArray:
    pass


cpdef int encode(object value, int proto, Buf buf) except -1
cdef int encode_members(object members, int proto, Buf buf) except -1
cdef int encode_other(object value, int proto, Buf buf) except -1
cdef void put_int(Buf buf, long long value) noexcept
