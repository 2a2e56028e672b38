"""Lets an engine live through recorded time: events when they came, and its own deadlines in between.

The daemon's timer does the same with the real clock. Instants are the driver's; what comes out has the wall clock's
times.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from guard.core.ban import Op
from guard.core.units import SECOND, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guard.core.alarm import Alarm
    from guard.core.ban import Ban
    from guard.core.engine import Engine
    from guard.core.event import SecurityEvent
    from guard.core.units import Wall

AFTERMATH = Duration(5 * SECOND)
"""Nothing is held for longer, so after this long the last event has had its consequences."""


class Drive:
    """Drives one engine; `bans` and `alarms` are what came of it, in order and in wall clock time."""

    def __init__(self, engine: Engine) -> None:
        self.bans: list[Ban] = []
        self.alarms: list[Alarm] = []
        self._engine = engine
        self._ahead = 0  # of the wall clock, which may have been set back

    def handle(self, events: Sequence[SecurityEvent], now: Instant, wall: Wall) -> None:
        """Let time pass until `now`, when the wall clock says `wall`, and hand over what came."""
        self.let_pass(now)
        self._ahead = now - wall
        self._engine.handle(events, now, wall)
        self._collect()

    def let_pass(self, until: Instant) -> None:
        """Give the engine each of its deadlines up to an instant."""
        while (deadline := self._engine.deadline) is not None and deadline <= until:
            self._engine.tick(deadline)
            self._collect()

    def _collect(self) -> None:
        for change in self._engine.take_changes():
            if change.op is Op.ADD:
                since, until = Instant(change.ban.since - self._ahead), Instant(change.ban.until - self._ahead)
                self.bans.append(replace(change.ban, since=since, until=until))
        alarms: list[Alarm] = getattr(self._engine, "take_alarms", list)()
        self.alarms += [replace(alarm, at=Instant(alarm.at - self._ahead)) for alarm in alarms]
