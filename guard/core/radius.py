"""The blast radius: what follows for a source past its threshold, given who else lives behind it.

Nobody trusted behind it: the rule's own scope, or the SIP ports only if the evidence is unproven. With trusted
accounts behind it unproven evidence, which anybody can forge, at most slows it; and from two of them on the rule says
what follows. One account that fails at a phone's pace is a broken phone: nothing follows but an alarm.

What an insider can guess in an hour: PHONE_PACE a minute, 5,760, at one account, as long as he stays a phone; past
that, or at several, ten times the rule's threshold and then what `slow` lets through (tests/unit/test_judge.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.core.alarm import Kind
from guard.core.failing import PHONE_PACE
from guard.core.rule import Evidence, Scope, Trusted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from guard.core.failing import Failures
    from guard.core.rule import Rule


class Answer(NamedTuple):
    """What is done: a ban of this scope, or none; and what is told. `account` is the one that fails, if it is one."""

    scope: Scope | None
    alarm: Kind | None = None
    account: str | None = None


def answer(rule: Rule, evidence: Evidence, trusted: Collection[str], failing: Mapping[str, Failures]) -> Answer:
    """Choose what follows. `trusted` are the accounts behind the source, `failing` those it has failed at lately."""
    proven = evidence is Evidence.PROVEN
    if not trusted:
        return Answer(rule.scope if proven or rule.scope is Scope.SLOW else Scope.SIP)
    account = next(iter(failing)) if len(failing) == 1 else None
    if account is not None and failing[account].pace <= PHONE_PACE and (len(trusted) > 1 or account in trusted):
        return Answer(None, Kind.BROKEN_PHONE, account)
    word = rule.trusted if len(trusted) > 1 else Trusted.BAN
    if word is Trusted.ALARM:
        return Answer(None, Kind.TRUSTED_SOURCE, account)
    scope = _SCOPES.get(word, rule.scope)
    return Answer(scope if proven else Scope.SLOW, Kind.TRUSTED_SOURCE, account)


_SCOPES = {Trusted.SIP: Scope.SIP, Trusted.SLOW: Scope.SLOW}
