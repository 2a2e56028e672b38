"""Bans that last longer than an element of the backend can: applied again every day, so that none ends early.

ipset's elements last 2,147,483 s at most, not quite 25 days. A ban of 30 days is given that, and again a day later,
until what is left of it fits. Nothing is remembered for it: the ledger knows the ends.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from guard.core.ban import Change, Op
from guard.core.units import DAY, SECOND, Duration
from guard.errors import FirewallError

if TYPE_CHECKING:
    import asyncio

    from guard.daemon.enforcer import Enforcer

log = logging.getLogger("astguard")

EVERY = Duration(DAY)
RETRY = 60.0
"""Seconds until a refused batch is tried again; there is a day of room."""


class Rearm:
    """Applies long bans again, as long as it is started; does nothing with a backend that has no limit."""

    def __init__(self, enforcer: Enforcer, loop: asyncio.AbstractEventLoop) -> None:
        self._enforcer = enforcer
        self._firewall = enforcer.firewall
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin: every ban in the ledger has just been applied, or will be before the day is over."""
        if self._firewall.longest is not None:
            self._timer = self._loop.call_later(EVERY / SECOND, self._tick)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        longest = self._firewall.longest
        assert longest is not None, "only then it was started"
        now, wait = self._enforcer.now(), EVERY / SECOND
        # What had more than `longest` left when it was applied, a day ago at most, has more than this left now. Another
        # day is for a timer that is late, and for refusals.
        bans = () if self._enforcer.paused else self._enforcer.engine.ledger  # after a pause all are applied
        changes = [Change(Op.ADD, ban) for ban in bans if ban.until - now > longest - 2 * EVERY]
        try:
            if changes:
                self._firewall.apply(changes, now)
        except FirewallError as error:  # a lost set too: whoever finds it lost applies all bans
            log.warning("long bans could not be applied again, trying again in a minute: %s", error)
            wait = RETRY
        self._timer = self._loop.call_later(wait, self._tick)
