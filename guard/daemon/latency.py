"""How long bans take: from what was read, and from what happened, until the kernel shuts the source out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.histogram import Histogram
from guard.core.units import MILLISECOND, SECOND

if TYPE_CHECKING:
    from guard.core.ban import Ban
    from guard.core.units import Instant

BOUNDS = (
    *(MILLISECOND // n for n in (10, 4, 2)),
    *(n * MILLISECOND for n in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(n * SECOND for n in (1, 2, 5, 10, 60)),
)
"""Nanoseconds. A ban takes 0.3 ms where all is well, the hold of a weak attempt 3 s, a refusing kernel minutes."""


class Latency:
    """Histograms of the bans that an offence brought, in nanoseconds.

    `decided` begins when the deciding event was read, `heard` at its own instant by Asterisk's clock, by what brought
    the ban: an `event`, a line of the `log`, or the `timer` on which held attempts count.
    """

    def __init__(self) -> None:
        self.decided = Histogram(BOUNDS)
        self.heard = {by: Histogram(BOUNDS) for by in ("event", "log", "timer")}

    def note(self, ban: Ban, now: Instant) -> None:
        """Take note that the kernel has taken a ban; one that no offence brought just now has no latency."""
        if ban.at is not None:
            self.decided.add(now - ban.since)
            self.heard[ban.by].add(now - ban.at)
