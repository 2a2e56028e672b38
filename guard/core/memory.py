"""What an engine remembers beyond its next event: given to the driver to keep, and taken back into a new engine.

All in the engine's own instants; the driver turns them into the wall clock's and back, because two lives have no other
clock in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import is_special
from guard.core.ban import Ban
from guard.core.plain import Reader
from guard.core.rule import Evidence, Scope
from guard.core.units import Duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from guard.core.address import Source
    from guard.core.hosts import Hosts
    from guard.core.judge import Judge
    from guard.core.ledger import Ledger
    from guard.core.plain import Row, Value
    from guard.core.sourceset import SourceSet
    from guard.core.trail import Trace
    from guard.core.units import Instant


class Former(NamedTuple):
    """The former bans of a source on one kind of evidence: how often, and when the last one ends."""

    source: Source
    evidence: Evidence
    times: int
    end: Instant


class Memory:
    """The way in and out of what the engine's parts remember."""

    def __init__(self, ledger: Ledger, shadow: Ledger, judge: Judge, hosts: Hosts, allow: SourceSet) -> None:
        self._ledger = ledger
        self._shadow = shadow
        self._judge = judge
        self._hosts = hosts
        self._allow = allow

    # To be kept at a clean stop.

    def dump(self, now: Instant) -> Iterator[Row]:
        """Give, at the instant `now`, what is not kept as it changes: windows, attempts under way, what was observed.

        A row has plain values alone: numbers, texts, packed sources, None, and tuples of them.
        """
        yield "now", now
        yield from self._judge.dump()
        for source, events in self._hosts.dump():
            yield "host", source, events
        for ban in self._shadow:
            yield (
                "observed", ban.source, ban.rule, ban.since, ban.until, ban.scope, ban.evidence, ban.strike,
                ban.offences, ban.events, ban.reason, ban.by,
            )  # fmt: skip
        for former in self._shadow.strikes():
            yield "former", *former

    def restore(self, rows: Iterable[Value], elapsed: Duration, now: Instant) -> int:
        """Take such rows back at `now`, `elapsed` later, sources in hexadecimal; return how many could not be right."""
        refused, read, observed = 0, Reader(Duration(0), now), []
        for row in rows:
            try:
                match row:
                    case ["now", then]:
                        read = Reader(Duration(now - elapsed - read.whole(then)), now)
                    case ["host", *values]:
                        self._hosts.restore(values, read)
                    case ["observed", *values]:
                        observed.append(_observed(values, read))
                    case ["former", source, evidence, times, end]:
                        kind = Evidence(read.text(evidence))
                        self._shadow.note_past(read.source(source), kind, read.whole(times), read.end(end))
                    case [*values]:
                        self._judge.restore(values, read)
                    case _:
                        refused += 1
            except (ValueError, TypeError, KeyError, IndexError):
                refused += 1
        self._shadow.restore(ban for ban in observed if ban.until > now)
        self._judge.resume()
        return refused

    # To be kept as it changes.

    def former(self, ban: Ban) -> Former:
        """Return the former bans of a ban's source, on its kind of evidence; it has none if `times` is 0."""
        times, end = self._ledger.former(ban.source, ban.evidence) or (0, ban.until)
        return Former(ban.source, ban.evidence, times, end)

    def formers(self) -> Iterator[Former]:
        """Give the former bans of all sources, the longest untouched half first."""
        return (Former(*former) for former in self._ledger.strikes())

    def take_trail(self, source: Source) -> tuple[Trace, ...]:
        """Return the events that led to the ban of a source, as far as they are remembered, and forget them."""
        return self._judge.trails.take(source)

    def take_trusted(self) -> dict[tuple[Source, str], Instant]:
        """Return the successes since the last call, by site and account."""
        return self._judge.trust.take_changed()

    def learnt_ports(self) -> dict[int, bool]:
        """Return the ports that were learnt, and whether each was heard of over WebSockets alone."""
        return self._judge.ports.learnt()

    # To be taken back, into an engine that has judged nothing yet.

    def restore_bans(self, bans: Iterable[Ban]) -> list[Ban]:
        """Take bans back, and return those that have no place: they may not be made any more, or a set is full."""
        left_out: list[Ban] = []

        def rightful() -> Iterator[Ban]:
            allow = self._allow if len(self._allow) else None
            for ban in bans:
                if is_special(ban.source) or (allow is not None and allow.touches(ban.source)):
                    left_out.append(ban)
                else:
                    yield ban

        return [*self._ledger.restore(rightful()), *left_out]

    def restore_formers(self, formers: Iterable[Former], now: Instant) -> None:
        """Take former bans back, after the bans: none ends later than now, unless its source is still banned."""
        for source, evidence, times, end in formers:
            ban = self._ledger.get(source)
            latest = now if ban is None else max(now, ban.until)
            self._ledger.note_past(source, evidence, times, min(end, latest))

    def restore_trusted(self, trusted: Iterable[tuple[Source, str, Instant]]) -> None:
        """Take successes back, the oldest first."""
        for site, account, at in trusted:
            self._judge.trust.restore(site, account, at)

    def restore_ports(self, ports: Iterable[tuple[int, bool]]) -> None:
        """Take learnt ports back."""
        for port, web in ports:
            self._judge.ports.restore(port, web)


def _observed(values: Sequence[Value], read: Reader) -> Ban:
    source, rule, since, until, scope, evidence, strike, offences, events, reason, by = values
    return Ban(
        source=read.source(source), rule=read.text(rule), since=read.instant(since), until=read.end(until),
        scope=Scope(read.text(scope)), evidence=Evidence(read.text(evidence)), strike=read.whole(strike),
        offences=read.whole(offences), events=read.whole(events), reason=read.text(reason), by=read.text(by),
    )  # fmt: skip
