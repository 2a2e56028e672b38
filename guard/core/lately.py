"""Who has tried to get in of late, and at which accounts: counted for whoever looks, nobody is banned for it.

Two tables, young and old, as in `generations.py`: a turn drops the old one and makes the young one old. They turn when
the young one is full or its time is over, so a count tells of the time since the old one began: 5 to 10 minutes, or
less in a flood of ever new addresses, whose tables are full sooner.
"""

from __future__ import annotations

from heapq import nlargest
from operator import itemgetter
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from guard.core.address import site
from guard.core.outcome import Outcome
from guard.core.tally import Table
from guard.core.units import MINUTE, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guard.core.address import Source
    from guard.core.event import SecurityEvent

TURN = Duration(5 * MINUTE)
PAIRS_LIMIT = 100_000
"""Pairs of a source and an account: some 300 bytes each, 30 MB when a spoofed flood fills it."""
ACCOUNT_LIMIT = 80
"""Characters of an account that are told apart."""
PIECE = 2_048
"""Pairs that are summed in one piece: some 2 ms."""

_Key = TypeVar("_Key")
_PAST = frozenset({Outcome.SPECIAL, Outcome.ALLOWED, Outcome.UNMATCHED, Outcome.FOLDED})
"""Outcomes of events that are no attempt of their own, or none that anybody would ban for."""


class Heavy(NamedTuple):
    """How often a source has tried, and at how many accounts; or an account was tried, and by how many sources."""

    attempts: int
    others: int


class Lately:
    """Counts attempts by source and account."""

    def __init__(self, now: Instant, limit: int = PAIRS_LIMIT) -> None:
        self.since = now
        self.forgotten = 0
        self._limit = limit
        self._turned = now
        self._young: dict[tuple[Source, str], int] = {}
        self._old: dict[tuple[Source, str], int] = {}

    @property
    def table(self) -> Table:
        """How full it is."""
        return Table("lately", len(self._young) + len(self._old), self._limit, self.forgotten)

    def add(self, events: Sequence[SecurityEvent], outcomes: Sequence[Outcome], now: Instant) -> None:
        """Count a batch of events that were judged."""
        if now - self._turned >= TURN:
            self._turn(now)
        young = self._young
        for event, outcome in zip(events, outcomes, strict=True):
            if outcome in _PAST:
                continue
            source = event.source
            key = (source if source[0] == 4 else site(source), event.account[:ACCOUNT_LIMIT])
            count = young.get(key)
            if count is None and len(young) >= self._limit // 2:
                self.forgotten += len(self._old)
                self._turn(now)
                young = self._young
            young[key] = 1 if count is None else count + 1

    def heaviest(self, rows: int) -> Iterator[tuple[dict[Source, Heavy], dict[str, Heavy]] | None]:
        """Give None after each piece of the work, then the heaviest sources and accounts, each of so many rows.

        What is counted between two pieces may or may not be in it.
        """
        sources: dict[Source, list[int]] = {}
        accounts: dict[str, list[int]] = {}
        young, old = self._young, self._old
        for table, counted in ((young, {}), (old, young)):
            pairs = list(table.items())
            for start in range(0, len(pairs), PIECE):
                for pair, count in pairs[start : start + PIECE]:
                    source, account = pair
                    new = pair not in counted
                    _add(sources, source, count, new)
                    _add(accounts, account, count, new)
                yield None
        yield from (largest := _Largest(sources, rows)).work()
        yield from (most_tried := _Largest(accounts, rows)).work()
        yield largest.found, most_tried.found

    def _turn(self, now: Instant) -> None:
        self._old, self._young = self._young, {}
        self.since, self._turned = self._turned, now


def _add(sums: dict[_Key, list[int]], key: _Key, count: int, new: bool) -> None:
    held = sums.get(key)
    if held is None:
        sums[key] = [count, 1]
    else:
        held[0] += count
        held[1] += new


class _Largest(Generic[_Key]):
    """The largest sums, found a piece at a time."""

    def __init__(self, sums: dict[_Key, list[int]], rows: int) -> None:
        self._sums = list(sums.items())
        self._rows = rows
        self._best: list[tuple[_Key, list[int]]] = []

    def work(self) -> Iterator[None]:
        for start in range(0, len(self._sums), PIECE):
            piece = self._sums[start : start + PIECE]
            self._best = nlargest(self._rows, self._best + piece, key=itemgetter(1))
            yield None

    @property
    def found(self) -> dict[_Key, Heavy]:
        return {key: Heavy(*counts) for key, counts in self._best}
