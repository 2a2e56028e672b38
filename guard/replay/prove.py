"""Runs the cases of a rule: each in an engine of its own that knows only this rule, in time that is made up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import parse_source
from guard.core.engine import Engine
from guard.core.event import WEB, Kind, SecurityEvent, Service
from guard.core.rule import Mode, Scope
from guard.core.units import DAY, Duration, Instant, Wall, format_duration
from guard.replay.drive import Batch, Drive
from guard.settings.cases import Then

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guard.core.event import Transport
    from guard.core.rule import Rule
    from guard.settings.cases import Case, Step

BEGIN = 20_000 * DAY
"""When a case begins; no rule can tell one day from another."""

_NETWORK = "198.51.100."  # for documentation (RFC 5737)
_FIRST_ACCOUNT = 100
_PORTS = {Service.PJSIP: 5060, Service.SIP: 5060, Service.IAX2: 4569, Service.AMI: 5038}
_THEN = {Scope.ALL: Then.BAN, Scope.SIP: Then.SIP, Scope.SLOW: Then.SLOW}


class Proof(NamedTuple):
    """What came of a case: every sort of thing that followed, and in words the first of each."""

    case: Case
    followed: frozenset[Then]
    words: str

    @property
    def ok(self) -> bool:
        """Whether exactly that followed which the case says."""
        return self.followed == {self.case.then}


def prove(rule: Rule, case: Case) -> Proof:
    """Run one case of a rule, as if the rule and the daemon were in mode enforce."""
    drive = Drive(Engine([replace(rule, mode=None)], mode=Mode.ENFORCE))
    for event in events_of(case):
        drive.handle(Batch([event], Instant(event.at), event.at))
    drive.finish()
    words: dict[Then, str] = {}
    for ban in drive.bans:
        then, span = _THEN[ban.scope], format_duration(Duration(ban.until - ban.since))
        words.setdefault(then, f"{then} for {span} after {ban.events} events")
    for alarm in () if words else drive.alarms:
        words.setdefault(Then.ALARM, f"alarm {alarm.kind}")
    return Proof(case, frozenset(words) or frozenset({Then.NOTHING}), " and ".join(words.values()) or "nothing")


def events_of(case: Case) -> Iterator[SecurityEvent]:
    """Give the events of a case in the order of time."""
    at, number = BEGIN, 0
    for step in case.steps:
        at += step.later
        for turn in range(step.count):
            at += step.every if turn else 0
            yield _event(step, turn, number, Wall(at))
            number += 1


def _event(step: Step, turn: int, number: int, at: Wall) -> SecurityEvent:
    answers = step.kind in {Kind.CHALLENGE_RESPONSE_FAILED, Kind.INVALID_PASSWORD}
    return SecurityEvent(
        at=at,
        kind=step.kind,
        service=step.service,
        account=str(_FIRST_ACCOUNT + turn) if step.account is None else step.account,
        session="case" if step.same_session else f"case-{number}",
        source=parse_source(f"{_NETWORK}{1 + turn % step.sources}"),
        transport=step.transport,
        local_port=_port(step.service, step.transport),
        acl=step.acl,
        challenge=f"challenge-{number}" if answers else "",
        response=f"response-{number}" if answers else "",
        password=step.kind is Kind.SUCCESSFUL_AUTH and step.service is Service.PJSIP,
        sensor=step.sensor,
    )


def _port(service: Service, transport: Transport) -> int:
    return 8088 if transport in WEB else _PORTS[service]
