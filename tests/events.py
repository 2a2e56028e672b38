"""Builders that tests share: one event, one rule."""

from __future__ import annotations

from itertools import count

from guard.core.address import parse_host
from guard.core.event import Kind, SecurityEvent, Service, Transport
from guard.core.rule import Rule
from guard.core.units import HOUR, MINUTE, Duration, Wall

_CALLS = count()


def event(
    source="198.51.100.7",
    kind=Kind.CHALLENGE_RESPONSE_FAILED,
    service=Service.PJSIP,
    transport=Transport.UDP,
    *,
    at=0,
    account="101",
    session=None,
    port=None,
    **fields,
):
    """Make an event; `at` in nanoseconds of the wall clock. Each has a session of its own unless one is given."""
    session = f"call-{next(_CALLS)}" if session is None else session
    host = parse_host(source) if isinstance(source, str) else source
    port = port or (5038 if service is Service.AMI else 5060)
    return SecurityEvent(Wall(at), kind, service, account, session, host, transport, port, **fields)


def rule(name="guessing", **changes):
    """Make a rule: three wrong answers in a minute, banned for 10 minutes, then for an hour."""
    given = {
        "weights": {Kind.CHALLENGE_RESPONSE_FAILED: 1},
        "threshold": 3,
        "window": MINUTE,
        "ban": (Duration(10 * MINUTE), HOUR),
    }
    return Rule(name=name, **(given | changes))


def each(events):
    """Give each event a session of its own, so that none of them folds."""
    return [event._replace(session=f"each-{next(_CALLS)}") for event in events]
