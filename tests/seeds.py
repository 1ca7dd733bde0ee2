"""How many seeds a randomised crash test runs with: few in every run, more by `make crash`."""

from __future__ import annotations

import os


def seeds(usual: int) -> range:
    """`usual` seeds, or as many as `make crash SEEDS=n` asks for."""
    return range(int(os.environ.get("CRASH_SEEDS", usual)))
