"""What came of a row: medians, ratios, whether the goal is met. Plain data for table and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tools.bench.figures import Figure, Measured
from tools.bench.rows import PLAIN, Round, Row

CLIENT_BOUND = 0.9
DISTURBED = 0.25


@dataclass(frozen=True)
class RowOutcome:
    """The rounds of one row; round i of respq belongs to round i of the other server."""

    row: Row
    respq: Sequence[Round]
    redis: Sequence[Round]
    durability: tuple[str, str] = ("", "")  # of respq and of the other, as each says

    @property
    def other(self) -> str:
        """The other server's name."""
        return PLAIN if self.row.beside_itself else "redis"

    @property
    def ratios(self) -> list[float]:
        """The rate of respq by that of redis-server, round by round."""
        return [
            ours.rate / theirs.rate for ours, theirs in zip(self.respq, self.redis, strict=True)
        ]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return median(self.ratios)

    @property
    def cpu_ratio(self) -> float:
        """The median ratio of work by processor time: what a busy machine hardly changes."""
        return median(
            ours.rate_of_cpu / theirs.rate_of_cpu
            for ours, theirs in zip(self.respq, self.redis, strict=True)
        )

    @property
    def sees_cpu(self) -> bool:
        """Whether the processor time of both servers could be seen."""
        return all(one.server_cpu > 0 for one in (*self.respq, *self.redis))

    @property
    def disturbed(self) -> bool:
        """Whether other processes took a good part of a core meanwhile."""
        return max(one.others_cpu for one in (*self.respq, *self.redis)) >= DISTURBED

    @property
    def hit(self) -> bool:
        """Whether the goal is met."""
        return self.ratio >= self.row.goal

    @property
    def client_bound(self) -> list[str]:
        """The servers beside which the generator used nearly a core: they could do more."""
        sides = {"respq": self.respq, self.other: self.redis}
        return [
            name
            for name, rounds in sides.items()
            if median(one.generator_cpu for one in rounds) >= CLIENT_BOUND
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        return {
            "name": self.row.name,
            "title": self.row.title,
            "appendfsync": self.row.appendfsync,
            "durability": list(self.durability),
            "unit": self.row.unit,
            "goal": self.row.goal,
            "ratio": self.ratio,
            "ratio_low": min(self.ratios),
            "ratio_high": max(self.ratios),
            "cpu_ratio": self.cpu_ratio,
            "disturbed": self.disturbed,
            "hit": self.hit,
            "client_bound": self.client_bound,
            "respq": side_json(self.respq),
            self.other: side_json(self.redis),
        }


@dataclass(frozen=True)
class FigureOutcome:
    """The rounds of one figure."""

    figure: Figure
    respq: Sequence[Measured]
    redis: Sequence[Measured]

    @property
    def value(self) -> float:
        """The median of respq."""
        return median(one.value for one in self.respq)

    @property
    def hit(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.figure.goal

    def to_json(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        return {
            "name": self.figure.name,
            "title": self.figure.title,
            "appendfsync": self.figure.appendfsync,
            "unit": self.figure.unit,
            "goal": self.figure.goal,
            "value": self.value,
            "hit": self.hit,
            "respq": [asdict(one) for one in self.respq],
            "redis": [asdict(one) for one in self.redis],
        }


Outcome = RowOutcome | FigureOutcome


def side_json(rounds: Sequence[Round]) -> dict[str, Any]:
    """One server's rounds."""
    return {
        "median": median(one.rate for one in rounds),
        "rounds": [{**asdict(one), "rate": one.rate} for one in rounds],
    }
