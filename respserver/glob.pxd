cdef int lower(int c) noexcept
cdef bint member(unsigned char* p, unsigned char* end, int c, bint nocase, unsigned char** after) noexcept
cpdef bint matches(bytes pattern, bytes text, bint nocase=*) noexcept
