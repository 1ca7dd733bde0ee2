"""When somebody was last interested in a key, for OBJECT IDLETIME.

Rules: streams in memory know it themselves; for other keys the last ``KEYS_MAX`` are remembered. Of
the rest it is known that nobody asked since the oldest of these, or since the start. Nothing of it
is kept on disk, as Redis does not keep it either.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

KEYS_MAX: Final = 8192


class Touched:
    """Times of interest in keys."""

    def __init__(self) -> None:
        self._times_ms: OrderedDict[tuple[int, bytes], int] = OrderedDict()
        self._before_ms = 0
        """Keys that are not remembered were touched at that time or before."""

    def note(self, ns: int, key: bytes, now_ms: int) -> None:
        """Somebody asked for a key."""
        times_ms = self._times_ms
        self._before_ms = self._before_ms or now_ms
        times_ms[(ns, key)] = now_ms
        times_ms.move_to_end((ns, key))
        if len(times_ms) > KEYS_MAX:
            self._before_ms = times_ms.popitem(last=False)[1]

    def at_ms(self, ns: int, key: bytes) -> int:
        """When somebody asked for a key, or the first moment after which nobody did."""
        return self._times_ms.get((ns, key), self._before_ms)
