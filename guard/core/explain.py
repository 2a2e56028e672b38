"""What the engine knows of one source, and what would follow next.

Nothing here decides: thresholds, evidence, scopes, rungs and lengths come from the responder's own methods, asked about
one more offence like the last. Reading touches no table, so a question keeps nobody remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import SITE_LENGTH, site
from guard.core.event import Sensor
from guard.core.failing import MEMORY
from guard.core.response import may_be_a_phone
from guard.core.rule import Evidence, Scope
from guard.core.units import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from guard.core.address import Source
    from guard.core.alarm import Kind as AlarmKind
    from guard.core.attempt import Attempts
    from guard.core.failing import Failing, Failures
    from guard.core.response import Responder
    from guard.core.rule import Rule
    from guard.core.track import Held, Track
    from guard.core.tracks import Tracks
    from guard.core.trail import Trace, Trails
    from guard.core.trust import Trust
    from guard.core.units import Duration


class Next(NamedTuple):
    """What `missing` more offences like the last bring; `scope` None if that is an alarm only.

    `crowd` tells that many sources guess at one of its accounts, so that fewer are enough. `strike` and `length` are
    those of the ban.
    """

    missing: int
    evidence: Evidence
    scope: Scope | None
    alarm: AlarmKind | None
    crowd: bool
    strike: int
    length: Duration


class Standing(NamedTuple):
    """What a source has against it under one rule; `source` is what the rule takes for one.

    `needed` is the threshold for it, which trust makes higher than the rule's. `leaves` is when the oldest offence is
    out of the window. `next` is None if no further offence would change anything: it is shut out already, or excused.
    """

    rule: Rule
    source: Source
    observes: bool
    offences: int
    proven: int
    needed: int
    leaves: Instant
    next: Next | None


class Explanation(NamedTuple):
    """What is known of `site`, which is what counts as one source around what was asked for.

    `held` has when each attempt that is held will count, `factor` is by how much trust makes thresholds higher,
    `trusted` has the accounts that have authenticated and `failing` those it has failed at, within an hour.
    """

    site: Source
    events: int
    trail: Sequence[Trace]
    held: Sequence[Instant]
    factor: float
    trusted: Mapping[str, Instant]
    failing: Mapping[str, Failures]
    standings: Sequence[Standing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """Tells what the judge remembers of a source. Its parts are the judge's."""

    trails: Trails
    attempts: Attempts
    trust: Trust
    failing: Failing
    tracks: Tracks
    responder: Responder

    def explain(self, source: Source, now: Instant) -> Explanation:
        """Tell what is known of a source and what would follow; of a network wider than a site, of it as a whole."""
        home = site(source) if source[1] >= SITE_LENGTH[source[0]] else source
        trail = self.trails.look(home)
        return Explanation(
            site=home,
            events=self.responder.hosts.events_of(home, home),
            trail=trail,
            held=self.attempts.held_of(home),
            factor=self.trust.factor(home, now),
            trusted=self.trust.behind(home, home, now),
            failing=self.failing.accounts(home, now, MEMORY),
            standings=list(self._standings(source, home, trail, now)),
        )

    def _standings(self, source: Source, home: Source, trail: Sequence[Trace], now: Instant) -> Iterator[Standing]:
        for track in self.tracks:
            rule = track.rule
            if source[1] < rule.prefix[source[0]]:  # it has many of what the rule takes for one
                continue
            counted = site(source, rule.prefix)
            held = track.look(counted, now)
            if held.stamps:
                needed = self.responder.needed(rule, home, now)
                following = self._next(track, counted, home, held, trail, now)
                yield Standing(
                    rule, counted, track.observes, len(held.stamps), held.proven, needed,
                    Instant(held.stamps[0] + rule.window), following,
                )  # fmt: skip

    def _next(
        self, track: Track, counted: Source, home: Source, held: Held, trail: Sequence[Trace], now: Instant
    ) -> Next | None:
        rule, responder = track.rule, self.responder
        if responder.is_excused(rule, home, now):
            return None
        total = len(held.stamps)
        last = next((one for one in reversed(trail) if one.kind in rule.weights), None)
        crowd_needs = responder.needed_in_a_crowd(rule, last.account, home, now) if last else None
        threshold = needed = responder.needed(rule, home, now)
        crowd = crowd_needs is not None and total < rule.threshold
        if crowd and crowd_needs is not None:
            needed = crowd_needs if held.proven else max(crowd_needs, 2)
        # The next are taken to be like those before: whoever has shown that the address is his will do so again.
        missing = max(1, needed - total)
        proven = held.proven + (missing if held.proven == total else 0)
        evidence = Evidence.PROVEN if proven >= threshold else Evidence.UNPROVEN
        phone = last.account if last and may_be_a_phone(rule, last.service, Sensor.AMI) else None
        came = responder.answer(rule, counted, home, evidence, phone, now)
        scope = Scope.SIP if crowd and came.scope is not None else came.scope
        ledger = responder.shadow if track.observes else responder.ledger
        if scope is not None and ledger.covering(counted, scope):
            return None
        strike, length = responder.rung(rule, counted, evidence, now, now, ledger)
        return Next(missing, evidence, scope, came.alarm, crowd, strike, length)
