"""How quickly a group's work comes in and goes out, from two looks at it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from tools.living.facts import GroupFacts
from tools.living.units import UNKNOWN, age


class Rates(NamedTuple):
    """Entries a second; None where the server does not know.

    ``empty_in`` says when nothing will be left, if it goes on so: ``∞`` if never.
    """

    in_per_s: float | None
    out_per_s: float | None
    empty_in: str


NO_RATES = Rates(None, None, "")


def rates_between(before: GroupFacts | None, now: GroupFacts, seconds: float) -> Rates:
    """What happened between two looks, ``seconds`` apart. Without a first there are no rates."""
    if before is None or seconds <= 0:
        return NO_RATES
    came = difference(before.entries_added, now.entries_added)
    left_before, left = undone(before), undone(now)
    went = None
    if came is not None and left is not None and left_before is not None:
        went = max(0.0, came - (left - left_before))
    if came is None or went is None or left is None:
        return Rates(_rate(came, seconds), _rate(went, seconds), UNKNOWN)
    return Rates(came / seconds, went / seconds, _empty_in(left, (went - came) / seconds))


def undone(group: GroupFacts) -> int | None:
    """How many entries a group has not done with."""
    return None if group.lag is None else group.lag + group.pending


def difference(before: int | None, now: int | None) -> float | None:
    """How much a counter grew."""
    return None if before is None or now is None else float(max(0, now - before))


def _rate(number: float | None, seconds: float) -> float | None:
    return None if number is None else number / seconds


def _empty_in(left: int, shrinks_per_s: float) -> str:
    if left == 0:
        return "0 s"
    return age(round(1000 * left / shrinks_per_s)) if shrinks_per_s > 0 else "∞"
