cimport cython
from libc.stdint cimport int64_t, uint64_t

cdef int KIND, NUMBER, NUMBER_LF, LINE, LINE_LF, BULK, BULK_CR, BULK_LF, GARBAGE
cdef char LF, CR, DOLLAR, STAR, PLUS, MINUS, DIGIT_0, DIGIT_9, COLON


@cython.final
cdef class Skipper:
    cdef readonly uint64_t replies
    cdef readonly uint64_t errors
    cdef readonly uint64_t nulls
    cdef readonly uint64_t entries
    cdef readonly int64_t total
    cdef int entries_depth
    cdef int state
    cdef char kind
    cdef bint negative
    cdef int digits
    cdef int64_t number
    cdef int64_t left
    cdef int depth
    cdef int64_t[16] open_arrays
    cdef int bulks
    cdef int kept_len
    cdef char[64] kept
    cdef int line_len
    cdef char[200] line
    cdef bytes error_line

    cdef int feed(self, const char* p, Py_ssize_t n) except -2
    cdef int end_number(self) noexcept
    cdef void end_item(self) noexcept
