cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

from lsmstore.buf cimport Buf, num_len, read_varint, write_num


cdef enum:
    TEXT = 0
    CODES = 1
    DECIMAL = 2

    VALUES_MAX = 255  # of a column of codes
    FIELDS_MAX = 255
    DIGITS_MAX = 18  # of a number


cdef struct Text:
    const char* p
    Py_ssize_t n


# The latest number with a code.
cdef struct Last:
    bint known
    uint64_t value


# A column that is read.
cdef struct Read:
    int kind
    int scale
    const char* at  # where the next of it is
    const char* end
    const char* lengths  # of texts: where the next length is
    Text* values  # as bulk strings
    uint64_t n_values
    uint64_t before  # the latest number
    Last* last


@cython.final
cdef class ColumnReader:
    cdef const char* p
    cdef const char* end
    cdef uint64_t n
    cdef uint64_t fields
    cdef Text* heads  # a field's name as a bulk string; before the first, the head of the fields
    cdef Read* columns
    cdef Buf rendered
    cdef bytes packed

    cdef uint64_t number(self) except? 0
    cdef Text text(self) except *
    cdef Text bulk(self, uint64_t args) except *
    cdef int open_column(self, Read* column) except -1
    cdef int write_value(self, Buf out, Read* column, uint8_t code) except -1


cdef void* take(size_t n) noexcept
cdef int write_decimal(char* to, int64_t value, int scale) noexcept
