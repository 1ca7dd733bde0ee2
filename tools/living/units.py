"""Times, sizes and places in a stream as people write and read them. No clock is read here.

A duration is a number with ``ms``, ``s``, ``m``, ``h``, ``d`` or ``w``, or else of seconds. A place
in a stream is ``0``, the beginning; ``$``, the end; ``-1h``, so long ago; a time as ISO 8601 has
it, in UTC unless it says otherwise; or an ID.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import click

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)?")
_ID = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")
_UNIT_MS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
# IDs below this are no times: people also number their entries 1-0, 2-0 and so on.
TIME_MIN_MS = 1_000_000_000_000
UNKNOWN = "?"


def duration_ms(written: str) -> int:
    """The milliseconds of ``1.5h``. Raises ValueError."""
    found = _DURATION.fullmatch(written.strip())
    if found is None:
        raise ValueError(f"{written!r} is no duration: write 250ms, 30s, 5m, 1h, 7d or 2w")
    return round(float(found[1]) * _UNIT_MS[found[2] or "s"])


class Duration(click.ParamType[int]):
    """An option that takes a duration; its value is in milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        try:
            return duration_ms(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def place_id(written: str, now_ms: int) -> str:
    """The ID of a place in a stream, or ``$``. Raises ValueError."""
    if written == "$" or _ID.fullmatch(written):
        return written
    if written.startswith("-"):
        return str(max(0, now_ms - duration_ms(written[1:])))
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(
            f"{written!r} is no place in a stream: write 0, $, an ID, -1h or 2026-01-31T12:00"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return str(max(0, round(moment.timestamp() * 1000)))


def id_key(entry_id: str) -> tuple[int, int]:
    """An ID to compare by."""
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq or 0)


def id_age_ms(entry_id: str, now_ms: int) -> int | None:
    """How long ago an ID was made; None if it is no time."""
    ms = id_key(entry_id)[0]
    return max(0, now_ms - ms) if TIME_MIN_MS <= ms < 10 * TIME_MIN_MS else None


def age(milliseconds: int | None) -> str:
    """A time span in one unit: ``850 ms``, ``1.9 s``, ``9 m``, ``3 d``."""
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 10_000:
        return f"{milliseconds // 100 / 10:g} s"
    unit = next((unit for unit in ("w", "d", "h", "m") if milliseconds >= 2 * _UNIT_MS[unit]), "s")
    return f"{milliseconds // _UNIT_MS[unit]} {unit}"


def count(number: int | None) -> str:
    """A number with thousands apart."""
    return UNKNOWN if number is None else f"{number:,}"


def rate(number: float | None) -> str:
    """So many a second."""
    if number is None:
        return UNKNOWN
    return f"{number:,.0f}" if number >= 10 or number == 0 else f"{number:.1f}"


def size(number_bytes: float) -> str:
    """Bytes in the unit that suits."""
    for unit in ("B", "KB", "MB", "GB"):
        if number_bytes < 1024:
            return f"{number_bytes:.0f} {unit}" if unit == "B" else f"{number_bytes:.1f} {unit}"
        number_bytes /= 1024
    return f"{number_bytes:.1f} TB"
