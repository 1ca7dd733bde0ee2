"""A dictionary as a file beside the segments: ``seg/<id>.dict``.

The manifest holds every dictionary and is what is read. The file is for the day on which there is
no manifest (lsmstore/rebuild.py): without it nothing that was compressed with it could be read::

    file := 'RSPQDIC1' | id u32 | length u32 | content | checksum u64

The checksum is xxh3-64 of all before it, seeded with the id. It is durable before the edit that
names the dictionary, and stays.
"""

from __future__ import annotations

import struct
from typing import Final

from xxhash import xxh3_64_intdigest

from lsmstore.errors import FULL, Corruption, DiskFull
from lsmstore.fs import FileSystem
from lsmstore.health import Health

MAGIC: Final = b"RSPQDIC1"
HEAD: Final = struct.Struct("<8sII")
CHECKSUM: Final = struct.Struct("<Q")
OVERHEAD_BYTES: Final = HEAD.size + CHECKSUM.size
SUFFIX: Final = ".dict"


def dictionary_path(directory: str, number: int) -> str:
    return f"{directory}/{number:08d}{SUFFIX}"


def write_dictionary(
    fs: FileSystem, directory: str, number: int, content: bytes, health: Health
) -> None:
    """Write the file of a dictionary; its name is not durable yet."""
    path = dictionary_path(directory, number)
    data = HEAD.pack(MAGIC, number, len(content)) + content
    try:
        if fs.exists(path):  # of a flush that was not installed
            fs.unlink(path)
        file = fs.create(path)
        try:
            file.pwrite(data + CHECKSUM.pack(xxh3_64_intdigest(data, number)), 0)
            file.fdatasync()
        finally:
            file.close()
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(path) from error
        raise health.fail(error, f"writing {path}") from error


def read_dictionary(fs: FileSystem, path: str, number: int) -> bytes:
    """The content of a dictionary. Raises Corruption."""
    if not fs.exists(path):
        raise Corruption(path, 0, "the manifest names this dictionary and its file is missing")
    file = fs.open(path)
    try:
        data = file.pread(file.size(), 0)
    finally:
        file.close()
    body = data[: -CHECKSUM.size]
    if len(data) < OVERHEAD_BYTES:
        raise Corruption(path, 0, "the file is too short")
    if CHECKSUM.unpack_from(data, len(body))[0] != xxh3_64_intdigest(body, number):
        raise Corruption(path, 0, "the checksum of a dictionary does not match")
    magic, found, length = HEAD.unpack_from(body)
    content = body[HEAD.size :]
    if (magic, found, length) != (MAGIC, number, len(content)):
        raise Corruption(path, 0, "this is no dictionary, or another one")
    return content
