"""Consent: what may be said against a ban that a rule is about to make. It may be refused or shortened, never more.

Who is asked is a pure function that the driver gives: the daemon's measures what it takes, replay's does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from guard.core.alarm import Alarm, Kind
from guard.core.units import Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guard.core.alarm import Alarms
    from guard.core.ban import Ban


class Answer(NamedTuple):
    """How long a ban may last: 0 or less refuses it, its own length or more leaves it. `trouble` becomes an alarm."""

    length: Duration
    trouble: str = ""


class Consent:
    """Asks `ask`, or nobody while it is None."""

    def __init__(self, alarms: Alarms) -> None:
        self.ask: Callable[[Ban], Answer] | None = None
        self._alarms = alarms
        self._vetoed = self._shortened = 0

    def given(self, ban: Ban, now: Instant) -> Ban | None:
        """Return the ban as it may be made, None if it may not."""
        if self.ask is None:
            return ban
        length, trouble = self.ask(ban)
        if trouble:
            self._alarms.add(Alarm(kind=Kind.SUPPLEMENT_OFF, at=now, text=trouble))
        if length <= 0:
            self._vetoed += 1
            return None
        if length < ban.until - ban.since:
            self._shortened += 1
            return replace(ban, until=Instant(ban.since + length))
        return ban

    def counts(self) -> Iterator[tuple[str, int]]:
        """Give what was refused and shortened, by the names of the tally."""
        yield "bans.vetoed", self._vetoed
        yield "bans.shortened", self._shortened
