"""The version of Redis whose commands, replies and errors this server speaks."""

from __future__ import annotations

from typing import Final

REDIS_VERSION: Final = "7.4.7"
