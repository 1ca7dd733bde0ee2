"""One figure of the store: what was measured, beside whom, and whether it is good enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Goal:
    """``limit`` bounds the figure itself; ``times`` says how many times better than the best of
    its ``rivals`` (peers whose names begin so) it has to be.
    """

    limit: float | None = None
    times: float | None = None
    rivals: str = ""

    def text(self, *, lower: bool) -> str:
        """The goal in words."""
        words = []
        if self.limit is not None:
            words.append(f"{'≤' if lower else '≥'} {self.limit:,g}")
        if self.times == 1:
            words.append(f"{'below' if lower else 'above'} {self.rivals or 'every peer'}")
        elif self.times is not None:
            words.append(f"≥ {self.times:g}x {self.rivals or 'every peer'}")
        return ", ".join(words)


@dataclass(frozen=True)
class Reading:
    """A figure. ``lower``: less of it is better."""

    name: str
    title: str
    value: float
    unit: str
    goal: Goal
    durability: str
    peers: Mapping[str, float] = field(default_factory=dict)
    lower: bool = True
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better than the best of its rivals; None without any."""
        rivals = [peer for name, peer in self.peers.items() if name.startswith(self.goal.rivals)]
        if not rivals:
            return None
        if self.lower:
            return min(rivals) / self.value if self.value else float("inf")
        return self.value / max(rivals)

    @property
    def hit(self) -> bool:
        """Whether the goal is met."""
        limit, times = self.goal.limit, self.goal.times
        if limit is not None and (self.value > limit if self.lower else self.value < limit):
            return False
        if times is None:
            return True
        ratio = self.ratio
        return ratio is not None and (ratio > 1 if times == 1 else ratio >= times)

    def to_json(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        goal = self.goal.text(lower=self.lower)
        return {**asdict(self), "goal": goal, "ratio": self.ratio, "hit": self.hit}


@dataclass(frozen=True)
class Scale:
    """How much is done: the options of the command line."""

    entries: int = 1_000_000
    rounds: int = 3
    start_entries: tuple[int, ...] = (10_000_000,)
    streams: int = 1_000_000
    memory_bytes: int = 10_000_000_000
    pending: int = 1_000_000
    seconds: float = 10.0
    redis: str = "redis-server"
    respq: str = "respq"

    def of(self, shape: str) -> int:
        """How many entries of a shape: about as many bytes of each."""
        return max(1, self.entries // {"sensor": 1, "event": 4, "order": 16}[shape])
