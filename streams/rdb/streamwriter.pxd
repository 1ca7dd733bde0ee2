cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lsmstore.block cimport Block
from lsmstore.buf cimport Buf
from streams.group cimport Consumer, Group
from streams.pending cimport Cursor, PendingList, Row
from streams.stream cimport Stream


@cython.final
cdef class RdbWriter:
    cdef readonly Buf out

    # the node that is written, its field names as bulk strings, and the entry that is read
    cdef Buf node
    cdef Buf names
    cdef uint64_t elements
    cdef uint32_t node_fields
    cdef const char* args
    cdef const char* text
    cdef Py_ssize_t text_bytes

    cdef void put_fixed(self, uint64_t value, int n) noexcept
    cdef void put_big_endian(self, uint64_t value, int n) noexcept
    cdef void put_length(self, uint64_t value) noexcept
    cdef void put_text(self, const char* p, Py_ssize_t n) noexcept
    cdef void put_id(self, uint64_t ms, uint64_t seq) noexcept

    cdef int put_node(self, Stream stream, uint64_t start, uint64_t end) except -1
    cdef uint32_t count_args(self) noexcept
    cdef void next_arg(self) noexcept
    cdef void put_arg(self) noexcept
    cdef void open_node(self, uint64_t live, uint64_t gone) noexcept
    cdef void put_entry(self, int64_t ms, int64_t seq, bint is_deleted) noexcept
    cdef void close_node(self) noexcept

    cdef int put_pending(self, PendingList pending) except -1
    cdef int put_consumers(self, Group group, bint has_active) except -1
    cdef int put_own_ids(self, PendingList pending, uint32_t cidx, bint and_released) except -1
