"""The planner of slots to shards: consistent hashing with quotas, run-preserving.

The slot number is the ring coordinate. Each shard puts 16 tokens per unit of weight on the circle
of slots, by the hash of its shard id (never its address, which may change). Hashing every slot by
itself instead would scatter the map over some 13,000 ranges, and CLUSTER SLOTS over megabytes.

- Quotas: each shard's share of 16384 by its weight, rounded by largest remainder, so every shard is
  within one slot of fair. Equal remainders are settled for the shard that holds more, then by id:
  that is what makes 4 to 5 shards cost 3276 moves and not 3277.
- First map: walk the circle; a slot belongs to the next token clockwise whose shard has room.
- Later maps start from the old map. A shard above its quota gives up whole small runs first, then
  one end of a run; slots of a shard that left are free as well. Free runs go to a neighbouring
  run's shard while it is below its quota, else to the next token clockwise with room. Nobody gives
  up more than its surplus, so the number of moved slots is the exact minimum for the quotas.

Pure: the same old map and weights give the same map on every node. The stored map is the truth;
this only plans.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

from cluster.slots import SLOT_COUNT

TOKENS_PER_WEIGHT: Final = 16


class SlotRange(NamedTuple):
    """Slots ``first`` to ``last``, both included, belong to ``shard``."""

    first: int
    last: int
    shard: str


class Move(NamedTuple):
    """Slots ``first`` to ``last`` go from ``source`` (None: nobody had them) to ``target``."""

    first: int
    last: int
    source: str | None
    target: str


class _Run(NamedTuple):
    first: int
    end: int  # exclusive
    owner: str | None  # None: free


SlotMap: TypeAlias = tuple[SlotRange, ...]
"""Ascending ranges, neighbours of different shards; a stored map covers every slot."""

_Owners: TypeAlias = "list[str | None]"


def plan(old: SlotMap, weights: Mapping[str, int]) -> SlotMap:
    """The map for the shards of ``weights``: as few slots of ``old`` move as quotas allow."""
    owners = _owners(old)
    for slot, owner in enumerate(owners):
        if owner not in weights:
            owners[slot] = None
    held = Counter(owner for owner in owners if owner is not None)
    quota = quotas(weights, held)
    room = {shard: quota[shard] - held[shard] for shard in weights}
    ring = _Ring(weights)
    if held:
        for shard in sorted(weights):
            if room[shard] < 0:
                _give_up(owners, shard, -room[shard], room)
                room[shard] = 0
        _settle(owners, room, ring)
    else:
        _first_map(owners, room, ring)
    return ranges(owners)


def quotas(weights: Mapping[str, int], held: Mapping[str, int]) -> dict[str, int]:
    """How many slots each shard shall have; ``held`` settles equal remainders."""
    if not weights or any(weight < 1 for weight in weights.values()):
        raise ValueError("a map needs at least one shard, each of weight 1 or more")
    total = sum(weights.values())
    quota = {shard: SLOT_COUNT * weight // total for shard, weight in weights.items()}
    left_over = SLOT_COUNT - sum(quota.values())
    by_remainder = sorted(
        weights,
        key=lambda shard: (-(SLOT_COUNT * weights[shard] % total), -held.get(shard, 0), shard),
    )
    for shard in by_remainder[:left_over]:
        quota[shard] += 1
    return quota


def moves(old: SlotMap, new: SlotMap) -> list[Move]:
    """The runs of slots whose shard in ``new`` is not their shard in ``old``, ascending."""
    found: list[Move] = []
    before = iter(old)
    source = next(before, None)
    for first, last, target in new:
        while first <= last:
            while source is not None and source.last < first:
                source = next(before, None)
            if source is None or source.first > first:  # a hole in the old map
                until = last if source is None else min(last, source.first - 1)
                found.append(Move(first, until, None, target))
            else:
                until = min(last, source.last)
                if source.shard != target:
                    found.append(Move(first, until, source.shard, target))
            first = until + 1
    return found


def ranges(owners: Iterable[str | None]) -> SlotMap:
    """The ranges of a list of owners, slot by slot; slots of nobody are left out."""
    return tuple(
        SlotRange(run.first, run.end - 1, run.owner)
        for run in _runs(owners)
        if run.owner is not None
    )


class _Ring:
    """The tokens of every shard on the circle of slots, ascending."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        tokens = sorted(
            (_token(shard, number), shard)
            for shard, weight in weights.items()
            for number in range(TOKENS_PER_WEIGHT * weight)
        )
        self._slots = [slot for slot, _ in tokens]
        self._shards = [shard for _, shard in tokens]

    def next_with_room(self, slot: int, room: Mapping[str, int]) -> tuple[str, int]:
        """The shard of the next token clockwise from ``slot`` with room, and how far it is."""
        start = bisect_left(self._slots, slot)
        count = len(self._slots)
        for step in range(start, start + count):
            shard = self._shards[step % count]
            if room[shard] > 0:
                return shard, (self._slots[step % count] - slot) % SLOT_COUNT
        raise AssertionError("the quotas add up to every slot, so a free slot finds room")


def _token(shard: str, number: int) -> int:
    digest = blake2b(f"{shard}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % SLOT_COUNT


def _first_map(owners: _Owners, room: dict[str, int], ring: _Ring) -> None:
    slot = 0
    while slot < SLOT_COUNT:
        shard, distance = ring.next_with_room(slot, room)
        # The token's own slot is the last of its arc. A token whose shard is full is passed over.
        size = min(distance + 1, room[shard], SLOT_COUNT - slot)
        _assign(owners, slot, slot + size, shard, room)
        slot += size


def _give_up(owners: _Owners, shard: str, surplus: int, room: Mapping[str, int]) -> None:
    """Free ``surplus`` slots of ``shard``: whole small runs first, then one end of a run."""
    runs = list(_runs(owners))
    mine = sorted(
        (index for index, run in enumerate(runs) if run.owner == shard),
        key=lambda index: (runs[index].end - runs[index].first, index),
    )
    kept = []
    for index in mine:
        run = runs[index]
        if run.end - run.first <= surplus:
            owners[run.first : run.end] = [None] * (run.end - run.first)
            surplus -= run.end - run.first
        else:
            kept.append(index)
    if surplus == 0:
        return

    def wanted(run: _Run) -> bool:
        return run.owner is None or room[run.owner] > 0

    # An end beside a free run or a shard below its quota makes no new range; else cut the shortest.
    for index in kept:
        run = runs[index]
        if index > 0 and wanted(runs[index - 1]):
            owners[run.first : run.first + surplus] = [None] * surplus
            return
        if index + 1 < len(runs) and wanted(runs[index + 1]):
            owners[run.end - surplus : run.end] = [None] * surplus
            return
    run = runs[kept[0]]
    owners[run.end - surplus : run.end] = [None] * surplus


def _settle(owners: _Owners, room: dict[str, int], ring: _Ring) -> None:
    """Give every free slot to a shard with room."""
    for run in list(_runs(owners)):
        if run.owner is not None:
            continue
        first, end = run.first, run.end
        before = owners[first - 1] if first > 0 else None
        if before is not None and room[before] > 0:
            size = min(room[before], end - first)
            _assign(owners, first, first + size, before, room)
            first += size
        after = owners[end] if end < SLOT_COUNT else None
        if first < end and after is not None and room[after] > 0:
            size = min(room[after], end - first)
            _assign(owners, end - size, end, after, room)
            end -= size
        while first < end:
            shard, _ = ring.next_with_room(first, room)
            size = min(room[shard], end - first)
            _assign(owners, first, first + size, shard, room)
            first += size


def _assign(owners: _Owners, first: int, end: int, shard: str, room: dict[str, int]) -> None:
    owners[first:end] = [shard] * (end - first)
    room[shard] -= end - first


def _owners(slot_map: SlotMap) -> _Owners:
    owners: _Owners = [None] * SLOT_COUNT
    for first, last, shard in slot_map:
        owners[first : last + 1] = [shard] * (last + 1 - first)
    return owners


def _runs(owners: Iterable[str | None]) -> Iterable[_Run]:
    start = 0
    for owner, run in groupby(owners):
        end = start + sum(1 for _ in run)
        yield _Run(start, end, owner)
        start = end
