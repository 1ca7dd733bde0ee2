cimport cython
from libc.stdint cimport int64_t, uint64_t


cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    #ifndef CLOCK_MONOTONIC_COARSE
    #define CLOCK_MONOTONIC_COARSE CLOCK_MONOTONIC
    #endif
    static inline int64_t respq_read_ns(clockid_t clock) {
        struct timespec t;
        clock_gettime(clock, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    #define respq_fine_ns() respq_read_ns(CLOCK_MONOTONIC)
    #define respq_coarse_ns() respq_read_ns(CLOCK_MONOTONIC_COARSE)
    #define respq_bits(value) (64 - __builtin_clzll(value))
    """
    int64_t fine_ns "respq_fine_ns"() noexcept
    int64_t coarse_ns "respq_coarse_ns"() noexcept
    int bits_of "respq_bits"(uint64_t value) noexcept


cdef enum:
    SUB_BITS = 8
    HALF = 128
    COUNTS = 3072


@cython.final
cdef class Times:
    cdef readonly uint64_t total_ns
    cdef readonly uint64_t recorded
    cdef uint64_t* counts

    cpdef void add(self, uint64_t calls, int64_t ns) noexcept


@cython.final
cdef class Stopwatch:
    cdef public int64_t slow_ns
    cdef public bint recording
    cdef Times running
    cdef uint64_t calls
    cdef int64_t began_ns
    cdef int64_t tick_ns

    cdef void begin(self, Times times) noexcept
    cdef int64_t passed(self, bint alone) noexcept
    cdef void close(self) noexcept
    cdef tuple pause(self)
    cdef int go_on(self, tuple held) except -1
    cdef int64_t lap(self, Times times, uint64_t calls, int64_t since_ns) noexcept


cdef uint64_t width_ns(Py_ssize_t i) noexcept
cdef uint64_t low_ns(Py_ssize_t i) noexcept
