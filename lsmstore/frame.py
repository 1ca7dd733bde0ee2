"""The frame: what the log and the manifest are made of. One frame is one group commit, or one edit.

    frame    := header payload
    header   := magic u16 | file u32 | version u8 | flags u8 | epoch u32 | stored_len u32
                | raw_len u32 | count u32 | first_lsn u64 | synced_upto u64 | checksum u64
    checksum := xxh3_64(the 40 bytes before it, seed = xxh3_64(payload, seed = epoch << 40 ^ file))

All numbers are little-endian. ``file`` and ``epoch`` in the header are the low 32 bits of the
numbers that seed the checksum: a frame left over in a recycled file is told by its header, and
fails its checksum too. No run of zeros is a frame. The header takes 48 bytes. ``payload`` is
``stored_len`` bytes as they lie in the file; ``raw_len`` is its length once decompressed, equal
unless a flag says zstd.

Rules of this file:

1. ``count`` records have the log positions ``first_lsn`` .. ``first_lsn + count - 1``. A frame with
   count 0 is a marker: it carries no records, only its claim.
2. ``synced_upto`` is a claim: every record up to it was durable before this frame was written. A
   frame may be missing from the end of a file only if no frame after it claims to have synced past
   it.
3. The numbers below are on disk. They are never given another meaning.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import zstandard
from xxhash import xxh3_64_intdigest

from lsmstore.fs import Bytes, File

LOG_MAGIC: Final = 0x51A7
MANIFEST_MAGIC: Final = 0x51A8
VERSION: Final = 1

ZSTD: Final = 1  # the payload is one zstd frame with its content size
DICTIONARY: Final = 2  # that frame names a dictionary, known to the manifest by its id
HEAD: Final = 4  # the first frame of a log file; its payload says what came before the file
KNOWN_FLAGS: Final = ZSTD | DICTIONARY | HEAD

HEADER: Final = struct.Struct("<HIBBIIIIQQ")
CHECKSUM: Final = struct.Struct("<Q")
WHOLE_HEADER: Final = struct.Struct("<HIBBIIIIQQQ")
HEADER_BYTES: Final = WHOLE_HEADER.size
MAGIC: Final = struct.Struct("<H")
NEEDLE: Final = struct.Struct("<HIB")
PAYLOAD_BYTES_MAX: Final = 1 << 31
LOW_32: Final = 0xFFFFFFFF
ZEROS: Final = bytes(1 << 14)
WINDOW_BYTES: Final = 1 << 20  # read at a time: a buffer of this size is used again and again


class Frame(NamedTuple):
    """A frame as read: where it is, what it claims, and its payload as stored."""

    offset: int
    end: int
    flags: int
    raw_len: int
    records: int
    first_lsn: int
    last_lsn: int
    synced_upto: int
    payload: bytes


def seed(epoch: int, file: int) -> int:
    """What the checksums of a file of this epoch start from."""
    return (epoch << 40 ^ file) & 0xFFFFFFFFFFFFFFFF


def checksum(header: Bytes, payload: Bytes, start: int) -> int:
    """xxh3-64 over payload and header, chained by the seed so that neither is copied."""
    return xxh3_64_intdigest(header, xxh3_64_intdigest(payload, start))


def encode(
    magic: int,
    epoch: int,
    file: int,
    flags: int,
    payload: Bytes,
    *,
    raw_len: int,
    count: int,
    first_lsn: int,
    synced_upto: int,
) -> bytes:
    """The header of a frame; the payload follows it as it is."""
    header = HEADER.pack(
        magic,
        file & LOW_32,
        VERSION,
        flags,
        epoch & LOW_32,
        len(payload),
        raw_len,
        count,
        first_lsn,
        synced_upto,
    )
    return header + CHECKSUM.pack(checksum(header, payload, seed(epoch, file)))


def parse(
    data: bytes, offset: int, magic: int, epoch: int, file: int, base: int = 0
) -> Frame | None:
    """The frame at ``offset``, or None if what is there is not a whole frame of this file.

    ``base`` is where in the file ``data`` begins.
    """
    body = offset + HEADER_BYTES
    if body > len(data):
        return None
    found, number, version, flags, low_epoch, stored_len, raw_len, count, first, synced, digest = (
        WHOLE_HEADER.unpack_from(data, offset)
    )
    end = body + stored_len
    if (
        found != magic
        or number != file & LOW_32
        or version != VERSION
        or low_epoch != epoch & LOW_32
        or flags & ~KNOWN_FLAGS
        or end > len(data)
    ):
        return None
    payload = data[body:end]
    if digest != checksum(data[offset : body - 8], payload, seed(epoch, file)):
        return None
    last = first + count - 1
    return Frame(base + offset, base + end, flags, raw_len, count, first, last, synced, payload)


def frames_anywhere(
    file: File, start: int, magic: int, number: int | None = None
) -> Iterator[Frame]:
    """Every whole frame that begins at ``start`` or later, whatever lies between them.

    They are those of file ``number``; if that is not given, those of any file: what a file was is
    not known when its head is damaged. The epoch is taken from the frame itself.
    """
    needle = MAGIC.pack(magic)
    if number is not None:
        needle = NEEDLE.pack(magic, number & LOW_32, VERSION)
    size = file.size()
    while start < size:
        data = file.pread(WINDOW_BYTES + len(needle) - 1, start)
        at = _find(data, needle)
        if at < 0:
            start += WINDOW_BYTES
            continue
        start += at
        found = _parse_unknown(file, start, magic)
        if found is None:
            start += 1
        else:
            yield found
            start = found.end


def _parse_unknown(file: File, offset: int, magic: int) -> Frame | None:
    """The frame at ``offset`` by what its own header says of file, epoch and length."""
    header = file.pread(HEADER_BYTES, offset)
    if len(header) < HEADER_BYTES:
        return None
    _, number, _, _, epoch, stored_len, *_ = HEADER.unpack_from(header)
    if offset + HEADER_BYTES + stored_len > file.size():
        return None
    data = file.pread(HEADER_BYTES + stored_len, offset)
    return parse(data, 0, magic, epoch, number, offset)


def _find(data: bytes, needle: bytes) -> int:
    """Where ``needle``, which does not begin with a zero, is first; runs of zeros are leapt."""
    start = 0
    while start < len(data):
        if data.startswith(ZEROS, start):
            start += len(ZEROS)
            continue
        at = data.find(needle, start, start + len(ZEROS) + len(needle) - 1)
        if at >= 0:
            return at
        start += len(ZEROS)
    return -1


def unpack(frame: Frame, dictionaries: Mapping[int, bytes]) -> bytes:
    """The payload as it was handed in; ``ValueError`` says what is wrong with one that is not."""
    if not frame.flags & ZSTD:
        return frame.payload
    return decompress(frame.payload, frame.raw_len, dictionaries, frame.flags & DICTIONARY != 0)


def decompress(
    stored: Bytes, raw_len: int, dictionaries: Mapping[int, bytes], with_dictionary: bool
) -> bytes:
    """Undo zstd after checking that the frame states the length its header does."""
    try:
        parameters = zstandard.get_frame_parameters(stored)
        if parameters.content_size != raw_len:
            raise ValueError(f"{parameters.content_size} bytes in zstd, header says {raw_len}")
        dictionary: zstandard.ZstdCompressionDict | None = None
        if with_dictionary:
            known = dictionaries.get(parameters.dict_id)
            if known is None:
                raise ValueError(f"dictionary {parameters.dict_id} is unknown")
            dictionary = zstandard.ZstdCompressionDict(known)
        raw = zstandard.ZstdDecompressor(dict_data=dictionary).decompress(stored)
    except zstandard.ZstdError as error:
        raise ValueError(f"zstd: {error}") from None
    if len(raw) != raw_len:
        raise ValueError(f"{len(raw)} bytes decompressed, header says {raw_len}")
    return raw
