"""The engine: events and instants in; outcomes, changes and one deadline out.

It is the same object for the daemon, replay, the simulator and the benchmarks, and it never asks a clock. What a
driver owes it: `now` never goes back; after `tick(deadline)` the deadline is a later one; the changes it takes are
applied in their order. What it owes a driver: every event gets exactly one outcome, final when it is given, and the
outcomes sum to the events; nothing on the allowlist is ever in a change that adds.

An event's instant is `now` less its age, and its age is the wall clock less EventTV, cut to 0 .. 1 h: a backlog that
arrives late spreads over the past where it belongs, a clock that is wrong cannot move it into the future, and replay
and daemon agree. A ban starts now.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from guard.core.address import is_special, site, widen
from guard.core.ban import Ban, Change, Op
from guard.core.event import FAILURES, WEB, Service
from guard.core.hosts import Hosts
from guard.core.ledger import CAPACITY, Ledger
from guard.core.outcome import Outcome
from guard.core.rule import SIP_PORTS, Evidence, Mode, Scope
from guard.core.sourceset import SourceSet
from guard.core.tally import Tally
from guard.core.track import Track
from guard.core.units import HOUR, Duration, Instant, Wall

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from guard.core.address import Source
    from guard.core.event import Kind, SecurityEvent
    from guard.core.rule import Rule

MAX_AGE = HOUR
"""An event is never taken to be older than this, whatever the two clocks say."""
UNPROVEN_MAX = HOUR
"""The longest ban on unproven evidence: whoever was framed is back soon."""

MANUAL = "manual"
ADOPTED = "adopted"


class Engine:
    """Judges events by rules. All state is here and bounded; nothing is shared."""

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        mode: Mode = Mode.ENFORCE,
        allow: Iterable[Source] = (),
        sip_ports: Collection[int] = SIP_PORTS,
        capacity: int = CAPACITY,
    ) -> None:
        self.mode = mode
        self._sip_ports = frozenset(sip_ports)
        self.tally = Tally()
        self.allow = SourceSet(allow)
        self.ledger = Ledger(capacity)
        self.shadow = Ledger(capacity)  # what observing rules would have banned
        self.now = Instant(0)
        self._changes: list[Change] = []
        self._hosts = Hosts(self.ledger, self.allow)
        self.rules = tuple(rules)
        self._tracks: dict[tuple[Service, Kind], list[Track]] = {}
        self._all_tracks = [Track(rule, mode) for rule in self.rules]
        for track in self._all_tracks:
            for service in track.rule.services or Service:
                for kind in track.rule.weights:
                    self._tracks.setdefault((service, kind), []).append(track)

    # What comes in.

    def handle(self, events: Sequence[SecurityEvent], now: Instant, wall: Wall) -> list[Outcome]:
        """Judge a batch that was read at `now`, when the wall clock said `wall`; one outcome per event, in order."""
        now = self._advance(now)
        outcomes = [self._judge(event, Instant(now - min(max(wall - event.at, 0), MAX_AGE)), now) for event in events]
        self.tally.fail([(event.service, event.transport, event.source) for event in events if event.kind in FAILURES])
        self.tally.add("events", len(outcomes))
        for outcome, count in Counter(outcomes).items():
            self.tally.add(f"outcome.{outcome}", count)
        self.tally.counts["hosts.forgotten"] = self._hosts.forgotten
        self.tally.counts["strikes.forgotten"] = self.ledger.strikes_forgotten
        self.tally.counts["window.evicted"] = sum(track.evicted for track in self._all_tracks)
        return outcomes

    def tick(self, now: Instant) -> None:
        """Let time pass: end the bans that are over. Calling it more often than needed changes nothing."""
        self._advance(now)

    def ban(
        self, source: Source, length: Duration, now: Instant, *, reason: str = "", scope: Scope = Scope.ALL
    ) -> bool:
        """Ban by hand; False if that changes nothing. The caller has asked `allow.touches(source)` before."""
        now = self._advance(now)
        assert not self.allow.touches(source), "nothing on the allowlist is ever banned"
        strike = self.ledger.strike(source, Evidence.PROVEN, MAX_AGE, now)
        ban = Ban(
            source=source, rule=MANUAL, since=now, until=Instant(now + length), scope=scope,
            strike=strike, events=self._hosts.events_of(source, source), reason=reason, origin=MANUAL,
        )  # fmt: skip
        return self._record(self.ledger.add(ban))

    def unban(self, source: Source, now: Instant) -> bool:
        """Lift the ban of exactly this source early; False if it has none."""
        self._advance(now)
        return self._record(self.ledger.lift(source))

    def adopt(self, held: Mapping[tuple[Source, Scope], Duration], now: Instant) -> None:
        """Take over bans that the kernel holds from an earlier life, with the time they have left.

        What may not be banned (any more) is removed from the kernel; the rest is there already and is not added anew.
        """
        now = self._advance(now)
        for (source, scope), left in sorted(held.items(), key=lambda item: (item[0][0][1], item[0])):
            ban = Ban(
                source=source, rule=ADOPTED, since=now, until=Instant(now + left), scope=scope, origin=ADOPTED,
                evidence=Evidence.PROVEN if scope is Scope.ALL else Evidence.UNPROVEN,
            )  # fmt: skip
            kept = not (is_special(source) or self.allow.touches(source)) and any(self.ledger.add(ban))
            if not kept:
                self._record([Change(Op.REMOVE, ban)])

    def allow_source(self, source: Source, now: Instant) -> None:
        """Put a source on the allowlist, and lift every ban that touches it."""
        now = self._advance(now)
        self.allow.add(source)
        around = [self.ledger.get(widen(source, length)) for length in range(source[1])]
        for ban in [*self.ledger.inside(source), *filter(None, around)]:
            self._record(self.ledger.lift(ban.source))

    def disallow_source(self, source: Source) -> bool:
        """Take a source off the allowlist; False if it was not on it."""
        if source not in self.allow:
            return False
        self.allow.discard(source)
        return True

    # What goes out.

    @property
    def deadline(self) -> Instant | None:
        """The next instant at which something happens by itself; hand it to `tick`."""
        return min(filter(None, (self.ledger.deadline, self.shadow.deadline)), default=None)

    def take_changes(self) -> list[Change]:
        """Return the changes since the last call, in the order in which they have to be applied."""
        changes, self._changes = self._changes, []
        return changes

    # How it judges.

    def _advance(self, now: Instant) -> Instant:
        if now < self.now:
            self.tally.add("clock.backwards")
            return self.now
        self.now = now
        self._record(self.ledger.expire(now))
        self.shadow.expire(now)
        return now

    def _judge(self, event: SecurityEvent, at: Instant, now: Instant) -> Outcome:
        host = self._hosts.meet(event.source)
        if host.exempt is not None:
            return host.exempt
        if host.cover is not None and self._closes(host.cover.scope, event):
            return Outcome.ALREADY_BANNED
        outcome = Outcome.UNMATCHED
        for track in self._tracks.get((event.service, event.kind), ()):
            if not track.rule.counts(event):
                continue
            if self._offend(track, event, at, now):
                outcome = Outcome.OBSERVED if track.observes else Outcome.BANNED
                if outcome is Outcome.BANNED:
                    break
            elif outcome is Outcome.UNMATCHED:
                outcome = Outcome.COUNTED
        return outcome

    def _closes(self, scope: Scope, event: SecurityEvent) -> bool:
        """Tell whether a ban of this scope is all that can be done about such an event.

        A ban of the SIP ports leaves its source AMI, WebSocket and SIP on other ports. Who goes on there with proof is
        judged, or a ban that he drew upon himself would shield him. Without proof nothing more would be closed.
        """
        if scope is not Scope.SIP:
            return scope is Scope.ALL
        return not event.proven or (event.local_port in self._sip_ports and event.transport not in WEB)

    def _offend(self, track: Track, event: SecurityEvent, at: Instant, now: Instant) -> bool:
        """Count an offence; True if the source is banned under this rule, or would be if the rule did not observe."""
        if track.observes and (held := self.shadow.covering(event.source)) and self._closes(held.scope, event):
            return True
        source = site(event.source, track.rule.prefix)
        tripped = track.count(event, source, at, now)
        if tripped is None or not self._trip(track, source, event, *tripped, now):
            return False
        track.forget(source)
        return True

    def _trip(
        self, track: Track, source: Source, event: SecurityEvent, evidence: Evidence, total: int, now: Instant
    ) -> bool:
        rule = track.rule
        if self.allow.touches(source):  # a network with somebody allowed inside: only the host that offended
            source = event.source
        ledger, scope = self.shadow if track.observes else self.ledger, rule.scope
        if evidence is Evidence.UNPROVEN:
            scope = Scope.SIP if scope is Scope.ALL else scope
        if ledger.covering(source, scope):  # it goes on where this ban does not reach: no reason to make it longer
            return False
        strike = ledger.strike(source, evidence, rule.forget, now)
        span = rule.rung(strike)
        if evidence is Evidence.UNPROVEN:
            span = min(span, UNPROVEN_MAX)
        ban = Ban(
            source=source, rule=rule.name, since=now, until=Instant(now + span), scope=scope, evidence=evidence,
            strike=strike, offences=total, events=self._hosts.events_of(source, event.source), reason=rule.name,
        )  # fmt: skip
        changes = ledger.add(ban)
        if not track.observes:
            return self._record(changes)
        self.tally.add("bans.observed")
        self._changes.append(Change(Op.OBSERVE, ban))
        return True

    def _record(self, changes: list[Change]) -> bool:
        """Queue changes and count them; True if one of them adds or removes."""
        self._changes += changes
        for change in changes:
            self.tally.add(_COUNT_OF[change.op])
        self.tally.counts["bans.dropped"] = self.ledger.dropped
        self.tally.counts["bans.refused"] = self.ledger.refused
        return any(change.op is not Op.EXPIRE for change in changes)


_COUNT_OF = {Op.ADD: "bans.added", Op.REMOVE: "bans.removed", Op.EXPIRE: "bans.expired"}
