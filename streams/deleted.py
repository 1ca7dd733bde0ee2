"""Which entries of a stream are deleted: bits in pages of 4096 positions.

Row value of a page: its 512 bytes, bit ``p & 7`` of byte ``p >> 3`` for position ``p`` of the page.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memset


@cython.final
@cython.cclass
class DeletedPage:
    """Which of 4096 neighbouring positions are deleted."""

    def __cinit__(self) -> None:
        memset(self.words, 0, 512)
        self.count = 0
        self.dirty = True

    def has(self, bit):
        """Whether the position ``bit`` of the page is deleted."""
        return (self.words[bit >> 6] >> (bit & 63)) & 1

    def count_between(self, start, end):
        """Deleted positions in [start, end) of the page."""
        n: uint32_t = 0
        word: uint64_t
        i: uint32_t = start
        if start == 0 and end == 4096:
            return self.count
        while i < end:
            if i & 63 == 0 and i + 64 <= end:
                word = self.words[i >> 6]
                while word:
                    word &= word - 1
                    n += 1
                i += 64
            else:
                n += (self.words[i >> 6] >> (i & 63)) & 1
                i += 1
        return n

    def add(self, bit: int) -> None:
        """Mark the position ``bit`` of the page deleted. REQUIRES: it is not."""
        at: uint32_t = bit
        self.words[at >> 6] |= cython.cast(uint64_t, 1) << (at & 63)
        self.count += 1
        self.dirty = True

    def dump(self) -> bytes:
        """The page's 512 bytes."""
        p: cython.p_char = cython.cast(cython.p_char, self.words)
        return p[:512]

    @staticmethod
    def load(data: bytes) -> DeletedPage:
        """A page from its 512 bytes."""
        page = DeletedPage()
        i: uint32_t
        for i in range(64):
            page.words[i] = int.from_bytes(data[8 * i : 8 * i + 8], "little")
            page.count += int(page.words[i]).bit_count()
        page.dirty = False
        return page
