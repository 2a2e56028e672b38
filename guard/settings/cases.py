"""Cases: what a sender does, and what must follow. A rule's cases prove it, and `astguard rules test` runs them.

    cases:
      - sends: 6 ChallengeResponseFailed every 10s
        then: sip

A case is a step and its end. Steps that come before it stand under `after`. What a step does not say is what the rule
itself names, so that most cases are two lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from guard.core.event import Kind, Sensor, Service, Transport
from guard.core.units import DAY, SECOND, Duration, parse_duration
from guard.settings.possible import ACL_NAMES, told
from guard.settings.table import anything, choice, duration, whole

if TYPE_CHECKING:
    from guard.core.rule import Rule
    from guard.settings.mistakes import Place
    from guard.settings.table import Table

MAX_CASES = 20
MAX_STEPS = 10
MAX_SENT = 10_000
MAX_SOURCES = 250  # addresses of one IPv4 /24

_STEP_KEYS = ("sends", "service", "sensor", "transport", "account", "session", "sources", "acl", "later")
_CASE_KEYS = ("after", *_STEP_KEYS, "then")
_SENDS = re.compile(r"([1-9][0-9]{0,5}) (\w+)(?: every (\S+)| (at once))?", re.ASCII)
_LOGS_IN = {Service.PJSIP, Service.AMI}


class Then(StrEnum):
    """What a case must come to."""

    BAN = "ban"  # everything is closed
    SIP = "sip"  # the SIP ports
    SLOW = "slow"  # the SIP ports beyond a packet rate
    ALARM = "alarm"  # no ban, but somebody is told
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`count` events of one kind, the first `later` after what came before, then one `every` so often.

    `account` None is another account each time, `same_session` one session throughout the case. The events come from
    `sources` addresses of one network, which take turns. `words` is all of it as the file says it.
    """

    words: str
    count: int
    kind: Kind
    every: Duration
    service: Service
    sensor: Sensor
    transport: Transport
    account: str | None
    same_session: bool = False
    sources: int = 1
    acl: str = ""
    later: Duration = SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Steps, and what must have followed when they are over."""

    steps: tuple[Step, ...]
    then: Then
    place: Place

    def __str__(self) -> str:
        return "; ".join(step.words for step in self.steps)


_kind = choice("an event", {kind.value: kind for kind in Kind})
_service = choice("a service", {service.value: service for service in Service})
_sensor = choice("a sensor", {sensor.value: sensor for sensor in Sensor})
_transport = choice("a transport", {name.value.lower(): name for name in Transport if name is not Transport.UNNAMED})
_session = choice("a word for sessions", {"same": True, "each": False})
_then = choice("what can follow", {then.value: then for then in Then})
_acl = choice("the name of an ACL", {name: name for name in sorted(frozenset().union(*ACL_NAMES.values()))})


def read_cases(table: Table, rule: Rule) -> tuple[Case, ...]:
    """Read the cases of a rule that was read before."""
    cases = []
    sections = table.tables("cases", _CASE_KEYS, required=("sends", "then"))
    for section in sections[:MAX_CASES]:
        before = section.tables("after", _STEP_KEYS, required=("sends",))
        if len(before) >= MAX_STEPS:
            section.wrong(before[MAX_STEPS - 1].place, f"a case has at most {MAX_STEPS} steps")
        steps = tuple(_step(part, rule) for part in [*before[: MAX_STEPS - 1], section])
        cases.append(Case(steps=steps, then=section.one("then", _then, Then.NOTHING), place=section.place))
    if len(sections) > MAX_CASES:
        table.wrong(sections[MAX_CASES].place, f"more than {MAX_CASES} cases")
    return tuple(cases)


def _step(table: Table, rule: Rule) -> Step:
    count, kind, every = table.one("sends", _sends, (1, Kind.FAILED_ACL, SECOND))
    service = table.one("service", _service, _usual_service(rule))
    sensor = table.one("sensor", _sensor, _usual_sensor(rule, service, kind))
    silent = sensor is Sensor.MESSAGES
    usual = Transport.UNNAMED if silent else Transport.TCP if service is Service.AMI else Transport.UDP
    transport = table.one("transport", _transport, usual)
    account = table.one("account", anything, min(rule.accounts or {"100"}))
    if table.sound("sends", "service", "sensor", "transport"):
        if kind not in told(service, frozenset({sensor})) or (kind is Kind.SUCCESSFUL_AUTH and service not in _LOGS_IN):
            table.wrong(table.where("sends"), f"the sensor {sensor} never tells of {kind} of {service}")
        elif silent and "transport" in table:
            table.wrong(table.where("transport"), "a line of 'messages' names no transport; leave it out")
        elif service is Service.AMI and transport not in {Transport.TCP, Transport.TLS}:
            table.wrong(table.where("transport"), f"AMI is spoken over tcp or tls, not {transport.lower()}")
    return Step(
        words=_words(table),
        count=count,
        kind=kind,
        every=every,
        service=service,
        sensor=sensor,
        transport=transport,
        account=None if account == "each" else account,
        same_session=table.one("session", _session, default=False),
        sources=table.one("sources", whole(1, MAX_SOURCES), 1),
        acl=table.one("acl", _acl, min(rule.acls or {""}) if kind is Kind.FAILED_ACL else ""),
        later=table.one("later", duration(SECOND, Duration(30 * DAY)), SECOND),
    )


def _words(table: Table) -> str:
    texts = [(key, table.one(key, anything, "")) for key in _STEP_KEYS if key in table and table.sound(key)]
    return ", ".join(text if key == "sends" else f"{key} {text or repr('')}" for key, text in texts)


def _sends(text: str) -> tuple[int, Kind, Duration]:
    found = _SENDS.fullmatch(text)
    if not found:
        raise ValueError(
            f"{text!r} is nothing to send; write it like '6 FailedACL every 10s' or '15 FailedACL at once'"
        )
    count, kind, every, at_once = int(found[1]), _kind(found[2]), found[3], found[4]
    if count > MAX_SENT:
        raise ValueError(f"{text!r} sends more than {MAX_SENT} events")
    if count > 1 and not every and not at_once:
        raise ValueError(f"{text!r} does not say how fast; write '{text} every 10s' or '{text} at once'")
    return count, kind, parse_duration(every) if every else Duration(0)


def _usual_service(rule: Rule) -> Service:
    services = rule.services or frozenset({Service.PJSIP})
    return Service.PJSIP if Service.PJSIP in services else min(services)


def _usual_sensor(rule: Rule, service: Service, kind: Kind) -> Sensor:
    """Choose the first sensor that the rule hears and that tells of such an event."""
    if rule.sensors is None and service is Service.SIP:
        return Sensor.MESSAGES
    return next(
        (
            sensor
            for sensor in Sensor
            if sensor in (rule.sensors or Sensor) and kind in told(service, frozenset({sensor}))
        ),
        Sensor.AMI,
    )
