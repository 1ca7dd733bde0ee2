"""Streams as lines of JSON, in a file, a pipe or a zstd frame: the form of ``export``.

    file  := line*                          lines of one stream stand together, in this order:
    line  := {"stream", "id", "fields"}                               its entries (entries.py)
           | {"stream", "head": {"last_id", "entries_added", "max_deleted_id",
                                 "expires_ms"}}             the last where the stream expires: when
           | {"stream", "group": {"name", "last_delivered_id", "entries_read", "idle_timeout_ms",
                                  "consumers": [{"name", "seen_ms", "active_ms"}...]}}
           | {"stream", "group": name, "pending": {"id", "consumer", "delivered_ms",
                                                   "deliveries"}}

Names and values that are no UTF-8 are {"base64": ...}. A file that was cut is noticed: a zstd frame
by its end, a plain one by a last line without a newline.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

from tools.connection import Trouble

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
READ_BYTES = 1 << 20


class Writer:
    """Writes lines, compressed or not, into a binary file."""

    def __init__(self, file: IO[bytes], *, compressed: bool) -> None:
        self._file = file
        self._compressor: Any = None
        if compressed:
            import zstandard

            self._compressor = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Write some lines."""
        data = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()
        self._file.write(self._compressor.compress(data) if self._compressor else data)

    def close(self) -> None:
        """Write what is left."""
        if self._compressor is not None:
            self._file.write(self._compressor.flush())
        self._file.flush()


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file, decompressed if need be. Raises Trouble."""
    data = file.read(READ_BYTES)
    if not data.startswith(ZSTD_MAGIC):
        while data:
            yield data
            data = file.read(READ_BYTES)
        return
    import zstandard

    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        while data:
            yield frame.decompress(data)
            data = frame.unused_data or file.read(READ_BYTES)
            if frame.eof and data:
                frame = zstandard.ZstdDecompressor().decompressobj()
    except zstandard.ZstdError as error:
        raise Trouble(f"the file is damaged: {error}", "zstd --test FILE") from None
    if not frame.eof:
        raise Trouble("the file ends in the midst of a zstd frame", "respq export, again")


def read_lines(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a file with their numbers. Raises Trouble."""
    rest = b""
    number = 0
    for chunk in _chunks(file):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            number += 1
            if line.strip():
                yield number, _object(number, line)
    if rest.strip():
        raise Trouble(f"line {number + 1} has no end: the file was cut", "respq export, again")


def _object(number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise Trouble(f"line {number}: {error}", "respq export STREAM | head") from None
    if not isinstance(found, dict):
        raise Trouble(f"line {number} is no object of JSON", "respq export STREAM | head")
    return found
