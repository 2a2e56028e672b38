"""Lets engines live through recorded time: events when they came, and their own deadlines in between.

The daemon's timer does the same with the real clock. Instants are the driver's; what comes out has the wall clock's
times.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from guard.core.ban import Op
from guard.core.engine import MAX_AGE
from guard.core.units import SECOND, Duration, Instant, Wall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guard.core.alarm import Alarm
    from guard.core.ban import Ban
    from guard.core.engine import Engine
    from guard.core.event import SecurityEvent

AFTERMATH = Duration(5 * SECOND)
"""Nothing is held for longer, so after this long the last event has had its consequences."""


class Batch(NamedTuple):
    """Events that were read at `now`, when the wall clock said `wall`; they part where that was set back."""

    events: list[SecurityEvent]
    now: Instant
    wall: Wall


def batches(events: Iterable[SecurityEvent]) -> Iterator[Batch]:
    """Give recorded events as they would have been read, in the order of their time."""
    batch = Batch([], Instant(0), Wall(0))
    for event in events:
        if not batch.wall - MAX_AGE <= event.at <= batch.wall:
            if batch.events:
                yield batch
            batch = Batch([], Instant(batch.now + max(event.at - batch.wall, 0)), event.at)
        batch.events.append(event)
    if batch.events:
        yield batch


class Drive:
    """Drives one engine; `bans` and `alarms` are what came of it, in order and in wall clock time."""

    def __init__(self, engine: Engine) -> None:
        self.bans: list[Ban] = []
        self.alarms: list[Alarm] = []
        self._engine = engine
        self._ahead = 0  # of the wall clock, which may have been set back
        self._muted = 0

    def handle(self, batch: Batch, muted: int = 0) -> None:
        """Let time pass until a batch was read, and hand it over.

        `muted` is how many events Asterisk has lost so far, by its own log.
        """
        self._let_pass(batch.now)
        self._ahead = batch.now - batch.wall
        self._engine.handle(*batch)
        if muted > self._muted:
            self._engine.muted(muted - self._muted, batch.now)
            self._muted = muted
        self._collect()

    def finish(self) -> None:
        """Let the last events have their consequences."""
        self._let_pass(Instant(self._engine.now + AFTERMATH))

    def _let_pass(self, until: Instant) -> None:
        """Give the engine each of its deadlines up to an instant."""
        while (deadline := self._engine.deadline) is not None and deadline <= until:
            self._engine.tick(deadline)
            self._collect()

    def _collect(self) -> None:
        for change in self._engine.take_changes():
            if change.op is Op.ADD:
                since, until = Instant(change.ban.since - self._ahead), Instant(change.ban.until - self._ahead)
                self.bans.append(replace(change.ban, since=since, until=until))
        for alarm in self._engine.take_alarms():
            self.alarms.append(replace(alarm, at=Instant(alarm.at - self._ahead)))
