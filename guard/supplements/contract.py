"""What supplements are given: values that cannot be changed, of plain text and numbers, fit to be shown as they are.

A supplement is what an entry point of the group `astguard.supplements` makes of its options: any object with some of
these methods. Each is called with one value, in order, at most once for each thing that happened.

    before_ban(ban)      in the guard itself, before a ban of a rule is made; returns the seconds that it may last, 0 to
                         refuse it, None to leave it. Pure: same ban, same answer; no file, socket, clock or thread
    after_ban(ban)       in the child: the ban is in the kernel and on the disk, or observed
    after_unban(unban)   in the child: it is over, or was lifted
    on_alarm(alarm)      in the child: an alarm was raised
    on_outcome(outcome)  in the child: an event was judged
    lost(count)          in the child: so much that happened before was given up, because too much was waiting
    close()              in the child: nothing more comes; two seconds are left
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import show_short
from guard.core.ban import Op
from guard.core.text import printable
from guard.core.units import SECOND

if TYPE_CHECKING:
    from guard.core import alarm as core_alarm
    from guard.core import ban as core_ban
    from guard.core import outcome as core_outcome
    from guard.core.event import SecurityEvent

GROUP = "astguard.supplements"
TEXT_LIMIT = 80
"""Characters of an account or of a reason."""


class Ban(NamedTuple):
    """A ban. `address` is a host or a network, `seconds` how long it lasts in all.

    `at` is when it was reported, in ISO 8601, and empty in `before_ban`: who is asked there knows no clock. `observed`:
    nobody is shut out, the rule or the whole guard only observes. `stored`: it will outlive a reboot.
    """

    address: str
    rule: str
    scope: str
    evidence: str
    strike: int
    offences: int
    events: int
    seconds: float
    reason: str = ""
    origin: str = "rule"
    observed: bool = False
    stored: bool = False
    at: str = ""


class Unban(NamedTuple):
    """The end of a ban. `early`: it was lifted before its time, by hand or because a stronger one took its place."""

    address: str
    rule: str
    scope: str
    strike: int
    early: bool
    at: str


class Alarm(NamedTuple):
    """An alarm. `account` is what the sender called himself, made fit to be shown."""

    kind: str
    text: str
    address: str | None
    account: str | None
    rule: str | None
    at: str


class Outcome(NamedTuple):
    """What came of one event. `at` is when Asterisk reported it."""

    address: str
    account: str
    kind: str
    service: str
    transport: str
    outcome: str
    at: str


CALLBACKS: dict[str, type[Ban | Unban | Alarm | Outcome]] = {
    "after_ban": Ban,
    "after_unban": Unban,
    "on_alarm": Alarm,
    "on_outcome": Outcome,
}
"""What is called in the child, and with what."""


def of_ban(ban: core_ban.Ban, *, at: str = "", observed: bool = False, stored: bool = False) -> Ban:
    """Write a ban as supplements see it."""
    return Ban(
        show_short(ban.source), ban.rule, ban.scope.value, ban.evidence.value, ban.strike, ban.offences, ban.events,
        (ban.until - ban.since) / SECOND, printable(ban.reason, TEXT_LIMIT), ban.origin, observed, stored, at,
    )  # fmt: skip


def of_end(change: core_ban.Change, at: str) -> Unban:
    """Write the end of a ban."""
    ban = change.ban
    return Unban(show_short(ban.source), ban.rule, ban.scope.value, ban.strike, change.op is Op.REMOVE, at)


def of_alarm(alarm: core_alarm.Alarm, at: str) -> Alarm:
    """Write an alarm."""
    account = None if alarm.account is None else printable(alarm.account, TEXT_LIMIT)
    address = None if alarm.source is None else show_short(alarm.source)
    return Alarm(alarm.kind.value, alarm.text, address, account, alarm.rule, at)


def of_outcome(event: SecurityEvent, outcome: core_outcome.Outcome, at: str) -> Outcome:
    """Write the outcome of an event."""
    return Outcome(
        show_short(event.source), printable(event.account, TEXT_LIMIT), event.kind.value, event.service.value,
        event.transport.value, outcome.value, at,
    )  # fmt: skip
