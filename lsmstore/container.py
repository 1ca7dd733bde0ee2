"""The immutable file: a header, block frames, an index, a footer. Segments and row files are both
this.

    file    := header frame... footer       the last frames: origin (lsmstore/origin.py), index
    header  := magic 8 bytes | number u64 | after_lsn u64 | upto_lsn u64 | checksum u64   (40 bytes)
    frame   := raw_len u32 | stored_len u32 | dictionary u32 | codec u8 | level u8 | zero u8[2]
               | payload | checksum u64
    footer  := index_offset u64 | index_len u64 | counts u64[6] | number u64 | after_lsn u64
               | upto_lsn u64 | origin_offset u64 | origin_len u64 | checksum u64
               | magic 8 bytes                                                           (120 bytes)

All numbers are little-endian. Checksums are xxh3-64: of a frame, over the header and then the
payload as ``lsmstore/frame.py`` chains them, seeded with ``number << 40 ^ offset``, so that a
frame in the wrong place or from another file fails; of header and footer, over the bytes before,
seeded with ``number``.

``codec`` 0: the payload is raw; 1: one zstd frame that states its content size, made with the
dictionary ``dictionary`` if that is not 0, and at ``level``; 2: the same, and its content are the
columns (lsmstore/columns.py) of ``raw_len`` bytes, fewer than they are. ``index_len`` and every
length of a frame in an index count the whole frame.

Rules of this file:

1. A file is complete and synced before anything names it; it is never changed after that.
2. Lengths are checked against the file and the header against the zstd frame before anything is
   allocated.
3. Compression takes many frames in one call, which leaves the interpreter to the event loop.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import zstandard
from xxhash import xxh3_64_intdigest

from lsmstore import columns
from lsmstore.columnreader import unpack
from lsmstore.errors import FULL, Corruption, DiskFull, StorageError, translate
from lsmstore.frame import checksum
from lsmstore.fs import Bytes, File, FileSystem
from lsmstore.health import Health
from lsmstore.origin import Origin, decode

HEADER: Final = struct.Struct("<8sQQQ")
HEADER_BYTES: Final = HEADER.size + 8
FOOTER: Final = struct.Struct("<13Q")
FOOTER_BYTES: Final = FOOTER.size + 8 + 8
FRAME: Final = struct.Struct("<IIIBBxx")
FRAME_OVERHEAD: Final = FRAME.size + 8
U64: Final = struct.Struct("<Q")
RAW: Final = 0
ZSTD: Final = 1
COLUMNS: Final = 2
BATCH_FRAMES_MAX: Final = 340  # three buffers a frame, within what one pwritev takes

_second_thread = ThreadPoolExecutor(1, "compress")

Counts = tuple[int, int, int, int, int, int]
Compressors = tuple[zstandard.ZstdCompressor, zstandard.ZstdCompressor]
"""Two alike: one of them may be used by one thread at a time."""


class FrameHead(NamedTuple):
    """The first bytes of a frame."""

    raw_len: int
    stored_len: int
    dictionary: int
    codec: int
    level: int


class How(NamedTuple):
    """How a frame is compressed."""

    level: int
    dictionary: int
    """0: none."""
    by_column: bool = False
    """Entries are put into columns where that is possible; there is no dictionary then."""


class Footer(NamedTuple):
    """What the last bytes of a file say."""

    index_offset: int
    index_len: int
    counts: Counts
    number: int
    after_lsn: int
    upto_lsn: int
    origin_offset: int
    origin_len: int


def make_compressors(level: int, dictionary: bytes = b"") -> Compressors:
    """Compressors of a level, with the content of a dictionary if there is one."""
    data = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    one, other = [zstandard.ZstdCompressor(level=level, dict_data=data) for _ in range(2)]
    return one, other


def frame_seed(number: int, offset: int) -> int:
    """What the checksum of the frame at ``offset`` of file ``number`` starts from."""
    return (number << 40 ^ offset) & 0xFFFFFFFFFFFFFFFF


class ContainerWriter:
    """Writes one file. A full disk is refused with nothing left behind; other failures poison."""

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        magic: bytes,
        number: int,
        interval: tuple[int, int],
        level: int,
        health: Health,
        *,
        hurried: bool = False,
        sync_bytes: int = 1 << 62,
    ) -> None:
        """``interval`` is (after_lsn, upto_lsn] of what the file will hold.

        ``hurried``: a second thread compresses, too; the bytes are the same. What was written is
        made durable every ``sync_bytes``, so that the end is no great burst.
        """
        self._fs = fs
        self._path = path
        self._magic = magic
        self._number = number
        self._interval = interval
        self._health = health
        self._sync_bytes = sync_bytes
        self._synced = 0
        self._how = How(level, 0)
        self._compressors = make_compressors(level)
        self._hurried = hurried
        self._file = self._create()
        header = HEADER.pack(magic, number, *interval)
        self.offset = 0
        self._write([header, U64.pack(xxh3_64_intdigest(header, number))])
        self.frames = 0
        self.raw_bytes = 0

    def put(
        self,
        raws: Sequence[bytes],
        compressors: Compressors | None = None,
        how: How | None = None,
    ) -> list[tuple[int, int]]:
        """Append one frame for each of ``raws``; returns (offset, length of the whole frame).

        ``compressors`` are those that compress as ``how`` says.
        """
        used = compressors or self._compressors
        places: list[tuple[int, int]] = []
        for start in range(0, len(raws), BATCH_FRAMES_MAX):
            batch = raws[start : start + BATCH_FRAMES_MAX]
            places += self._put_batch(batch, used, how or self._how)
        return places

    def copy(self, frames: Sequence[bytes]) -> list[tuple[int, int]]:
        """Append frames as ``Container.stored`` gave them, still compressed."""
        places: list[tuple[int, int]] = []
        buffers: list[Bytes] = []
        at = self.offset
        for frame in frames:
            header = frame[: FRAME.size]
            payload = memoryview(frame)[FRAME.size :]
            digest = checksum(header, payload, frame_seed(self._number, at))
            buffers += (frame, U64.pack(digest))
            places.append((at, len(frame) + 8))
            at += len(frame) + 8
            self.raw_bytes += FRAME.unpack_from(frame)[0]
        self._write(buffers)
        self.frames += len(frames)
        return places

    def finish(self, index: bytes, counts: Counts, origin: Origin) -> int:
        """Append origin, index and footer and make the file durable; returns its size."""
        (whence,) = self.put([origin.encode()])
        (place,) = self.put([index])
        footer = FOOTER.pack(*place, *counts, self._number, *self._interval, *whence)
        digest = U64.pack(xxh3_64_intdigest(footer, self._number))
        self._write([footer, digest, self._magic])
        self._sync()
        self._file.close()
        return self.offset

    def discard(self) -> None:
        """Remove what was written."""
        self._file.close()
        if self._fs.exists(self._path):
            self._fs.unlink(self._path)

    # -- inner parts ----------------------------------------------------------------------------

    def _put_batch(
        self, raws: Sequence[bytes], compressors: Compressors, how: How
    ) -> list[tuple[int, int]]:
        put = [columns.pack(raw) if how.by_column else None for raw in raws]
        contents = [column or raw for column, raw in zip(put, raws, strict=True)]
        packed = self._compress(contents, compressors)
        buffers: list[Bytes] = []
        places: list[tuple[int, int]] = []
        at = self.offset
        for i, raw in enumerate(raws):
            payload = packed[i]
            codec = ZSTD if put[i] is None else COLUMNS
            if len(payload) >= len(raw):
                payload, codec = raw, RAW
            stored_len = len(payload)
            made_with = (how.dictionary, codec, how.level) if codec != RAW else (0, RAW, 0)
            header = FRAME.pack(len(raw), stored_len, *made_with)
            digest = checksum(header, payload, frame_seed(self._number, at))
            buffers += (header, payload, U64.pack(digest))
            places.append((at, FRAME_OVERHEAD + stored_len))
            at += FRAME_OVERHEAD + stored_len
            self.raw_bytes += len(raw)
        self._write(buffers)
        self.frames += len(raws)
        return places

    def _compress(self, raws: Sequence[bytes], compressors: Compressors) -> list[Bytes]:
        """Each of ``raws`` compressed."""
        mine, other = compressors
        if not self._hurried or len(raws) < 2:
            return _compress_all(mine, raws)
        half = len(raws) // 2
        front = _second_thread.submit(_compress_all, other, raws[:half])
        back = _compress_all(mine, raws[half:])
        return front.result() + back

    def _create(self) -> File:
        try:
            return self._fs.create(self._path)
        except OSError as error:
            if error.errno in FULL:
                raise DiskFull(self._path) from error
            raise self._health.fail(error, f"creating {self._path}") from error

    def _write(self, buffers: Sequence[Bytes]) -> None:
        try:
            self._file.pwritev(buffers, self.offset)
        except OSError as error:
            if error.errno in FULL:
                self.discard()
                raise DiskFull(self._path) from error
            raise self._health.fail(error, f"write to {self._path}") from error
        self.offset += sum(len(buffer) for buffer in buffers)
        if self.offset - self._synced >= self._sync_bytes:
            self._sync()

    def _sync(self) -> None:
        try:
            self._file.fdatasync()
        except OSError as error:
            raise self._health.fail(error, f"sync of {self._path}") from error
        self._synced = self.offset


def _compress_all(compressor: zstandard.ZstdCompressor, raws: Sequence[bytes]) -> list[Bytes]:
    """By one call that leaves the interpreter free."""
    packed: Any = compressor.multi_compress_to_buffer(list(raws))
    return [memoryview(segment) for segment in packed]  # buffers; the type stub does not say so


class _Decompressors(threading.local):
    """Contexts are not thread-safe: each thread has its own, one for each dictionary's content."""

    def __init__(self) -> None:
        self.by_dictionary: dict[bytes, zstandard.ZstdDecompressor] = {}


_decompressors = _Decompressors()


def content_of(frame: Bytes, decompressor: Callable[[int], zstandard.ZstdDecompressor]) -> bytes:
    """The content of a frame without its checksum; ``decompressor`` is that of a dictionary.

    Raises ValueError or ZstdError where the frame contradicts itself.
    """
    raw_len, stored_len, dictionary, codec, _ = FRAME.unpack_from(frame)
    payload = memoryview(frame)[FRAME.size :]
    if codec == RAW and raw_len == stored_len:
        return bytes(payload)
    size = zstandard.frame_content_size(payload)
    if not (size == raw_len if codec == ZSTD else codec == COLUMNS and 0 < size < raw_len):
        raise ValueError("a frame contradicts its header")
    content = decompressor(dictionary).decompress(payload)
    return content if codec == ZSTD else unpack(content, raw_len)


class Container:
    """Reads one file. Safe to use from several threads."""

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        magic: bytes,
        number: int,
        dictionaries: Mapping[int, bytes],
    ) -> None:
        """Open and check header and footer."""
        self.path = path
        self.number = number
        self._dictionaries = dictionaries
        if not fs.exists(path):
            raise Corruption(path, 0, "the manifest names this file and it is missing")
        self.file = fs.open(path)
        self.size = self.file.size()
        try:
            self.footer = self._read_ends(magic)
        except StorageError:
            self.file.close()
            raise

    def close(self) -> None:
        """Give the descriptor back."""
        self.file.close()

    def index(self) -> bytes:
        """The index, decompressed."""
        return self.read(self.footer.index_offset, self.footer.index_len)

    def origin(self) -> Origin:
        """Whence the file comes."""
        offset = self.footer.origin_offset
        found = decode(self.read(offset, self.footer.origin_len))
        if found is None:
            raise Corruption(self.path, offset, "this is no origin")
        return found

    def stored(self, offset: int, length: int) -> bytes:
        """The frame of ``length`` bytes at ``offset`` without its checksum, which was right."""
        if length < FRAME_OVERHEAD or offset + length > self.size - FOOTER_BYTES:
            raise Corruption(self.path, offset, f"no frame of {length} bytes can be here")
        data = self._pread(length, offset)
        if len(data) != length:
            raise Corruption(self.path, offset, "the file ends within a frame")
        payload = memoryview(data)[FRAME.size : length - 8]
        digest = checksum(data[: FRAME.size], payload, frame_seed(self.number, offset))
        if (
            FRAME.unpack_from(data)[1] != len(payload)
            or U64.unpack_from(data, length - 8)[0] != digest
        ):
            raise Corruption(self.path, offset, "the checksum of a frame does not match")
        return data[:-8]

    def frame_head(self, offset: int) -> FrameHead:
        """How the frame at ``offset`` is compressed. Its checksum is not looked at."""
        data = self._pread(FRAME.size, offset)
        if len(data) < FRAME.size:
            raise Corruption(self.path, offset, "the file ends within a frame")
        return FrameHead(*FRAME.unpack(data))

    def read(self, offset: int, length: int) -> bytes:
        """The frame of ``length`` bytes at ``offset``, checked and decompressed."""
        return self.decompress(self.stored(offset, length), offset)

    def decompress(self, data: bytes, offset: int) -> bytes:
        """The content of a frame that ``stored`` gave."""
        try:
            return content_of(data, lambda number: self._decompressor(number, offset))
        except zstandard.ZstdError as error:
            raise Corruption(self.path, offset, f"zstd: {error}") from None
        except ValueError as error:
            raise Corruption(self.path, offset, str(error)) from None

    # -- inner parts ----------------------------------------------------------------------------

    def _pread(self, length: int, offset: int) -> bytes:
        try:
            return self.file.pread(length, offset)
        except OSError as error:
            raise translate(error, self.path) from error

    def _decompressor(self, dictionary: int, offset: int) -> zstandard.ZstdDecompressor:
        content = self._dictionaries.get(dictionary) if dictionary else b""
        if content is None:
            raise Corruption(self.path, offset, f"dictionary {dictionary} is unknown")
        found = _decompressors.by_dictionary.get(content)
        if found is None:
            known = zstandard.ZstdCompressionDict(content) if content else None
            found = zstandard.ZstdDecompressor(dict_data=known)
            _decompressors.by_dictionary[content] = found
        return found

    def _read_ends(self, magic: bytes) -> Footer:
        if self.size < HEADER_BYTES + FOOTER_BYTES:
            raise Corruption(self.path, 0, "the file is too short")
        header = self._pread(HEADER_BYTES, 0)
        digest = xxh3_64_intdigest(header[: HEADER.size], self.number)
        if U64.unpack_from(header, HEADER.size)[0] != digest:
            raise Corruption(self.path, 0, "the checksum of the header does not match")
        found_magic, number, after_lsn, upto_lsn = HEADER.unpack_from(header)
        at = self.size - FOOTER_BYTES
        data = self._pread(FOOTER_BYTES, at)
        digest = xxh3_64_intdigest(data[: FOOTER.size], self.number)
        if U64.unpack_from(data, FOOTER.size)[0] != digest or data[-8:] != magic:
            raise Corruption(self.path, at, "the footer is damaged")
        fields = FOOTER.unpack_from(data)
        footer = Footer(fields[0], fields[1], fields[2:8], *fields[8:])
        if (found_magic, number, after_lsn, upto_lsn) != (magic, *footer[3:6]):
            raise Corruption(self.path, 0, "header and footer contradict each other")
        if number != self.number:
            raise Corruption(self.path, 0, f"this is file {number}")
        return footer
