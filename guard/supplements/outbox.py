"""What waits to be told to people: gathered while somebody attacks, told in one go, tried again with a bound.

Here is what is due when; time is an argument. Who sends is in guard/supplements/notice.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from guard.supplements.contract import Alarm, Ban

GATHER = 1.0
"""Seconds that the first thing waits for others: one attacker brings a ban and an alarm."""
EVERY = 30.0
"""Seconds from one notice to the next: a storm of ten thousand bans is not ten thousand messages."""
ITEMS_LIMIT = 50
"""Bans and alarms that are told one by one in a notice; more are counted in it."""
TRIES = 6
FIRST, LAST = 2.0, 60.0
"""Tries of one notice, and the seconds between them, doubling from first to last: a minute in all."""


class Notice(NamedTuple):
    """What is told in one go. `more` counts bans and alarms that are not among the items."""

    bans: tuple[Ban, ...]
    alarms: tuple[Alarm, ...]
    more: int


class Outbox:
    """Gathers, and says when what is due. Times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self.given_up = 0
        self._bans: list[Ban] = []
        self._alarms: list[Alarm] = []
        self._more = 0
        self._sending: Notice | None = None
        self._at: float | None = None
        self._tries = 0
        self._free_at = float("-inf")  # when the next notice may go

    @property
    def at(self) -> float | None:
        """When there is something to do; None if nothing waits."""
        return self._at

    def put_ban(self, ban: Ban, now: float) -> None:
        """Take in a ban."""
        if len(self._bans) + len(self._alarms) < ITEMS_LIMIT:
            self._bans.append(ban)
        else:
            self._more += 1
        self._plan(now)

    def put_alarm(self, alarm: Alarm, now: float) -> None:
        """Take in an alarm. It goes before bans: they are many, and it is not."""
        if len(self._bans) + len(self._alarms) >= ITEMS_LIMIT:
            if not self._bans:
                self._more += 1
                return
            self._bans.pop()
            self._more += 1
        self._alarms.append(alarm)
        self._plan(now)

    def put_lost(self, count: int, now: float) -> None:
        """Take note of what was never told here."""
        self._more += count
        self._plan(now)

    def take(self, now: float) -> Notice | None:
        """Return what has to be sent now; then say `sent` or `failed`."""
        if self._at is None or now < self._at:
            return None
        if self._sending is None:
            self._sending = Notice(tuple(self._bans), tuple(self._alarms), self._more)
            self._bans, self._alarms, self._more, self._tries = [], [], 0, 0
        return self._sending

    def sent(self, now: float) -> None:
        """Note that it has arrived."""
        self._end(now)

    def failed(self, now: float, *, again: bool) -> bool:
        """Note that it has not; return whether it is tried again, which makes sense only if `again`."""
        self._tries += 1
        if again and self._tries < TRIES:
            self._at = now + min(FIRST * 2 ** (self._tries - 1), LAST)
            return True
        self.given_up += 1
        self._end(now)
        return False

    def hurry(self, now: float) -> None:
        """Wait no longer: this is the end. What has failed before is not tried again."""
        if self._at is not None:
            self._at = now

    def _plan(self, now: float) -> None:
        if self._sending is None and self._at is None:
            self._at = max(now + GATHER, self._free_at)

    def _end(self, now: float) -> None:
        self._sending, self._at, self._free_at = None, None, now + EVERY
        if self._bans or self._alarms or self._more:
            self._plan(now)
