"""The rules of the simulation: short windows and bans, so that everything that can end does so within a seed."""

from __future__ import annotations

from dataclasses import replace

from guard.core.event import Kind, Service
from guard.core.rule import Mode, Scope
from guard.core.units import SECOND
from tests.events import rule

WRONG, UNKNOWN = Kind.CHALLENGE_RESPONSE_FAILED, Kind.INVALID_ACCOUNT_ID

RULES = [
    rule("guessing", window=30 * SECOND, ban=(8 * SECOND, 30 * SECOND, 300 * SECOND), forget=120 * SECOND),
    rule("scanning", weights={UNKNOWN: 1}, distinct=True, threshold=4, window=30 * SECOND, ban=(20 * SECOND,),
         scope=Scope.SIP),
    rule("network", weights={WRONG: 1, UNKNOWN: 1}, threshold=14, window=60 * SECOND, prefix={4: 24, 6: 48},
         proven_only=True, ban=(40 * SECOND,)),
    rule("manager", services=frozenset({Service.AMI}), weights={Kind.INVALID_PASSWORD: 1, UNKNOWN: 1},
         window=60 * SECOND, ban=(60 * SECOND,)),
    rule("chan-sip", services=frozenset({Service.SIP}), weights={Kind.INVALID_PASSWORD: 1}, window=60 * SECOND,
         ban=(25 * SECOND,), scope=Scope.SIP),
    rule("watched", weights={Kind.FAILED_ACL: 1}, threshold=2, mode=Mode.OBSERVE),
]  # fmt: skip


def changed(chance):
    """Draw other rules, by which who guesses again and again is still banned."""
    rules = list(RULES)
    for number in chance.sample(range(1, len(rules)), 2):
        rules[number] = replace(
            rules[number],
            threshold=chance.choice((2, 4, 9)),
            window=chance.choice((5, 20, 90)) * SECOND,
            mode=chance.choice((None, Mode.OBSERVE)),
        )
    if chance.random() < 0.3:
        del rules[chance.randrange(1, len(rules))]
    rules[0] = replace(rules[0], threshold=chance.choice((2, 3, 4)))
    return rules
