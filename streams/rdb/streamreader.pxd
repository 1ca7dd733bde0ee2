cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lsmstore.buf cimport Buf
from streams.listpack cimport Element
from streams.rdb.reader cimport RdbReader
from streams.rdb.rows cimport Node, PendingRows


@cython.final
cdef class StreamReader:
    cdef readonly RdbReader source
    cdef readonly int rdb_type
    cdef uint64_t nodes_left
    cdef uint64_t last_ms
    cdef uint64_t last_seq
    cdef uint64_t live
    cdef bint is_trusting

    # the last entry that is there, the last one of the nodes before, and those deleted behind it
    cdef uint64_t live_ms
    cdef uint64_t live_seq
    cdef uint64_t before_ms
    cdef uint64_t before_seq
    cdef Py_ssize_t tail
    cdef Py_ssize_t tail_entries

    # the listpack of a node
    cdef bytes listpack
    cdef const char* at
    cdef const char* stop
    cdef Element now
    cdef uint64_t elements
    cdef uint64_t elements_told
    cdef int64_t fields
    cdef Buf names
    cdef Py_ssize_t* name_ends
    cdef int64_t name_cap
    cdef Buf out

    cdef int open_listpack(self) except -1
    cdef int element(self) except -1
    cdef int64_t integer(self) except? -1
    cdef void put_element(self, Buf to) noexcept
    cdef int read_names(self) except -1
    cdef int read_entry(self, uint64_t base_ms, uint64_t base_seq, int64_t flags) except -1
    cdef bint is_in_place(self, uint64_t ms, uint64_t seq, bint is_deleted) except -1

    # what the head may still take
    cdef int64_t room

    cdef int charge(self, int64_t n) except -1
    cdef tuple id_of_lengths(self)
    cdef uint64_t count(self) except? 0xFFFFFFFFFFFFFFFF
    cdef int64_t time_ms(self) except? -1
    cdef object group(self)
    cdef int pending_rows(self, PendingRows pending) except -1
    cdef uint64_t own_rows(self, PendingRows pending, uint32_t cidx) except? 0xFFFFFFFFFFFFFFFF
    cdef list released_rows(self, PendingRows pending)
    cdef object producers(self)
