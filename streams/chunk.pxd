cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


# Literals this large would be Python integers.
cdef extern from *:
    """
    #define RESPQ_U32_MAX 0xFFFFFFFFU
    #define RESPQ_OWNED 0x1000000000000ULL
    """
    const uint32_t U32_MAX "RESPQ_U32_MAX"
    const uint32_t LARGE_COUNT "RESPQ_U32_MAX"
    const uint64_t OWNED "RESPQ_OWNED"  # above what the delivery column holds


cdef enum:
    ROWS_MAX = 256
    ROW_BYTES = 22

    # columns of u32
    MS = 0
    SEQ = 1
    CIDX = 2
    COUNT = 3
    DELIVERED = 4


# The columns follow the header in the same allocation, each ``cap`` long:
# u32 ms_delta, u32 seq_low, u32 cidx, u32 count, u32 delivered_low, u16 delivered_high.
# The rows in use are [start, start + n).
cdef struct Chunk:
    uint64_t base_ms
    uint64_t oldest
    uint64_t low_ms
    uint64_t low_seq
    uint64_t owners
    uint32_t seq_high
    uint32_t no
    uint32_t heap_at
    uint16_t start
    uint16_t n
    uint16_t cap
    uint8_t dirty
    uint8_t stored


# What a stored chunk says of itself before its columns, and its first ID.
cdef struct BlobHeader:
    uint64_t base_ms
    uint64_t first_ms
    uint64_t first_seq
    uint32_t seq_high
    uint16_t n
    uint16_t n_large


# Row access has its bodies here: from another module it would be a call through a pointer.


# A column of u32.
cdef inline uint32_t* column(Chunk* c, uint32_t which) noexcept:
    return <uint32_t*> (c + 1) + which * c.cap


# The column with the upper 16 bits of the delivery times.
cdef inline uint16_t* delivered_high(Chunk* c) noexcept:
    return <uint16_t*> column(c, 5)


# The ms and seq of row ``i``.
cdef inline uint64_t ms_of(Chunk* c, uint32_t i) noexcept:
    return c.base_ms + column(c, MS)[c.start + i]


cdef inline uint64_t seq_of(Chunk* c, uint32_t i) noexcept:
    return (<uint64_t> c.seq_high << 32) | column(c, SEQ)[c.start + i]


# What the delivery column says of row ``i``: a time, or the serial number of a release.
cdef inline uint64_t delivery_of(Chunk* c, uint32_t i) noexcept:
    return (<uint64_t> delivered_high(c)[c.start + i] << 32) | column(c, DELIVERED)[c.start + i]


# The age of a row that says ``delivery``, and of row ``i``.
cdef inline uint64_t age(uint32_t cidx, uint64_t delivery) noexcept:
    return delivery if cidx == 0 else OWNED + delivery


cdef inline uint64_t age_of(Chunk* c, uint32_t i) noexcept:
    return age(column(c, CIDX)[c.start + i], delivery_of(c, i))


# When row ``i`` was delivered last; 0 where it has no owner.
cdef inline uint64_t delivered_of(Chunk* c, uint32_t i) noexcept:
    return 0 if column(c, CIDX)[c.start + i] == 0 else delivery_of(c, i)


# Whether row ``i`` exists and has this ID.
cdef inline bint holds(Chunk* c, uint32_t i, uint64_t ms, uint64_t seq) noexcept:
    return i < c.n and ms_of(c, i) == ms and seq_of(c, i) == seq


# Whether a row may be this consumer's.
cdef inline bint may_own(Chunk* c, uint32_t cidx) noexcept:
    return c.owners & (<uint64_t> 1 << (cidx & 63)) != 0


# Whether a chunk with rows can express this ID beside them.
cdef inline bint fits(Chunk* c, uint64_t ms, uint64_t seq) noexcept:
    cdef uint64_t first = ms_of(c, 0)
    cdef uint64_t last = ms_of(c, c.n - 1)
    if <uint32_t> (seq >> 32) != c.seq_high:
        return False
    if ms < first:
        first = ms
    if ms > last:
        last = ms
    return last - first <= U32_MAX


# Make room for a row before row ``i`` where the columns have some; it is row ``i`` then.
cdef inline void open_gap(Chunk* c, uint32_t i) noexcept:
    if c.start > 0 and (i * 2 < c.n or c.start + c.n == c.cap):
        move_rows(c, c.start - 1, c.start, i)
        c.start -= 1
    elif i < c.n:
        move_rows(c, c.start + i + 1, c.start + i, c.n - i)
    c.n += 1
    c.dirty = 1


# Take row ``i`` out.
cdef inline void close_gap(Chunk* c, uint32_t i) noexcept:
    if i * 2 < c.n:
        if i > 0:
            move_rows(c, c.start + 1, c.start, i)
        c.start += 1
    else:
        move_rows(c, c.start + i, c.start + i + 1, c.n - i - 1)
    c.n -= 1
    c.dirty = 1


# Memory
cdef Chunk* new_chunk(uint64_t ms, uint64_t seq, uint32_t cap, uint32_t number) noexcept
cdef Chunk* resized(Chunk* old, uint32_t cap) noexcept
cdef Py_ssize_t chunk_bytes(Chunk* c) noexcept

# IDs
cdef uint32_t lower_bound(Chunk* c, uint64_t ms, uint64_t seq) noexcept
cdef void rebase(Chunk* c, uint64_t base_ms) noexcept

# Rows
cdef void move_rows(Chunk* c, uint32_t to, uint32_t start, uint32_t n) noexcept
cdef void copy_rows(Chunk* to, uint32_t at, Chunk* source, uint32_t start, uint32_t n) noexcept
cdef Py_ssize_t run_length(Chunk* c, const uint64_t* ms, const uint64_t* seq, Py_ssize_t n) noexcept
cdef void append_rows(Chunk* c, const uint64_t* ms, const uint64_t* seq, Py_ssize_t n,
                      uint32_t cidx, uint64_t delivered_ms) noexcept
cdef void cut(Chunk* c, uint32_t i, Chunk* right) noexcept
cdef void join(Chunk* a, Chunk* b) noexcept
cdef void tighten(Chunk* c) noexcept
cdef uint32_t pull_back(Chunk* c, uint64_t latest_ms) noexcept
cdef uint32_t remove_owner(Chunk* c, uint32_t cidx, dict large_counts) except? 0xFFFF

# Stored form
cdef bytes blob_of(Chunk* c, dict large_counts)
cdef int read_header(BlobHeader* header, uint32_t number, bytes blob) except -1
cdef int fill(Chunk* c, BlobHeader* header, bytes blob, dict large_counts) except -1

cdef int check_rows(Chunk* c, dict large_counts) except -1
