cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lsmstore.block cimport read_entry_id, skip_bulk, skip_entry
from lsmstore.buf cimport Buf
from lsmstore.columnreader cimport (
    CODES,
    DECIMAL,
    DIGITS_MAX,
    FIELDS_MAX,
    TEXT,
    VALUES_MAX,
    Last,
    Text,
    take,
)


cdef enum:
    FEW_VALUES = 64  # so few are codes even where they are numbers
    PLACES = 512  # of the table that finds a value's code


# A column while it is made: what its values are, and what they are written as.
cdef struct Made:
    int kind
    int scale
    int values
    uint8_t* codes
    int64_t* numbers


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


cdef bint parse_decimal(const char* p, Py_ssize_t n, int* scale, int64_t* value) noexcept
cdef uint64_t zigzag(int64_t value) noexcept
cdef int bit_length(uint64_t value) noexcept
