"""The version of Redis whose commands, replies and errors this server speaks.

A *level* is a version as one number that can be compared: ``major << 16 | minor << 8 | patch``, as
in Redis' REDIS_VERSION_NUM. What came with a version asks for its level; a server that presents an
older version does not have it.
"""

from __future__ import annotations

import re
from typing import Final

VERSION: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})")

DEFAULT_VERSION: Final = "8.10.0"
OLDEST: Final = 0x070400
NEWEST: Final = 0x080AFF

LEVEL_8_0: Final = 0x080000
"""`io-thread` of CLIENT LIST."""
LEVEL_8_2: Final = 0x080200
"""XDELEX, XACKDEL, KEEPREF | DELREF | ACKED; `tot-net-in` and its kin in CLIENT LIST."""
LEVEL_8_4: Final = 0x080400
"""XREADGROUP CLAIM."""
LEVEL_8_6: Final = 0x080600
"""XADD IDMP and IDMPAUTO, XCFGSET."""
LEVEL_8_8: Final = 0x080800
"""XNACK."""
LEVEL_8_10: Final = 0x080A00
"""MAXCOUNT and MAXSIZE."""


def level_of(version: str) -> int:
    """The level of a version ``8.2.3`` or ``8.2``. Raises ValueError."""
    found = VERSION.fullmatch(version if version.count(".") == 2 else version + ".0")
    if found is None or max(numbers := [int(part) for part in found.groups()]) > 255:
        raise ValueError(f"no version: {version}")
    major, minor, patch = numbers
    return major << 16 | minor << 8 | patch
