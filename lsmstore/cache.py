"""Decompressed row blocks and directory pages, least recently used out first, bounded by bytes.

Keys are (file number, offset): files never change and numbers are never used again, so nothing in
here is ever stale. The loop thread uses it alone, or with a lookup of its own from another thread:
each method is safe to call from any thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

Key = tuple[int, int]

ITEM_BYTES: Final = 200  # key, object header and links


class BlockCache:
    """A mapping from (file, offset) to bytes that forgets."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.bytes_used = 0
        self.hits = 0
        self.misses = 0
        self._items: OrderedDict[Key, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> bytes | None:
        with self._lock:
            data = self._items.get(key)
            if data is None:
                self.misses += 1
                return None
            self._items.move_to_end(key)
            self.hits += 1
            return data

    def put(self, key: Key, data: bytes) -> None:
        """Remember ``data``; one that would take more than a quarter of the room is not kept."""
        cost = len(data) + ITEM_BYTES
        if cost * 4 > self.capacity_bytes:
            return
        with self._lock:
            if key in self._items:
                return
            self._items[key] = data
            self.bytes_used += cost
            while self.bytes_used > self.capacity_bytes:
                _, old = self._items.popitem(last=False)
                self.bytes_used -= len(old) + ITEM_BYTES
