cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from streams.group cimport Consumer, Group
from streams.pending cimport Cursor, PendingList, Row
from streams.rdb.rows cimport PendingRows
from streams.rdb.streamwriter cimport RdbWriter
from streams.stream cimport Stream


cdef int take_pending(PendingList pending, PendingRows rows, dict places) except -1
cdef int put_rows(RdbWriter writer, PendingRows rows, int64_t cidx, bint with_state) except -1
