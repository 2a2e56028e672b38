"""The blast radius: what follows for a source past its threshold, given who else lives behind it.

Nobody trusted behind it: the rule's own scope, or the SIP ports only if the evidence is unproven. With trusted
accounts behind it unproven evidence, which anybody can forge, at most slows it; and from two of them on, or one in a
whole network, the rule says what follows. An account that fails at a phone's pace is a broken phone: nothing follows
but an alarm. That excuses its own wrong answers and nothing else that comes from there.

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

PHONES_A_BROKEN_ONE = 20
"""One broken phone at a time in an office is one too; of forty phones two may be."""


class Answer(NamedTuple):
    """What is done: a ban of this scope, or none; and what is told. `account` is the one that fails, if it is one."""

    scope: Scope | None
    alarm: Kind | None = None
    account: str | None = None


def answer(
    rule: Rule,
    evidence: Evidence,
    trusted: Collection[str],
    failing: Mapping[str, Failures],
    account: str | None,
    *,
    network: bool,
) -> Answer:
    """Choose what follows.

    `trusted` are the accounts behind the source, `failing` those it has failed at lately, `account` the one of the
    offence, if a phone with an old password could have committed it; `network` says that the source is no single site.
    """
    proven = evidence is Evidence.PROVEN
    if not trusted:
        return Answer(rule.scope if proven or rule.scope is Scope.SLOW else Scope.SIP)
    if account is not None and _is_broken_phone(account, trusted, failing):
        return Answer(None, Kind.BROKEN_PHONE, account)
    alone = account if len(failing) == 1 else None
    word = rule.trusted if network or len(trusted) > 1 else Trusted.BAN
    if word is Trusted.ALARM:
        return Answer(None, Kind.TRUSTED_SOURCE, alone)
    scope = _SCOPES.get(word, rule.scope)
    return Answer(scope if proven else Scope.SLOW, Kind.TRUSTED_SOURCE, alone)


def _is_broken_phone(account: str, trusted: Collection[str], failing: Mapping[str, Failures]) -> bool:
    return (
        account in failing
        and (len(trusted) > 1 or account in trusted)
        and len(failing) <= max(1, len(trusted) // PHONES_A_BROKEN_ONE)
        and all(failures.pace <= PHONE_PACE for failures in failing.values())
    )


_SCOPES = {Trusted.SIP: Scope.SIP, Trusted.SLOW: Scope.SLOW}
