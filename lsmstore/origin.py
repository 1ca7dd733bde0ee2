"""What a segment or a row file says of itself beyond its content: whence it comes.

The manifest knows all of it; this is for the day on which there is none (lsmstore/rebuild.py). It
is a frame of which the footer says where it is::

    origin := 'ORIGIN1\\n' | sid u64 | age u64 | part u32 | last u8 | zero u8[3] | n_inputs u32
              | n_large u32 | input u64[n_inputs] | large[n_large]
    large  := sid u64 | bytes u64 | blanked u64

``sid``, ``age`` and ``large`` are those of ADD_SEGMENT and ADD_ROWS (lsmstore/version.py).
``inputs`` are the files that a merge has put into this one; a flush has none. A merge may make
several segments: they are numbered by ``part``, the ``last`` one is marked, and only together they
stand for the inputs. Where ``sid`` is given and an input was shared with other streams, this stands
for that stream alone.
"""

from __future__ import annotations

import struct
from array import array
from typing import Final, NamedTuple

from lsmstore.version import LargeRun

MAGIC: Final = b"ORIGIN1\n"
HEAD: Final = struct.Struct("<8sQQIBxxxII")
LARGE: Final = struct.Struct("<QQQ")


class Origin(NamedTuple):
    """Whence a file comes."""

    sid: int = 0
    age: int = 0
    part: int = 0
    last: bool = True
    inputs: tuple[int, ...] = ()
    large: tuple[LargeRun, ...] = ()

    def encode(self) -> bytes:
        """The content of the frame."""
        head = HEAD.pack(
            MAGIC, self.sid, self.age, self.part, self.last, len(self.inputs), len(self.large)
        )
        large = [LARGE.pack(*run) for run in self.large]
        return b"".join([head, array("Q", self.inputs).tobytes(), *large])


def decode(data: bytes) -> Origin | None:
    """What ``encode`` was given; None if this is something else."""
    if len(data) < HEAD.size or not data.startswith(MAGIC):
        return None
    _, sid, age, part, last, n_inputs, n_large = HEAD.unpack_from(data)
    inputs_end = HEAD.size + 8 * n_inputs
    if len(data) != inputs_end + LARGE.size * n_large:
        return None
    inputs = tuple(array("Q", data[HEAD.size : inputs_end]))
    large = tuple(map(LargeRun._make, LARGE.iter_unpack(data[inputs_end:])))
    return Origin(sid, age, part, bool(last), inputs, large)
