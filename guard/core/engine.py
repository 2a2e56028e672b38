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

from guard.core import alarm
from guard.core.address import is_special, site, widen
from guard.core.alarm import Alarm, Alarms
from guard.core.attempt import Attempts
from guard.core.ban import Ban, Change, Op
from guard.core.event import FAILURES, WEB, Kind, Sensor, Service
from guard.core.failing import Failing
from guard.core.hosts import Hosts
from guard.core.judge import UNPROVEN_MAX, Judge
from guard.core.ledger import CAPACITY, Ledger
from guard.core.limit import UnprovenLimit
from guard.core.outcome import Outcome
from guard.core.rule import SIP_PORTS, Evidence, Mode, Scope
from guard.core.sourceset import SourceSet
from guard.core.tally import Tally
from guard.core.target import Targets
from guard.core.text import printable
from guard.core.track import Track
from guard.core.trust import Trust
from guard.core.units import HOUR, Duration, Instant, Wall

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from guard.core.address import Source
    from guard.core.attempt import Attempt
    from guard.core.event import SecurityEvent
    from guard.core.hosts import Host
    from guard.core.rule import Rule

MAX_AGE = HOUR
"""An event is never taken to be older than this, whatever the two clocks say."""

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
        unproven_max: Duration = UNPROVEN_MAX,
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
        self._attempts = Attempts()
        self._trust = Trust()
        self._alarms = Alarms()
        self._judge = Judge(
            ledger=self.ledger, shadow=self.shadow, allow=self.allow, hosts=self._hosts, trust=self._trust,
            failing=Failing(), targets=Targets(), alarms=self._alarms, unproven_max=unproven_max, limit=UnprovenLimit(),
        )  # fmt: skip
        self.rules = tuple(rules)
        self._tracks: dict[tuple[Service, Kind], list[Track]] = {}
        self._all_tracks = [Track(rule, mode) for rule in self.rules]
        for track in self._all_tracks:
            for service in track.rule.services or Service:
                for kind in track.rule.weights:
                    self._tracks.setdefault((service, kind), []).append(track)

    # What comes in.

    def handle(self, events: Sequence[SecurityEvent], now: Instant, wall: Wall) -> list[Outcome]:
        """Take a batch that was read at `now`, when the wall clock said `wall`; one outcome per event, in order."""
        now = self._advance(now)
        outcomes = [self._take(event, Instant(now - min(max(wall - event.at, 0), MAX_AGE)), now) for event in events]
        self.tally.fail(
            [
                (event.service, event.transport, event.source)
                for event in events
                if event.kind in FAILURES and event.sensor is not Sensor.MESSAGES  # AMI has told, or will
            ]
        )
        self.tally.add("events", len(outcomes))
        for outcome, count in Counter(outcomes).items():
            self.tally.add(f"outcome.{outcome}", count)
        self._count_tables()
        return outcomes

    def tick(self, now: Instant) -> None:
        """Let time pass: end the bans that are over, count what was held. More often than needed changes nothing."""
        self._advance(now)
        self._count_tables()

    def muted(self, count: int, now: Instant) -> None:
        """Take note that Asterisk could not issue so many security events; its log says so, but not whose they were."""
        text = "Asterisk could not issue security events; somebody may be hiding from it: only the log shows him"
        self.tally.add("log.muted", count)
        self._alarms.add(Alarm(kind=alarm.Kind.MUTED, at=self._advance(now), text=text))

    def ban(
        self, source: Source, length: Duration, now: Instant, *, reason: str = "", scope: Scope = Scope.ALL
    ) -> bool:
        """Ban by hand; False if that changes nothing. The caller has asked `allow.touches(source)` before."""
        now = self._advance(now)
        assert not self.allow.touches(source), "nothing on the allowlist is ever banned"
        strike = self.ledger.strike(source, Evidence.PROVEN, MAX_AGE, now, now)
        ban = Ban(
            source=source, rule=MANUAL, since=now, until=Instant(now + length), scope=scope, strike=strike,
            events=self._hosts.events_of(source, source), reason=reason, origin=MANUAL, by="command",
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
        parts = (self.ledger, self.shadow, self._attempts, self._judge.limit)
        return min((part.deadline for part in parts if part.deadline is not None), default=None)

    def take_changes(self) -> list[Change]:
        """Return the changes since the last call, in the order in which they have to be applied."""
        changes, self._changes = self._changes, []
        return changes

    def take_alarms(self) -> list[Alarm]:
        """Return the alarms since the last call."""
        return self._alarms.take()

    # How it judges.

    def _advance(self, now: Instant) -> Instant:
        if now < self.now:
            self.tally.add("clock.backwards")
            return self.now
        self.now = now
        self._record(self.ledger.expire(now))
        self.shadow.expire(now)
        for attempt in self._attempts.release(now):
            host = self._hosts.look(attempt.event.source)
            if host.exempt is None and not self._is_closed(host, attempt.event):
                self._weigh(attempt, host, now, "timer")
        self._record(self._judge.serve(now))
        return now

    def _take(self, event: SecurityEvent, at: Instant, now: Instant) -> Outcome:
        host = self._hosts.meet(event.source)
        if host.exempt is not None:
            return host.exempt
        if self._is_closed(host, event):
            return Outcome.ALREADY_BANNED
        home = host.site.source
        if event.kind is Kind.SUCCESSFUL_AUTH:
            if event.service is Service.PJSIP and event.proven and event.password:
                self._succeed(event, home, at, now)
            return Outcome.UNMATCHED
        taken = self._attempts.take(event, home, at, now, self._trust.recent(home, now))
        if isinstance(taken, Outcome):
            return taken
        return max([self._weigh(attempt, host, now, _BY[event.sensor]) for attempt in taken], key=_RANK.__getitem__)

    def _succeed(self, event: SecurityEvent, home: Source, at: Instant, now: Instant) -> None:
        """Take note of a phone that has authenticated with its password."""
        account = event.account
        self._attempts.succeed(event, home, now)
        self._trust.succeed(home, account, at)
        for track in self._all_tracks:
            track.succeed(site(event.source, track.rule.prefix), account)
        if failed := self._judge.failing.succeed(home, account, now):
            text = f"account {printable(account)} was entered after {failed} wrong answers; was its password guessed?"
            self._alarms.add(Alarm(kind=alarm.Kind.GUESSED_PASSWORD, at=now, text=text, source=home, account=account))

    def _is_closed(self, host: Host, event: SecurityEvent) -> bool:
        return host.cover is not None and self._closes(host.cover.scope, event)

    def _closes(self, scope: Scope, event: SecurityEvent) -> bool:
        """Tell whether a ban of this scope is all that can be done about such an event.

        A ban of the SIP ports leaves its source AMI, WebSocket and SIP on other ports. Who goes on there with proof is
        judged, or a ban that he drew upon himself would shield him. Without proof nothing more would be closed.
        """
        if scope is not Scope.SIP:
            return scope is Scope.ALL
        return not event.proven or (event.local_port in self._sip_ports and event.transport not in WEB)

    def _weigh(self, attempt: Attempt, host: Host, now: Instant, by: str) -> Outcome:
        """Count an attempt under every rule that is about it, until one bans."""
        event, home = attempt.event, host.site.source
        self._judge.suspect(attempt, home, now)
        outcome = Outcome.UNMATCHED
        for track in self._tracks.get((event.service, attempt.kind), ()):
            if not track.rule.counts(event, proven=attempt.proven):
                continue
            if track.observes and (held := self.shadow.covering(event.source)) and self._closes(held.scope, event):
                came = Outcome.OBSERVED
            else:
                came, changes = self._judge.weigh(track, attempt, home, now, by)
                self._record(changes)
                if came is Outcome.BANNED:
                    return came
            outcome = max(outcome, came, key=_RANK.__getitem__)
        return outcome

    def _record(self, changes: list[Change]) -> bool:
        """Queue changes and count them; True if one of them adds or removes."""
        self._changes += changes
        for change in changes:
            self.tally.add(_COUNT_OF[change.op])
        self.tally.counts["bans.dropped"] = self.ledger.dropped
        self.tally.counts["bans.refused"] = self.ledger.refused
        return any(change.op is not Op.EXPIRE for change in changes)

    def _count_tables(self) -> None:
        counts, attempts, judge = self.tally.counts, self._attempts, self._judge
        counts["attempts.opened"] = attempts.opened
        counts["attempts.counted"] = attempts.counted
        counts["attempts.exonerated"] = attempts.exonerated
        counts["attempts.forgotten"] = attempts.forgotten
        counts["log.unseen"] = attempts.unseen
        counts["alarms.raised"] = self._alarms.raised
        counts["alarms.dropped"] = self._alarms.dropped
        counts["unproven.forgotten"] = judge.limit.forgotten
        counts["trust.forgotten"] = self._trust.forgotten + judge.failing.forgotten + judge.targets.forgotten
        counts["hosts.forgotten"] = self._hosts.forgotten
        counts["strikes.forgotten"] = self.ledger.strikes_forgotten
        counts["window.evicted"] = sum(track.evicted for track in self._all_tracks)


_COUNT_OF = {Op.ADD: "bans.added", Op.REMOVE: "bans.removed", Op.EXPIRE: "bans.expired", Op.OBSERVE: "bans.observed"}
_RANK = {
    outcome: rank
    for rank, outcome in enumerate(
        (Outcome.UNMATCHED, Outcome.FOLDED, Outcome.COUNTED, Outcome.OBSERVED, Outcome.BANNED)
    )
}
"""Of all that came of an event, under several rules or by several attempts, its outcome is the last in this order."""
_BY = {Sensor.AMI: "event", Sensor.SECURITY: "event", Sensor.MESSAGES: "log"}
