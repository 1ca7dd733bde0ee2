cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lsmstore.block cimport read_entry_id, skip_bulk, skip_entry
from lsmstore.buf cimport Buf, read_varint, write_num


cdef enum:
    TEXT = 0
    CODES = 1
    DECIMAL = 2

    VALUES_MAX = 255  # of a column of codes
    FEW_VALUES = 64  # so few are codes even where they are numbers
    PLACES = 512  # of the table that finds a value's code


cdef struct Text:
    const char* p
    Py_ssize_t n


# The latest number with a code.
cdef struct Last:
    bint known
    uint64_t value


# A column while it is made: what its values are, and what they are written as.
cdef struct Made:
    int kind
    int scale
    int values
    uint8_t* codes
    int64_t* numbers


# A column that is read.
cdef struct Read:
    int kind
    int scale
    const char* at  # where the next of it is
    const char* end
    const char* lengths  # of texts: where the next length is
    Text* values
    uint64_t n_values
    uint64_t before  # the latest number
    Last* last


@cython.final
cdef class Columns:
    cdef uint32_t n
    cdef uint32_t fields
    cdef uint64_t* ms
    cdef uint64_t* seq
    cdef Text* names
    cdef Text* values
    cdef Made* made

    cdef bint parse(self, const char* p, const char* end) noexcept
    cdef int make(self, uint32_t field) noexcept
    cdef bint make_codes(self, uint32_t field, int most) noexcept
    cdef bint make_numbers(self, uint32_t field) noexcept
    cdef uint64_t bits(self, int key) noexcept
    cdef int best_key(self) noexcept
    cdef void write(self, Buf out, int key) noexcept
    cdef void write_column(self, Buf out, uint32_t field, int key) noexcept


@cython.final
cdef class ColumnReader:
    cdef const char* p
    cdef const char* end
    cdef uint64_t n
    cdef uint64_t fields
    cdef Text* names
    cdef Read* columns
    cdef bytes packed

    cdef uint64_t number(self) except? 0
    cdef Text text(self) except *
    cdef int open_column(self, Read* column) except -1
    cdef int write_value(self, Buf out, Read* column, uint8_t code) except -1


cdef void* take(size_t n) noexcept
cdef bint parse_decimal(const char* p, Py_ssize_t n, int* scale, int64_t* value) noexcept
cdef int write_decimal(char* to, int64_t value, int scale) noexcept
cdef uint64_t zigzag(int64_t value) noexcept
cdef int bit_length(uint64_t value) noexcept
