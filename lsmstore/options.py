"""Sizes of the store, and the relations between them that must hold.

One frozen object is handed to ``Store.open``. Tests shrink everything to make rotation, merging
and a full disk happen within a few kilobytes; the program uses the values below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class StoreOptions:
    """How large things get."""

    log_file_bytes_min: int = 1 * MIB  # the first log file; each later one is twice as large
    log_file_bytes_max: int = 64 * MIB
    log_file_bytes_inline: int = 4 * MIB  # at most this much is zero-filled while a caller waits
    log_spares_max: int = 2  # zero-filled or recycled files kept for the next rotations
    log_compressed_bytes_min: int = 0  # frames of so much are compressed; 0: none
    log_reserve_bytes: int = 128 * KIB  # kept back for records that free space
    compression_level: int = 1
    frame_bytes: int = 16 * KIB  # small blocks are put together into frames of this size
    small_run_bytes: int = 8 * KIB  # a stream with less than this shares its frames
    hurried_segment_bytes: int = 64 * MIB  # of more, two threads compress: writers are ahead
    compress_batch_bytes: int = 1 * MIB  # compressed by one call that leaves the interpreter free
    directory_page_bytes: int = 16 * KIB
    row_block_bytes: int = 6 * KIB
    row_files_max: int = 8  # where there are more, the small ones are merged
    large_run_bytes: int = 256 * KIB  # a stream that takes so much of a segment is remembered there
    graduate_bytes: int = 64 * MIB  # a stream with so much in shared segments gets its own
    own_segment_bytes_max: int = 128 * MIB  # where a stream's own segment ends and the next begins
    shared_segment_bytes_max: int = 1024 * MIB  # larger shared segments are merged no more
    merge_width: int = 8  # so many shared segments of one size become one
    tier_bytes: int = 4 * MIB  # shared segments up to here are of the smallest size
    own_frame_bytes: int = 64 * KIB  # blocks and frames of a stream's own segments
    own_compression_levels: tuple[int, ...] = (1, 3, 9)  # of which sampling takes one
    own_columns: bool = True  # and columns, where sampling finds that they save a fifth
    dictionary_bytes: int = 16 * KIB  # of a trained dictionary; 0 trains none
    dictionaries_max: int = 16
    dictionary_run_bytes: int = 1 * MIB  # a stream with so much in a flush gets its own choice
    merge_sync_bytes: int = 8 * MIB  # a merge makes what it wrote durable piece by piece
    block_cache_bytes: int = 16 * MIB  # row blocks and directory pages, decompressed
    manifest_bytes_max: int = 1 * MIB  # a longer one is replaced by a snapshot of its state

    def __post_init__(self) -> None:
        """Refuse sizes that contradict each other."""
        if not 4 * KIB <= self.log_file_bytes_min <= self.log_file_bytes_max:
            raise ValueError("log files start at 4 KiB or more and do not shrink")
        if self.log_reserve_bytes > self.log_file_bytes_min // 2:
            raise ValueError("the log's reserve must fit in half of its smallest file")
        if self.log_spares_max < 1 or self.row_files_max < 2:
            raise ValueError("at least one spare log file and two row files are needed")
