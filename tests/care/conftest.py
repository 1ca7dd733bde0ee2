"""What is tested here is not what a crash leaves: the disk need not be waited for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def quick_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _fd: None)
        patched.setattr(os, "fdatasync", lambda _fd: None)
        yield
