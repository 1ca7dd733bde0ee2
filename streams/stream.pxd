cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lsmstore.block cimport Block, Run, id_less, read_entry_id
from lsmstore.buf cimport U64_MAX, Buf
from streams.group cimport Group
from streams.listpack cimport int_size, string_size


cdef enum:
    PAGE_BITS = 4096


@cython.final
cdef class DeletedPage:
    cdef uint64_t words[64]
    cdef readonly uint32_t count
    cdef public bint dirty

    cdef bint has(self, uint32_t bit) noexcept
    cdef uint32_t count_between(self, uint32_t start, uint32_t end) noexcept


@cython.final
cdef class Stream:
    cdef readonly uint64_t sid
    cdef public object loader
    cdef public bytes key
    cdef public uint32_t ns
    cdef readonly uint64_t length
    cdef readonly uint64_t entries_added
    cdef readonly uint64_t node_count
    cdef readonly uint64_t mark_pos
    cdef readonly uint64_t end_pos
    cdef uint64_t last_ms
    cdef uint64_t last_seq
    cdef uint64_t first_ms
    cdef uint64_t first_seq
    cdef bint first_known
    cdef uint64_t max_deleted_ms
    cdef uint64_t max_deleted_seq

    # the open virtual node
    cdef readonly bint node_open
    cdef uint64_t node_pos
    cdef uint64_t node_ms
    cdef uint64_t node_seq
    cdef uint64_t node_live
    cdef readonly Py_ssize_t node_bytes
    cdef uint32_t node_field_count
    cdef Buf node_fields

    # where the entries are
    cdef readonly list runs
    cdef readonly list mem
    cdef Block tail
    cdef uint64_t* node_starts
    cdef uint32_t node_starts_n
    cdef uint32_t node_starts_cap
    cdef readonly dict deleted_pages
    cdef readonly uint64_t deleted_above_mark

    # groups and life
    cdef readonly dict groups
    cdef public uint32_t next_gid
    cdef public list dropped_gids
    cdef public list dropped_pages
    cdef public bint stored
    cdef public bint dirty
    cdef public bint dropped
    cdef public uint64_t applied_lsn
    cdef public uint64_t touched_tick
    cdef public uint32_t waiters

    # writing (apply half of the records; callers have checked)
    cdef bint starts_node(self, const char* fields, uint32_t n_args, Py_ssize_t total,
                          int64_t max_bytes, int64_t max_entries) noexcept
    cdef int append(self, const char* wire, Py_ssize_t n, uint64_t ms, uint64_t seq,
                    bint new_node) except -1
    cdef void account(self, const char* args, uint32_t n_args, uint64_t ms, uint64_t seq,
                      bint new_node) noexcept
    cdef void note_node_start(self, uint64_t pos) noexcept
    cdef int delete_at(self, uint64_t pos) except -1
    cdef void raise_max_deleted(self, uint64_t ms, uint64_t seq) noexcept
    cdef void move_mark(self, uint64_t pos) noexcept
    cdef int need_first(self) except -1
    cdef void forget_below_mark(self) noexcept
    cdef void node_entries_gone(self, uint64_t n) noexcept

    # reading
    cdef uint64_t next_node_start(self, uint64_t pos) noexcept
    cdef uint64_t node_start_at(self, uint64_t pos) noexcept
    cdef uint64_t deleted_between(self, uint64_t start, uint64_t end) noexcept
    cdef bint is_deleted(self, uint64_t pos) noexcept
    cdef uint64_t next_live(self, uint64_t pos) noexcept
    cdef uint64_t previous_live(self, uint64_t pos) noexcept
    cdef Block block_at(self, uint64_t pos)
    cdef Block resident_block(self, uint64_t pos)
    cdef uint64_t seek(self, uint64_t ms, uint64_t seq) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t find(self, uint64_t ms, uint64_t seq) except? 0xFFFFFFFFFFFFFFFF
    cdef int id_of(self, uint64_t pos, uint64_t* ms, uint64_t* seq) except -1
    cdef uint64_t skip_live(self, uint64_t pos, uint64_t n) noexcept
    cdef uint64_t take_until(self, uint64_t start, uint64_t end, uint64_t limit) noexcept
    cdef int64_t copy(self, Buf out, uint64_t start, uint64_t end) except -1
    cdef int64_t copy_reverse(self, Buf out, uint64_t start, uint64_t end) except -1
    cdef uint64_t back_live(self, uint64_t end, uint64_t start, uint64_t n) noexcept
    cdef Py_ssize_t mem_index(self, uint64_t pos) noexcept
    cdef list missing(self, uint64_t start, uint64_t end, Py_ssize_t limit)
    cdef Py_ssize_t wire_estimate(self, uint64_t start, uint64_t end) noexcept
    cdef uint64_t trim_target(self, bint by_id, uint64_t ms_or_length, uint64_t seq,
                              bint approximate, int64_t limit) except? 0xFFFFFFFFFFFFFFFF
    cdef bint has_tombstone_from(self, uint64_t ms, uint64_t seq) noexcept
    cdef int64_t estimate_read(self, uint64_t ms, uint64_t seq) noexcept
