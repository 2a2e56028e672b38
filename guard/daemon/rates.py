"""How much happens in a second: since the start, and lately."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from guard.core.units import SECOND, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY = 10.0
"""Seconds from one note to the next."""
NOTES = 7
"""So `lately` is the last minute, or less of it after a start."""
COUNTED = {"events": "events", "attempts": "attempts.opened", "bans": "bans.added"}
"""What is told, and its count in the tally."""


class Rates:
    """Rates of the counts of a tally; whoever has one calls `note` every EVERY seconds."""

    def __init__(self, counts: Mapping[str, int], now: Instant) -> None:
        self._counts = counts
        self._start = now
        self._notes: deque[tuple[Instant, tuple[int, ...]]] = deque([(now, self._now())], maxlen=NOTES)

    def note(self, now: Instant) -> None:
        """Take note of the counts."""
        self._notes.append((now, self._now()))

    def tell(self, now: Instant) -> dict[str, object]:
        """Return what happened in a second on the average: since the start, and in the `lately` last seconds."""
        noted, before = self._notes[0]
        return {
            "since_start": self._a_second(tuple(0 for _ in before), Duration(now - self._start)),
            "lately": self._a_second(before, Duration(now - noted)),
            "lately_seconds": (now - noted) // SECOND,
        }

    def _a_second(self, before: tuple[int, ...], span: Duration) -> dict[str, float]:
        gone = max(span, SECOND) / SECOND
        return {
            name: round((count - then) / gone, 2)
            for name, count, then in zip(COUNTED, self._now(), before, strict=True)
        }

    def _now(self) -> tuple[int, ...]:
        return tuple(self._counts[name] for name in COUNTED.values())
