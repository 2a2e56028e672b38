"""The ledger: who is banned, until when, and how often before. It is what should be true in the kernel.

A source has at most one ban. Bans of one scope never overlap: a network's ban swallows the bans inside it and never
ends before they would have, and nothing is banned again inside a ban that is at least as strong. The ledger stays
below the size of the kernel's sets, because a full set loses the whole batch (ENFILE): it drops the unproven bans
with the least time left, and counts them.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from guard.core.address import covers, widen
from guard.core.ban import Ban, Change, Op
from guard.core.generations import Generations
from guard.core.rule import Evidence, Scope
from guard.core.tally import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guard.core.address import Source
    from guard.core.units import Duration, Instant, Wall

CAPACITY = 250_000
"""Bans of one scope, family and prefix length. Older kernels take memory for the stated size of a set at once, 16 MB
for a million (net/netfilter/nft_set_hash.c, nelem_hint), and there are six sets."""
STRIKES_LIMIT = 200_000
"""Sources whose former bans are remembered."""

_STRENGTH = {Scope.SLOW: 1, Scope.SIP: 2, Scope.ALL: 3}

SetKey = tuple[Scope, int, int]


class Ledger:
    """Active bans and strikes. `dropped` and `refused` count bans lost to a full table; `version` counts changes."""

    def __init__(self, capacity: int = CAPACITY, strikes_limit: int = STRIKES_LIMIT) -> None:
        self.version = 0
        self.dropped = 0
        self.refused = 0
        self._confirmed: dict[Source, Wall] = {}
        self._capacity = capacity
        self._active: dict[Source, Ban] = {}
        self._sets: defaultdict[SetKey, dict[Source, Ban]] = defaultdict(dict)  # the same bans, as the kernel has them
        self._lengths: dict[int, tuple[int, ...]] = {4: (), 6: ()}  # prefix lengths in use, by family
        self._ends: list[tuple[Instant, Source]] = []
        self._unproven: dict[SetKey, list[tuple[Instant, Source]]] = {}
        # How many bans a source has had and when the last one ends; one ladder for each kind of evidence.
        self._strikes: dict[Evidence, Generations[Source, tuple[int, Instant]]] = {
            evidence: Generations(strikes_limit) for evidence in Evidence
        }

    @property
    def strikes_forgotten(self) -> int:
        """How many sources' former bans were forgotten because the table was full."""
        return sum(strikes.forgotten for strikes in self._strikes.values())

    def tables(self, bans: str, strikes: str) -> Iterator[Table]:
        """Give how full the fullest set of bans is, and the memory of former ones, under these names."""
        yield Table(bans, max(map(len, self._sets.values()), default=0), self._capacity, self.dropped + self.refused)
        ladders = self._strikes.values()
        yield Table(strikes, sum(map(len, ladders)), sum(held.limit for held in ladders), self.strikes_forgotten)

    def sizes(self) -> dict[tuple[Scope, int], int]:
        """Return how many bans are active, by scope and family (4 or 6)."""
        sizes = dict.fromkeys(((scope, family) for scope in Scope for family in (4, 6)), 0)
        for (scope, family, _), bans in self._sets.items():
            sizes[scope, family] += len(bans)
        return sizes

    def __len__(self) -> int:
        return len(self._active)

    def __iter__(self) -> Iterator[Ban]:
        return iter(list(self._active.values()))

    def sources(self) -> list[Source]:
        """Return whose bans there are, the oldest first."""
        return list(self._active)

    def bans_of(self, sources: Iterable[Source]) -> list[Ban]:
        """Return the bans of these sources, in their order; those that have none are left out."""
        return [ban for ban in map(self._active.get, sources) if ban is not None]

    @property
    def in_use(self) -> set[SetKey]:
        """The sets that hold a ban, by scope, family and prefix length."""
        return {key for key, bans in self._sets.items() if bans}

    def get(self, source: Source) -> Ban | None:
        """Return the ban of exactly this source."""
        return self._active.get(source)

    def covering(self, source: Source, scope: Scope = Scope.SLOW) -> Ban | None:
        """Return the strongest ban that shuts out all of `source` and is at least as strong as `scope`."""
        found = None
        strength = _STRENGTH[scope]
        for length in self._lengths[source[0]]:
            ban = self._active.get(widen(source, length)) if length <= source[1] else None
            if ban is not None and _STRENGTH[ban.scope] >= strength:
                found, strength = ban, _STRENGTH[ban.scope] + 1
        return found

    def strike(self, source: Source, evidence: Evidence, forget: Duration, at: Instant, now: Instant) -> int:
        """Return which ban the next one of this source is, counted from 1, for an offence at the instant `at`.

        It is a rung higher only if the source went on after its last ban had ended.
        """
        count, last_end = self._strikes[evidence].get(source) or (0, at)
        if now - last_end >= forget:
            return 1
        return count + 1 if at >= last_end else max(count, 1)

    def note_past(self, source: Source, evidence: Evidence, strike: int, end: Instant) -> None:
        """Remember a ban that was due, and over, while nobody watched: it counts as a strike."""
        self._strikes[evidence].put(source, (strike, end))

    def add(self, ban: Ban) -> list[Change]:
        """Take in a ban and return the changes it brings; none if its source is shut out as strongly already.

        A ban of a source that has one already becomes the stronger and the longer of both.
        """
        wider = self.covering(ban.source, ban.scope)
        if wider is not None and (wider.source != ban.source or wider.until >= ban.until):
            return []
        replaced = self._replaced_by(ban)
        if ban.evidence is Evidence.UNPROVEN and any(
            weaker.evidence is Evidence.PROVEN and weaker.until > ban.until for weaker in replaced
        ):
            return []  # or whoever forges datagrams could make a long ban a stronger one
        for weaker in replaced:
            if weaker.source == ban.source:
                ban = replace(ban, scope=max(ban.scope, weaker.scope, key=_STRENGTH.__getitem__))
            ban = replace(ban, until=max(ban.until, weaker.until))
        room = self._make_room(ban)
        if room is None:
            self.refused += 1
            return []
        changes = []
        for weaker in replaced:
            change = self._lift(weaker, Op.REMOVE)
            if weaker.source != ban.source:
                changes.append(change)
        key = _set_key(ban)
        self._put_in(ban)
        heapq.heappush(self._ends, (ban.until, ban.source))
        if ban.evidence is Evidence.UNPROVEN:
            heapq.heappush(self._unproven.setdefault(key, []), (ban.until, ban.source))
        self._strikes[ban.evidence].put(ban.source, (ban.strike, ban.until))
        return [*changes, *room, Change(Op.ADD, ban)]

    def restore(self, bans: Iterable[Ban]) -> list[Ban]:
        """Take over the bans of an earlier life into an empty ledger; return those that have no place in it.

        One that a wider ban covers has none, nor has one too many in its set. The strikes of other sources come by
        `note_past`.
        """
        assert not self._active, "bans are restored before any is made"
        left_out = []
        for ban in sorted(bans, key=_by_length):  # the wider first: they cover
            source, kind = ban.source, ban.source[:2]
            bans_of_set = self._sets[ban.scope, kind[0], kind[1]]
            if source in self._active or self.covering(source, ban.scope):
                left_out.append(ban)
            elif len(bans_of_set) >= self._capacity:
                self.refused += 1
                left_out.append(ban)
            else:
                bans_of_set[source] = self._active[source] = ban
                self._strikes[ban.evidence].put(source, (ban.strike, ban.until))
                if len(bans_of_set) == 1:
                    self._has_changed(ban, in_use=True)
                self._ends.append((ban.until, source))
                if ban.evidence is Evidence.UNPROVEN:
                    self._unproven.setdefault(_set_key(ban), []).append((ban.until, source))
        for heap in (self._ends, *self._unproven.values()):
            heapq.heapify(heap)
        return left_out

    def former(self, source: Source, evidence: Evidence) -> tuple[int, Instant] | None:
        """Return how many bans a source has had, and when the last one ends; None if it has had none."""
        return self._strikes[evidence].get(source)

    def strikes(self) -> Iterator[tuple[Source, Evidence, int, Instant]]:
        """Give the former bans of all sources, the longest untouched half first."""
        for evidence, strikes in self._strikes.items():
            for source, (count, end) in strikes.items():
                yield source, evidence, count, end

    def confirm(self, sources: Iterable[Source], wall: Wall) -> None:
        """Note when, by the wall clock, the kernel had first taken the bans of these sources."""
        if len(self._confirmed) < len(self._active):  # else all are noted, as after a flush of perhaps a million
            for source in self._active.keys() & sources:
                self._confirmed.setdefault(source, wall)

    def unconfirm(self) -> None:
        """Note that the kernel holds no ban."""
        self._confirmed.clear()

    def confirmed(self, source: Source) -> Wall | None:
        """Return when the kernel had taken the ban of this source; None if nobody has said so."""
        return self._confirmed.get(source)

    def lift(self, source: Source) -> list[Change]:
        """End the ban of exactly this source early. It was a mistake, so its strike is taken back."""
        ban = self._active.get(source)
        if ban is None:
            return []
        strikes = self._strikes[ban.evidence]
        strikes.pop(source)
        if ban.strike > 1:
            strikes.put(source, (ban.strike - 1, ban.since))
        return [self._lift(ban, Op.REMOVE)]

    def inside(self, source: Source) -> list[Ban]:
        """Return the bans of sources inside `source`, its own included."""
        found = self.bans_of([source])
        for (_, family, length), bans in self._sets.items():
            if family == source[0] and length > source[1]:
                found += [ban for ban in bans.values() if covers(source, ban.source)]
        return found

    def expire(self, now: Instant) -> list[Change]:
        """End the bans whose time is over at `now`."""
        for heap in self._unproven.values():
            while heap and heap[0][0] <= now:
                heapq.heappop(heap)
        changes = []
        while self._ends and self._ends[0][0] <= now:
            until, source = heapq.heappop(self._ends)
            ban = self._active.get(source)
            if ban is not None and ban.until == until:
                changes.append(self._lift(ban, Op.EXPIRE))
        return changes

    @property
    def deadline(self) -> Instant | None:
        """The instant at which the next ban ends."""
        while self._ends:
            until, source = self._ends[0]
            ban = self._active.get(source)
            if ban is not None and ban.until == until:
                return until
            heapq.heappop(self._ends)
        return None

    def _replaced_by(self, ban: Ban) -> list[Ban]:
        strength, inside = _STRENGTH[ban.scope], self.inside(ban.source)
        return [held for held in inside if held.source == ban.source or _STRENGTH[held.scope] <= strength]

    def _make_room(self, ban: Ban) -> list[Change] | None:
        """Drop an unproven ban if the set is full; None if there is none to drop."""
        key = _set_key(ban)
        bans = self._sets[key]
        if len(bans) < self._capacity or ban.source in bans:
            return []
        heap = self._unproven.get(key, [])
        while heap:
            until, source = heapq.heappop(heap)
            held = self._active.get(source)
            if held is not None and held.until == until and _set_key(held) == key:
                self.dropped += 1
                return [self._lift(held, Op.REMOVE)]
        return None

    def _lift(self, ban: Ban, op: Op) -> Change:
        self._take_out(ban)
        return Change(op, ban)

    def _put_in(self, ban: Ban) -> None:
        bans = self._sets[_set_key(ban)]
        bans[ban.source] = self._active[ban.source] = ban
        self._has_changed(ban, in_use=len(bans) == 1)

    def _take_out(self, ban: Ban) -> None:
        bans = self._sets[_set_key(ban)]
        del bans[ban.source], self._active[ban.source]
        self._confirmed.pop(ban.source, None)
        self._has_changed(ban, in_use=not bans)

    def _has_changed(self, ban: Ban, *, in_use: bool) -> None:
        """Count a change; `in_use` says that a set has just come into use, or gone out of it."""
        self.version += 1
        if in_use:
            of = ban.source[0]
            lengths = {length for (_, family, length), bans in self._sets.items() if bans and family == of}
            self._lengths[of] = tuple(sorted(lengths))


def _set_key(ban: Ban) -> SetKey:
    return ban.scope, ban.source[0], ban.source[1]


def _by_length(ban: Ban) -> int:
    return ban.source[1]
