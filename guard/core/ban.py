"""Ban, and the Change that makes one true or untrue in the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from guard.core.rule import Evidence, Scope

if TYPE_CHECKING:
    from guard.core.address import Source
    from guard.core.units import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """One source shut out from `since` until `until` (excluded).

    `rule` is the rule's name, or `manual` for a ban by command. `reason` says more in words of ours or the
    administrator's, `origin` who decided: `rule`, `manual`, later a feed or a fleet. `strike` counts the bans this
    source has had, this one included; `offences` is the weight that tripped the rule, `events` how many events of
    the source were read before the ban, the one that banned included. `by` tells what brought it: an `event`, a line
    of the `log`, the `timer` on which held attempts count, or a `command`. `at` is when the offence that brought it was
    committed; a ban that no offence brought just now, by hand or from an earlier life, has none.
    """

    source: Source
    rule: str
    since: Instant
    until: Instant
    scope: Scope = Scope.ALL
    evidence: Evidence = Evidence.PROVEN
    strike: int = 1
    offences: int = 0
    events: int = 0
    reason: str = ""
    origin: str = "rule"
    by: str = "event"
    at: Instant | None = None


class Op(StrEnum):
    """What a change does. Only `add` and `remove` reach the kernel: it ends elements by itself, silently."""

    ADD = "add"  # shut out; replaces an element of the same source, in any scope
    REMOVE = "remove"  # let in before the time: by hand, or because a wider or stronger ban takes its place
    EXPIRE = "expire"  # the ban's time is over
    OBSERVE = "observe"  # a rule that only observes would have banned


class Change(NamedTuple):
    """One thing that became true or untrue; the engine gives them in the order they have to be applied."""

    op: Op
    ban: Ban
