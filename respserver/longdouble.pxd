cdef extern from "<stdlib.h>":
    long double strtold(const char* text, char** end) nogil


cdef extern from "<stdio.h>":
    int snprintf(char* to, size_t size, const char* form, ...) nogil


cdef extern from "<math.h>":
    bint isnan(long double value) nogil
    bint isinf(long double value) nogil


cdef extern from "<errno.h>":
    int errno
    const int ERANGE


cdef bint read(bytes text, long double* out) noexcept
