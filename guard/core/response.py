"""From an offence to what follows: thresholds, evidence, trust, the blast radius, the ladder, the unproven limit."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from guard.core import alarm
from guard.core.address import show_short, site
from guard.core.alarm import Alarm
from guard.core.ban import Ban, Change, Op
from guard.core.event import Kind, Sensor, Service
from guard.core.limit import A_MINUTE, ACTIVE, UnprovenLimit
from guard.core.outcome import Outcome
from guard.core.radius import Answer, answer
from guard.core.rule import Evidence, Scope
from guard.core.text import printable
from guard.core.track import GUESSES
from guard.core.units import HOUR, MINUTE, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from guard.core.address import Source
    from guard.core.alarm import Alarms
    from guard.core.consent import Consent
    from guard.core.failing import Failing
    from guard.core.hosts import Hosts
    from guard.core.ledger import Ledger
    from guard.core.plain import Reader, Row, Value
    from guard.core.rule import Rule
    from guard.core.sender import Attempt
    from guard.core.sourceset import SourceSet
    from guard.core.target import Targets
    from guard.core.track import Track, Weighed
    from guard.core.trust import Trust

UNPROVEN_MAX = HOUR
"""The longest ban on unproven evidence, unless the configuration says otherwise: whoever was framed is back soon."""
UNPROVEN_LADDER = (Duration(10 * MINUTE), Duration(30 * MINUTE))
"""Its rungs below the longest."""


@dataclass(slots=True, kw_only=True)
class Due:
    """A ban that a rule asks for. `host` is who committed the last offence, at the instant `at`."""

    track: Track
    source: Source
    host: Source
    scope: Scope
    evidence: Evidence
    offences: int
    at: Instant
    by: str


@dataclass(slots=True, kw_only=True)
class Responder:
    """Weighs each attempt under one rule, and makes the ban that is due. Its parts are the judge's and the engine's."""

    ledger: Ledger
    shadow: Ledger
    allow: SourceSet
    hosts: Hosts
    trust: Trust
    failing: Failing
    targets: Targets
    alarms: Alarms
    unproven_max: Duration
    limit: UnprovenLimit[tuple[Source, str], Due]
    consent: Consent

    def weigh(
        self, track: Track, attempt: Attempt, home: Source, now: Instant, by: str
    ) -> tuple[Outcome, list[Change]]:
        """Count an attempt under a rule; return what came of it."""
        rule, host = track.rule, attempt.event.source
        source = site(host, rule.prefix)
        if attempt.event.sensor is Sensor.SECURITY and attempt.at <= now - rule.window:
            self._weigh_past(track, attempt, source, now)
            return Outcome.COUNTED, []
        trusted = self.trust.behind(home, home, now) if attempt.number > 1 else ()
        weighed = track.count(attempt, source, trusted, now)
        if weighed is None:
            return Outcome.FOLDED, []
        due = self._due(track, attempt, source, home, weighed, now)
        if due is None:
            return Outcome.COUNTED, []
        due.by = by
        if self.allow.touches(source) or (due.evidence is Evidence.UNPROVEN and source[1] < home[1]):
            due.source = host  # a network with somebody allowed inside, or by forged senders: only who offended
        changes = self._ban(due, now)
        if not changes:
            return Outcome.COUNTED, []
        track.forget(source)
        return (Outcome.OBSERVED if track.observes else Outcome.BANNED), changes

    # What is due, part by part; `explain` asks for the same.

    def is_excused(self, rule: Rule, home: Source, now: Instant) -> bool:
        """Tell whether a rule counts challenges alone, and the site has answered one well inside the window."""
        return Kind.CHALLENGE_SENT in rule.weights and self.trust.recent(home, now, rule.window) > 0

    def needed(self, rule: Rule, home: Source, now: Instant) -> int:
        """Return the threshold for a site; trust makes it higher."""
        return ceil(rule.threshold * self.trust.factor(home, now))

    def needed_in_a_crowd(self, rule: Rule, account: str, home: Source, now: Instant) -> int | None:
        """Return what is enough for one of many strangers that guess at this account; None if it is none of many."""
        across = rule.across
        if across is None or self.trust.factor(home, now) != 1:
            return None
        return across.threshold if self.targets.sources(account, now, rule.window) >= across.sources else None

    def answer(
        self, rule: Rule, source: Source, home: Source, evidence: Evidence, phone: str | None, now: Instant
    ) -> Answer:
        """Choose what follows past the threshold; `phone` is the account, if a phone could have done it."""
        trusted = self.trust.behind(source, home, now)
        failing = self.failing.accounts(home, now, rule.window) if trusted and source == home else {}
        return answer(rule, evidence, trusted, failing, phone, network=source[1] < home[1])

    def rung(
        self, rule: Rule, source: Source, evidence: Evidence, at: Instant, now: Instant, ledger: Ledger
    ) -> tuple[int, Duration]:
        """Return which ban of a source one for an offence at the instant `at` is, and how long it lasts."""
        strike = ledger.strike(source, evidence, rule.forget, at, now)
        span = rule.rung(strike)
        if evidence is Evidence.UNPROVEN:
            ladder = (*UNPROVEN_LADDER, self.unproven_max)
            span = min(span, ladder[min(strike, len(ladder)) - 1], self.unproven_max)
        return strike, span

    def dump(self) -> Iterator[Row]:
        """Give what the limit on unproven bans has given, and who waits for it."""
        for kind, *values in self.limit.dump():
            if kind == "given":
                yield kind, *values
            else:
                over, since, span, due = values
                assert isinstance(due, Due), "that is what waits"
                yield (
                    kind, str(over), since, span, due.track.rule.name, due.source, due.host, due.scope, due.evidence,
                    due.offences, due.at,
                )  # fmt: skip

    def restore(self, row: Sequence[Value], read: Reader, tracks: Iterable[Track]) -> None:
        """Take back what was given, or one who waits; whose rule is no more waits for nothing."""
        match row:
            case ["given", following, given, ends]:
                self.limit.restore_given(
                    read.end(following),
                    map(read.instant, read.many(given, A_MINUTE)),
                    map(read.end, read.many(ends, ACTIVE)),
                )
            case ["waits", over, since, span, name, source, host, scope, evidence, offences, at]:
                due = next((track for track in tracks if track.rule.name == name and not track.observes), None)
                if due is not None:
                    who = read.source(source)
                    waiting = Due(
                        track=due, source=who, host=read.source(host), scope=Scope(read.text(scope)), by="",
                        evidence=Evidence(read.text(evidence)), offences=read.whole(offences), at=read.instant(at),
                    )  # fmt: skip
                    length = Duration(read.whole(span))
                    share = float(read.text(over))
                    self.limit.restore_waiting((who, due.rule.name), share, read.instant(since), length, waiting)
            case _:
                raise ValueError("an unknown row of the limit")

    def serve(self, now: Instant) -> list[Change]:
        """Ban the heaviest of those who wait, if its second has come."""
        due = self.limit.serve(now)
        if due is None or self.allow.touches(due.source) or self.ledger.covering(due.source, due.scope):
            return []
        due.track.forget(site(due.host, due.track.rule.prefix))
        due.by = "timer"
        ban = self.consent.given(self._make(due, self.ledger, now), now)
        return [] if ban is None else self.ledger.add(ban)

    def _due(
        self, track: Track, attempt: Attempt, source: Source, home: Source, weighed: Weighed, now: Instant
    ) -> Due | None:
        """Tell which ban is due, if the threshold is reached; raise the alarm that goes with it."""
        rule = track.rule
        crowd = weighed.total < rule.threshold
        if crowd and not self._is_of_a_crowd(rule, attempt, weighed, home, now):
            return None
        if self.is_excused(rule, home, now):
            return None
        needed = rule.threshold if crowd else self.needed(rule, home, now)
        early = not crowd and weighed.total < needed  # a phone that is broken is told of before it is in danger
        network = source[1] < home[1]
        if early and network:
            return None
        evidence = Evidence.PROVEN if weighed.proven >= needed else Evidence.UNPROVEN
        event = attempt.event
        phone = attempt.account if may_be_a_phone(rule, event.service, event.sensor) else None
        scope, kind, account = self.answer(rule, source, home, evidence, phone, now)
        if kind is alarm.Kind.BROKEN_PHONE or (kind is not None and not early):
            text = _text(kind, source, scope, len(self.trust.behind(source, home, now)), account)
            self.alarms.add(Alarm(kind=kind, at=now, source=source, account=account, rule=rule.name, text=text))
        if early:
            return None
        if scope is None:
            track.forget(source)
            return None
        return Due(
            track=track, source=source, host=attempt.event.source, scope=Scope.SIP if crowd else scope,
            evidence=evidence, offences=weighed.total, at=attempt.at, by="",
        )  # fmt: skip

    def _is_of_a_crowd(self, rule: Rule, attempt: Attempt, weighed: Weighed, home: Source, now: Instant) -> bool:
        """Tell whether a source is one of many that guess at one account, and has done so surely or twice itself."""
        if rule.across is None or weighed.total < rule.across.threshold or attempt.kind not in GUESSES:
            return False
        needed = self.needed_in_a_crowd(rule, attempt.account, home, now)
        return needed is not None and (weighed.proven > 0 or weighed.total >= 2)

    def _ban(self, due: Due, now: Instant) -> list[Change]:
        """Make the ban, unless the source is shut out already or has to wait."""
        ledger = self.shadow if due.track.observes else self.ledger
        if ledger.covering(due.source, due.scope):  # it goes on where this ban does not reach
            return []
        ban = self.consent.given(self._make(due, ledger, now), now)
        if ban is None:
            due.track.forget(site(due.host, due.track.rule.prefix))  # or each further offence would ask again
            return []
        if due.track.observes:
            return [Change(Op.OBSERVE, ban)] if ledger.add(ban) else []
        if due.evidence is Evidence.UNPROVEN and due.scope is not Scope.SLOW:  # that cuts nobody off
            over, span = due.offences / due.track.rule.threshold, Duration(ban.until - ban.since)
            if not self.limit.ask((due.source, due.track.rule.name), over, span, due, now):
                text = f"over {A_MINUTE // 2} unproven bans in a minute, or too many at once: the heaviest go first"
                self.alarms.add(Alarm(kind=alarm.Kind.UNPROVEN_LIMIT, at=now, text=text, rule=due.track.rule.name))
                return []
        return self.ledger.add(ban)

    def _make(self, due: Due, ledger: Ledger, now: Instant) -> Ban:
        rule = due.track.rule
        strike, span = self.rung(rule, due.source, due.evidence, due.at, now, ledger)
        return Ban(
            source=due.source, rule=rule.name, since=now, until=Instant(now + span), scope=due.scope,
            evidence=due.evidence, strike=strike, offences=due.offences,
            events=self.hosts.events_of(due.source, due.host), reason=rule.name, by=due.by, at=due.at,
        )  # fmt: skip

    def _weigh_past(self, track: Track, attempt: Attempt, source: Source, now: Instant) -> None:
        if track.observes or not track.count_past(attempt, source):
            return
        evidence = Evidence.PROVEN if attempt.proven else Evidence.UNPROVEN
        strike = self.ledger.strike(source, evidence, track.rule.forget, attempt.at, now)
        self.ledger.note_past(source, evidence, strike, attempt.at)


def _text(kind: alarm.Kind, source: Source, scope: Scope | None, trusted: int, account: str | None) -> str:
    where = f"{show_short(source)}, where {trusted} trusted account{'s live' if trusted > 1 else ' lives'}"
    if kind is alarm.Kind.BROKEN_PHONE:
        return f"the phone of account {printable(account or '')} keeps failing at {where}; give it its password"
    done = {None: "left alone", Scope.SLOW: "slowed", Scope.SIP: "shut out of SIP", Scope.ALL: "shut out"}[scope]
    one = f" at account {printable(account)}" if account else ""
    return f"too many failures{one} from {where}: {done}"


def may_be_a_phone(rule: Rule, service: Service, sensor: Sensor) -> bool:
    """Tell whether a phone with an old password, or a retired one, does what the rule counts.

    No phone fails at the manager interface, and a line of the log names whomever From names.
    """
    return _PHONES.issuperset(rule.weights) and service is not Service.AMI and sensor is not Sensor.MESSAGES


_PHONES = GUESSES | {Kind.INVALID_ACCOUNT_ID}
