"""The judge: an event in, its outcome and the changes that it brings out.

Special and allowed sources first, then those that are banned, then successes; what is left folds into attempts, and
each attempt is weighed under every rule that is about it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from guard.core import alarm
from guard.core.address import show_short, site
from guard.core.alarm import Alarm, Alarms
from guard.core.attempt import Attempts
from guard.core.consent import Consent
from guard.core.event import UNKNOWN_ACCOUNT, Kind, Sensor, Service, trim
from guard.core.explain import Explainer
from guard.core.failing import Failing
from guard.core.generations import Generations
from guard.core.limit import UnprovenLimit
from guard.core.outcome import Outcome
from guard.core.plain import cut
from guard.core.ports import Ports
from guard.core.response import Responder
from guard.core.rule import Scope
from guard.core.target import MANY, Targets
from guard.core.text import printable
from guard.core.track import GUESSES
from guard.core.tracks import Tracks
from guard.core.trail import Trails
from guard.core.trust import Trust
from guard.core.units import MILLISECOND, Duration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from guard.core.address import Source
    from guard.core.ban import Ban, Change
    from guard.core.event import SecurityEvent
    from guard.core.hosts import Host, Hosts
    from guard.core.ledger import Ledger
    from guard.core.plain import Part, Reader, Row, Value
    from guard.core.rule import Mode, Rule
    from guard.core.sender import Attempt
    from guard.core.sourceset import SourceSet
    from guard.core.tally import Table
    from guard.core.units import Instant

AFTER = Duration(100 * MILLISECOND)
"""What was on its way into Asterisk when the kernel took the ban has been told of by then."""
AFTER_MANY = 10
"""Events of one source after its ban until it is an alarm."""
HEARD_LIMIT = 8_192
"""Bans that do not bite, of which the events are counted."""


class Judge:
    """All that is remembered to judge by. The ledgers, the allowlist and the hosts are the engine's."""

    def __init__(
        self,
        rules: Iterable[Rule],
        mode: Mode,
        *,
        ledger: Ledger,
        shadow: Ledger,
        allow: SourceSet,
        hosts: Hosts,
        sip_ports: Collection[int],
        unproven_max: Duration,
    ) -> None:
        self.alarms = Alarms()
        self.trails = Trails()
        self.outcomes: Counter[tuple[str, Outcome]] = Counter()  # of attempts, by rule
        self._attempts = Attempts()
        self.trust = Trust()
        self._failing = Failing()
        self._targets = Targets()
        self._hosts = hosts
        self._shadow = shadow
        self.ports = Ports(sip_ports)
        self._ledger = ledger
        self._heard_banned: Generations[tuple[Source, Instant], int] = Generations(HEARD_LIMIT)
        self.consent = Consent(self.alarms)
        self._responder = Responder(
            ledger=ledger, shadow=shadow, allow=allow, hosts=hosts, trust=self.trust, failing=self._failing,
            targets=self._targets, alarms=self.alarms, unproven_max=unproven_max, limit=UnprovenLimit(),
            consent=self.consent,
        )  # fmt: skip
        self._changes: list[Change] = []
        self._tracks = Tracks()
        self.explain = Explainer(
            trails=self.trails, attempts=self._attempts, trust=self.trust, failing=self._failing, tracks=self._tracks,
            responder=self._responder,
        ).explain  # fmt: skip
        self.follow(rules, mode)

    def follow(self, rules: Iterable[Rule], mode: Mode) -> None:
        """Judge by these rules from now on. One that counts what it counted before goes on with its windows."""
        self._tracks.follow(rules, mode)
        names = {track.rule.name for track in self._tracks}
        for key in [key for key in self.outcomes if key[0] not in names]:
            del self.outcomes[key]
        self._responder.limit.withdraw(lambda due: due.track.observes or due.track not in self._tracks)

    def limit_unproven(self, longest: Duration) -> None:
        """Let a ban on unproven evidence last so long at most from now on."""
        self._responder.unproven_max = longest

    def advance(self, now: Instant) -> list[Change]:
        """Let time pass: count what was held until now, ban the heaviest who waits; return the changes."""
        for attempt in self._attempts.release(now):
            host = self._hosts.look(attempt.event.source)
            closed = host.cover is not None and self._closes(host.cover.scope, attempt.event)
            if host.exempt is None and not closed:
                self._weigh(attempt, host, now, "timer")
        self._changes += self._responder.serve(now)
        return self._take_changes()

    @property
    def deadline(self) -> Instant | None:
        """The next instant at which something happens by itself."""
        parts = (self._attempts.deadline, self._responder.limit.deadline)
        return min((deadline for deadline in parts if deadline is not None), default=None)

    def take(self, event: SecurityEvent, at: Instant, now: Instant) -> tuple[Outcome, list[Change]]:
        """Judge an event that happened at the instant `at`; return its outcome and the changes it brings."""
        outcome = self._judge(trim(event), at, now)
        return outcome, self._take_changes() if self._changes else []

    def counts(self) -> Iterator[tuple[str, int]]:
        """Give what the tally shows of the tables here."""
        attempts = self._attempts
        yield "attempts.opened", attempts.opened
        yield "attempts.counted", attempts.counted
        yield "attempts.exonerated", attempts.exonerated
        yield "attempts.forgotten", attempts.forgotten
        yield "log.unseen", attempts.unseen
        yield "alarms.raised", self.alarms.raised
        yield "alarms.dropped", self.alarms.dropped
        yield from self.consent.counts()
        yield "unproven.forgotten", self._responder.limit.forgotten
        known = self.trust.forgotten + self._failing.forgotten + self._targets.forgotten
        yield "trust.forgotten", known + self._tracks.forgotten + self._heard_banned.forgotten
        yield "trust.unkept", self.trust.unkept
        yield "trails.forgotten", self.trails.forgotten
        yield "window.evicted", self._tracks.evicted

    def tables(self) -> Iterator[Table]:
        """Give how full each table here is; the tables of all rules as one."""
        yield from self._attempts.tables()
        yield self.trust.table
        yield self._failing.table
        yield self._targets.table
        yield self._heard_banned.table("unheeded_bans")
        yield self._responder.limit.table
        yield self.alarms.table
        yield self.trails.table
        yield from self._tracks.tables()

    def dump(self) -> Iterator[Row]:
        """Give all that is remembered to judge by, part by part."""
        for name, part in self._parts().items():
            yield from cut(part.dump(), name)
        yield from cut(self._responder.dump(), "limit")

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back a row; `resume` follows the last one. ValueError if it cannot be right."""
        match row:
            case ["limit", *rest]:
                self._responder.restore(rest, read, self._tracks)
            case [name, *rest]:
                self._parts()[read.text(name)].restore(rest, read)

    def _parts(self) -> Mapping[str, Part]:
        return {
            "track": self._tracks, "attempt": self._attempts, "failing": self._failing, "target": self._targets,
            "alarm": self.alarms, "trail": self.trails,
        }  # fmt: skip

    def resume(self) -> None:
        """Go on with what was under way."""
        self._attempts.resume()

    def _take_changes(self) -> list[Change]:
        changes, self._changes = self._changes, []
        return changes

    def _judge(self, event: SecurityEvent, at: Instant, now: Instant) -> Outcome:
        host = self._hosts.meet(event.source)
        if host.exempt is not None:
            return host.exempt
        self.ports.hear(event)
        cover = host.cover
        if cover is not None and self._closes(cover.scope, event):
            return self._hear_banned(cover, event, now)
        home = host.site.source
        if event.kind is Kind.SUCCESSFUL_AUTH:
            if event.service is Service.PJSIP and event.proven and event.password:
                self._succeed(event, home, at, now)
            return Outcome.UNMATCHED
        came = self._attempts.take(event, home, at, now, self.trust.recent(home, now))
        if not isinstance(came, Outcome):
            came = max([self._weigh(attempt, host, now, _BY[event.sensor]) for attempt in came], key=_RANK.__getitem__)
        self.trails.add(home, event, came)
        return came

    def _hear_banned(self, ban: Ban, event: SecurityEvent, now: Instant) -> Outcome:
        """Tell an event that was under way from one that the kernel should have stopped."""
        confirmed = self._ledger.confirmed(ban.source)
        if confirmed is None or event.at <= confirmed + AFTER or event.sensor is not Sensor.AMI:
            return Outcome.ALREADY_BANNED
        key = (ban.source, ban.since)
        times = (self._heard_banned.touch(key) or 0) + 1
        self._heard_banned.put(key, times)
        if times == AFTER_MANY:
            text = (
                f"{show_short(ban.source)} is banned and still heard at port {event.local_port} ({event.transport}): "
                f"{_cause(ban, closed=self.ports.close(event))}"
            )
            self.alarms.add(Alarm(kind=alarm.Kind.NO_EFFECT, at=now, text=text, source=ban.source, rule=ban.rule))
        return Outcome.AFTER_BAN

    def _succeed(self, event: SecurityEvent, home: Source, at: Instant, now: Instant) -> None:
        """Take note of a phone that has authenticated with its password."""
        account = event.account
        first = self.trust.succeed(home, account, at)
        self._attempts.succeed(event, home, now, first=first)
        for track in self._tracks:
            track.succeed(site(event.source, track.rule.prefix), account)
        if failed := self._failing.succeed(home, account, now):
            text = f"account {printable(account)} was entered after {failed} wrong answers; was its password guessed?"
            self.alarms.add(Alarm(kind=alarm.Kind.GUESSED_PASSWORD, at=now, text=text, source=home, account=account))

    def _closes(self, scope: Scope, event: SecurityEvent) -> bool:
        """Tell whether a ban of this scope is all that can be done about such an event.

        A ban of the SIP ports leaves its source AMI, WebSocket and SIP on other ports. Who goes on there with proof is
        judged, or a ban that he drew upon himself would shield him. Without proof nothing more would be closed.
        """
        if scope is not Scope.SIP:
            return scope is Scope.ALL
        return not event.proven or self.ports.close(event)

    def _weigh(self, attempt: Attempt, host: Host, now: Instant, by: str) -> Outcome:
        """Count an attempt under every rule that is about it, until one bans."""
        event, home = attempt.event, host.site.source
        self._suspect(attempt, home, now)
        outcome = Outcome.UNMATCHED
        for track in self._tracks.about(event.service, attempt.kind):
            if not track.rule.counts(event, proven=attempt.proven):
                continue
            if track.observes and (held := self._shadow.covering(event.source)) and self._closes(held.scope, event):
                came = Outcome.OBSERVED
            else:
                came, changes = self._responder.weigh(track, attempt, home, now, by)
                self._changes += changes
            self.outcomes[track.rule.name, came] += 1
            if came is Outcome.BANNED:
                return came
            outcome = max(outcome, came, key=_RANK.__getitem__)
        return outcome

    def _suspect(self, attempt: Attempt, home: Source, now: Instant) -> None:
        """Remember who fails at which account, whatever the rules say."""
        if attempt.event.service is Service.AMI or attempt.kind not in _FAILS:
            return
        account = attempt.account
        self._failing.add(home, account, attempt.event.session, attempt.at)
        unknown = attempt.before or attempt.event.account == UNKNOWN_ACCOUNT
        if attempt.kind not in GUESSES or unknown or self.trust.knows(home, account, now):
            return
        self._targets.add(account, home, attempt.at)
        many = self._targets.sources(account, now)
        if many >= MANY:
            text = f"{many} sources or more have guessed at the password of {printable(account)} within an hour"
            self.alarms.add(Alarm(kind=alarm.Kind.ACCOUNT_UNDER_ATTACK, at=now, text=text, account=account))


def _cause(ban: Ban, *, closed: bool) -> str:
    if ban.scope is Scope.SIP and not closed:
        return "that port is not among those that are closed, add it to firewall.sip_ports"
    return (
        "that port is closed, so it comes in by a port that is redirected to it, by a proxy in front of Asterisk that "
        "keeps the senders' addresses, or Asterisk is in another network namespace than astguard; or else the ban was "
        "taken out of the kernel"
    )


_FAILS = GUESSES | {Kind.INVALID_ACCOUNT_ID}
_RANK = {
    outcome: rank
    for rank, outcome in enumerate(
        (Outcome.UNMATCHED, Outcome.FOLDED, Outcome.COUNTED, Outcome.OBSERVED, Outcome.BANNED)
    )
}
"""Of all that came of an event, under several rules or by several attempts, its outcome is the last in this order."""
_BY = {Sensor.AMI: "event", Sensor.SECURITY: "event", Sensor.MESSAGES: "log"}
