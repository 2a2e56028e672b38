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
from guard.core.address import is_special, widen
from guard.core.alarm import Alarm
from guard.core.ban import Ban, Change, Op
from guard.core.event import FAILURES, Sensor
from guard.core.hosts import Hosts
from guard.core.judge import Judge
from guard.core.ledger import CAPACITY, Ledger
from guard.core.memory import Memory
from guard.core.response import UNPROVEN_MAX
from guard.core.rule import SIP_PORTS, Evidence, Mode, Scope
from guard.core.sourceset import SourceSet
from guard.core.tally import Tally
from guard.core.units import HOUR, Duration, Instant, Wall

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from guard.core.address import Source
    from guard.core.consent import Answer
    from guard.core.event import SecurityEvent
    from guard.core.explain import Explanation
    from guard.core.outcome import Outcome
    from guard.core.rule import Rule
    from guard.core.tally import Table

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
        self.tally = Tally()
        self.allow = SourceSet(allow)
        self.ledger = Ledger(capacity)
        self.shadow = Ledger(capacity)  # what observing rules would have banned
        self.now = Instant(0)
        self._changes: list[Change] = []
        self._hosts = Hosts(self.ledger, self.allow)
        self.rules = tuple(rules)
        self._unproven_max = unproven_max
        self._judge = Judge(
            self.rules, mode, ledger=self.ledger, shadow=self.shadow, allow=self.allow, hosts=self._hosts,
            sip_ports=sip_ports, unproven_max=unproven_max,
        )  # fmt: skip
        self.memory = Memory(self.ledger, self.shadow, self._judge, self._hosts, self.allow)

    def reload(
        self,
        rules: Iterable[Rule],
        *,
        mode: Mode = Mode.ENFORCE,
        sip_ports: Collection[int] = SIP_PORTS,
        unproven_max: Duration = UNPROVEN_MAX,
    ) -> None:
        """Judge by other rules from now on; with the same ones this changes nothing.

        Bans, strikes, trust, attempts under way and alarms stay as they are. A rule of the same name that counts the
        same offences keeps its windows, whatever has become of its threshold, window and bans: of a window with
        another span the offences that fit. The allowlist is changed by `allow_source` and `disallow_source`.
        """
        self.rules, self.mode, self._unproven_max = tuple(rules), mode, unproven_max
        self._judge.follow(self.rules, mode)
        self._judge.ports.configure(sip_ports)
        self._judge.limit_unproven(unproven_max)

    def ask_before_bans(self, ask: Callable[[Ban], Answer] | None) -> None:
        """Ask before each ban that a rule makes or would make, from now on; nobody for None. It may not call back."""
        self._judge.consent.ask = ask

    def set_mode(self, mode: Mode) -> None:
        """Enforce or observe from now on; bans stay as they are."""
        self.mode = mode
        self._judge.follow(self.rules, mode)

    # What comes in.

    def handle(self, events: Sequence[SecurityEvent], now: Instant, wall: Wall) -> list[Outcome]:
        """Take a batch that was read at `now`, when the wall clock said `wall`; one outcome per event, in order."""
        now = self._advance(now)
        outcomes = []
        for event in events:
            at = Instant(now - min(max(wall - event.at, 0), MAX_AGE))
            outcome, changes = self._judge.take(event, at, now)
            outcomes.append(outcome)
            if changes:
                self._record(changes)
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

    def confirm(self, sources: Iterable[Source], wall: Wall) -> None:
        """Take note that the kernel had taken the bans of these sources when the wall clock said `wall`.

        What is heard of it later than `AFTER` is `after_ban`. A driver that bans nobody, like replay, confirms nothing.
        """
        self.ledger.confirm(sources, wall)

    def unconfirm(self) -> None:
        """Take note that the kernel holds no ban any more."""
        self.ledger.unconfirm()

    def muted(self, count: int, now: Instant) -> None:
        """Take note that Asterisk could not issue so many security events; its log says so, but not whose they were."""
        text = "Asterisk could not issue security events; somebody may be hiding from it: only the log shows him"
        self.tally.add("log.muted", count)
        self.warn(alarm.Kind.MUTED, text, now)

    def warn(self, kind: alarm.Kind, text: str, now: Instant) -> None:
        """Raise an alarm about what the engine itself cannot see."""
        self._judge.alarms.add(Alarm(kind=kind, at=self._advance(now), text=text))

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

    def adopt(
        self,
        held: Mapping[tuple[Source, Scope], Duration],
        now: Instant,
        was_lifted: Callable[[Source, Instant], bool] = lambda _source, _until: False,
    ) -> list[Ban]:
        """Take over bans that the kernel alone knows, with the time they have left; return those that are kept.

        What may not be banned (any more) is removed from the kernel, also what `was_lifted` says was lifted early; the
        rest is there already and is not added anew.
        """
        now, forged, adopted = self._advance(now), self._unproven_max, []
        for (source, scope), left in sorted(held.items(), key=lambda item: (item[0][0][1], item[0])):
            ban = Ban(
                source=source, rule=ADOPTED, since=now, until=Instant(now + left), scope=scope, origin=ADOPTED,
                evidence=Evidence.PROVEN if scope is Scope.ALL or left > forged else Evidence.UNPROVEN,
            )  # fmt: skip
            wrong = left <= 0 or is_special(source) or self.allow.touches(source) or was_lifted(source, ban.until)
            if not wrong and any(self.ledger.add(ban)):
                adopted.append(ban)
            else:
                self._record([Change(Op.REMOVE, ban)])
        return adopted

    def allow_source(self, source: Source, now: Instant) -> list[Source]:
        """Put a source on the allowlist; lift every ban that touches it, and return whose they were."""
        now = self._advance(now)
        self.allow.add(source)
        around = [self.ledger.get(widen(source, length)) for length in range(source[1])]
        lifted = [ban.source for ban in [*self.ledger.inside(source), *filter(None, around)]]
        for banned in lifted:
            self._record(self.ledger.lift(banned))
        return lifted

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
        parts = (self.ledger, self.shadow, self._judge)
        return min((part.deadline for part in parts if part.deadline is not None), default=None)

    def take_changes(self) -> list[Change]:
        """Return the changes since the last call, in the order in which they have to be applied."""
        changes, self._changes = self._changes, []
        return changes

    def take_alarms(self) -> list[Alarm]:
        """Return the alarms since the last call."""
        return self._judge.alarms.take()

    @property
    def sip_ports(self) -> tuple[int, ...]:
        """The ports that a ban of scope `sip` closes, in order; the learnt ones are among them."""
        return tuple(self._judge.ports)

    def take_ports(self) -> bool:
        """Tell whether ports were learnt since the last call."""
        changed, self._judge.ports.changed = self._judge.ports.changed, False
        return changed

    def outcomes(self) -> Mapping[tuple[str, Outcome], int]:
        """Return what came of the attempts that were weighed under each rule, by its name."""
        return self._judge.outcomes

    def explain(self, source: Source, now: Instant) -> Explanation:
        """Tell what is known of a source, and what would follow next; this changes nothing."""
        return self._judge.explain(source, now)

    def tables(self) -> Iterator[Table]:
        """Give how full each table is, for whoever watches the guard."""
        yield from self.ledger.tables("bans", "strikes")
        yield from self.shadow.tables("observed_bans", "observed_strikes")
        yield self._hosts.table
        yield from self._judge.tables()
        yield self.tally.failed

    # How it judges.

    def _advance(self, now: Instant) -> Instant:
        if now < self.now:
            self.tally.add("clock.backwards")
            return self.now
        self.now = now
        self._record(self.ledger.expire(now))
        self.shadow.expire(now)
        self._record(self._judge.advance(now))
        return now

    def _record(self, changes: list[Change]) -> bool:
        """Queue changes and count them; True if one of them adds or removes."""
        self._changes += changes
        for op, ban in changes:
            self.tally.add(_COUNT_OF[op])
            if op is Op.ADD or op is Op.OBSERVE:
                self.tally.add_ban(op, ban)
        self.tally.counts["bans.dropped"] = self.ledger.dropped
        self.tally.counts["bans.refused"] = self.ledger.refused
        return any(change.op is not Op.EXPIRE for change in changes)

    def _count_tables(self) -> None:
        counts = self.tally.counts
        counts.update(self._judge.counts())
        counts["hosts.forgotten"] = self._hosts.forgotten
        counts["strikes.forgotten"] = self.ledger.strikes_forgotten


_COUNT_OF = {Op.ADD: "bans.added", Op.REMOVE: "bans.removed", Op.EXPIRE: "bans.expired", Op.OBSERVE: "bans.observed"}
