"""What a bench gives: figures with their targets and what stood beside them in the same run. Reads no clock, no file.

A figure is the median of runs that were interleaved with those of its peer or limit, and the ratio to that is the
median of the ratios, round by round: what else the machine did falls on both.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One figure. `beside` has the peer's or the limit's values, by name, one for each of ours.

    `must` and `aim` are the targets; `more` says that more is better. `note` says what stood in the way.
    """

    what: str
    values: tuple[float, ...]
    unit: str = ""
    must: float | None = None
    aim: float | None = None
    more: bool = False
    beside: dict[str, tuple[float, ...]] = field(default_factory=dict)
    note: str = ""

    @property
    def value(self):
        return median(self.values)

    @property
    def held(self):
        """Tell whether the target is met; None if there is none."""
        if self.must is None:
            return None
        return self.value >= self.must if self.more else self.value <= self.must

    @property
    def judged(self):
        """Say whether it is met, and by how much it is missed."""
        if self.held is None:
            return ""
        return "held" if self.held else f"missed by {abs(self.value / self.must - 1):.0%}"

    def times(self, name):
        """Give how many times as good ours is as what stood beside it."""
        pairs = zip(self.values, self.beside[name], strict=True)
        return median(ours / other if self.more else other / ours for ours, other in pairs)

    def as_json(self):
        return {key: value for key, value in asdict(self).items() if value not in (None, "", {}, False)}


@dataclass(frozen=True)
class Line:
    """One curve of a picture: points of (size, value)."""

    name: str
    points: tuple[tuple[float, float], ...]
    unit: str = ""

    def as_json(self):
        return asdict(self)


def figure(read):
    """Make a figure of what as_json() gave."""
    beside = {name: tuple(values) for name, values in read.pop("beside", {}).items()}
    return Figure(**(read | {"values": tuple(read["values"]), "beside": beside}))


def line(read):
    """Make a line of what as_json() gave."""
    return Line(read["name"], tuple(tuple(point) for point in read["points"]), read["unit"])


def interleave(rounds, contenders):
    """Run each contender once a round, every second round in reverse; give the values of each, round by round."""
    taken = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            taken[name].append(contenders[name]())
    return {name: tuple(values) for name, values in taken.items()}


def percentile(values, share):
    """Give the smallest value that so large a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(-int(-len(ordered) * share // 1) - 1, 0)]
