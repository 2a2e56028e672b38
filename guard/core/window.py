"""Exact sliding windows in bounded memory.

An offence counts while it is younger than the window: at `now` the window is the half-open interval
(now - span, now]. The answer to "are there at least so many?" is exact up to `most`, whatever the order in which
offences arrive, because only the newest `most` of a source can matter and those are kept.

Memory is bounded by three tables. A source seen once on unproven evidence is light, one seen twice is heavy, and one
with proof is sure. Each table forgets its own longest untouched entries when it is full, so a flood of invented
addresses pushes out only its like, and nobody proven. Forgetting an entry that could still count is `evicted`;
forgetting what has left the window anyway is not.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from guard.core.generations import Generations
from guard.core.tally import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guard.core.address import Source
    from guard.core.plain import Reader, Row, Value
    from guard.core.units import Duration, Instant

LIGHT_LIMIT = 262_144
"""Sources seen once: about 200 bytes each, 50 MB a rule when a spoofed flood fills it."""
HEAVY_LIMIT = 1_500_000
SURE_LIMIT = 500_000
"""Offences of sources that are seen twice, and of those that are proven, at 40 bytes each, 80 MB a rule; a source takes
OVERHEAD more. So there is room for 83,000 and 28,000 sources with 10 offences each."""
OVERHEAD = 8


class Window:
    """The offences of all sources under one rule. `most` is the highest threshold it will be asked about."""

    def __init__(
        self,
        span: Duration,
        most: int,
        light_limit: int = LIGHT_LIMIT,
        heavy_limit: int = HEAVY_LIMIT,
        sure_limit: int = SURE_LIMIT,
    ) -> None:
        self.span = span
        self.most = most
        self.evicted = 0
        # Each value is the instants of a source's newest offences, ascending; one of weight w stands there w times.
        self._light: Generations[Source, tuple[int, ...]] = Generations(light_limit)
        self._heavy: Generations[Source, tuple[int, ...]] = Generations(heavy_limit, _size)
        self._sure: Generations[Source, tuple[int, ...]] = Generations(sure_limit, _size)
        self._turn_at = 0

    @property
    def table(self) -> Table:
        """How full it is."""
        return Table("windows", len(self), sum(part.limit for part in self._tables()), self.evicted)

    def __len__(self) -> int:
        return len(self._light) + len(self._heavy) + len(self._sure)

    def add(self, source: Source, at: Instant, weight: int, now: Instant, *, proven: bool) -> int:
        """Count an offence of `weight` at the instant `at` <= `now`; return the source's total in the window.

        An offence that has already left the window counts nothing.
        """
        if now >= self._turn_at:
            self._turn(now)
        floor = now - self.span
        table = self._sure
        stamps = table.get(source)
        if stamps is None:
            stamps = self._heavy.pop(source) if proven else self._heavy.get(source)
            if stamps is None:
                stamps = self._light.pop(source)
            table = self._sure if proven else self._heavy
        if at <= floor:
            return 0 if stamps is None else self._keep(table, source, stamps, floor)
        if stamps is None:
            fresh = (at,) * weight
            table = self._sure if proven else self._light
            self._count(table.put(source, fresh[-self.most :]), floor)
            return weight
        in_order = at >= stamps[-1]
        stamps += (at,) * weight
        return self._keep(table, source, stamps if in_order else tuple(sorted(stamps)), floor)

    def look(self, source: Source, now: Instant) -> tuple[int, ...]:
        """Return when a source's offences in the window were, ascending; one of weight w stands there w times."""
        stamps = next((found for table in self._tables() if (found := table.get(source))), ())
        return stamps[bisect_right(stamps, now - self.span) :]

    def dump(self) -> Iterator[Row]:
        """Give all offences: which table, the source, and the instants."""
        for number, table in enumerate(self._tables()):
            for source, stamps in table.items():
                yield number, source, stamps

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back the offences of a source."""
        number, source, stamps = row
        kept = sorted(map(read.instant, read.many(stamps, self.most)))
        if not kept or number not in (0, 1, 2):
            raise ValueError("no offences, or in no table")
        self._tables()[read.whole(number)].put(read.source(source), tuple(kept))
        self._turn_at = max(self._turn_at, read.now + self.span)

    def forget(self, source: Source) -> None:
        """Drop a source's offences, because they have led to a ban."""
        for table in self._tables():
            table.pop(source)

    def reshape(self, span: Duration, most: int) -> None:
        """Be of another span from now on, and be asked about another threshold; the offences that fit stay."""
        # Never earlier: what was touched since the last turn may not be taken for a span old at the next one.
        self._turn_at = max(self._turn_at, self._turn_at - self.span + span)
        self.span, self.most = span, most

    def take_off(self, source: Source, at: Instant, weight: int) -> None:
        """Take an offence of `weight` at the instant `at` off a source again, as far as it is still there."""
        for table in self._tables():
            stamps = table.get(source)
            if stamps is not None:
                first = bisect_left(stamps, at)
                gone = min(bisect_right(stamps, at) - first, weight)
                left = stamps[:first] + stamps[first + gone :]
                if left:
                    table.put(source, left)
                else:
                    table.pop(source)

    def _tables(self) -> tuple[Generations[Source, tuple[int, ...]], ...]:
        return self._sure, self._heavy, self._light

    def _keep(
        self, table: Generations[Source, tuple[int, ...]], source: Source, stamps: tuple[int, ...], floor: int
    ) -> int:
        if stamps[0] <= floor:
            stamps = stamps[bisect_right(stamps, floor) :]
        if not stamps:
            table.pop(source)
            return 0
        self._count(table.put(source, stamps[-self.most :]), floor)
        return len(stamps)

    def _turn(self, now: Instant) -> None:
        # What was last touched before the turn before this one is at least a span old: nothing is lost, unless a
        # full table has turned by itself in between.
        for table in self._tables():
            for _ in range(2 if now >= self._turn_at + self.span else 1):
                self._count(table.turn(), now - self.span)
        self._turn_at = now + self.span

    def _count(self, dropped: dict[Source, tuple[int, ...]] | None, floor: int) -> None:
        if dropped:
            self.evicted += sum(1 for stamps in dropped.values() if stamps[-1] > floor)


def _size(stamps: tuple[int, ...]) -> int:
    return len(stamps) + OVERHEAD
