"""One timer that is set to an instant, and set anew as often as need be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.units import SECOND, Instant

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Wakeup:
    """Calls `act` when the instant has come that was set last; `now` is the clock it is on."""

    def __init__(
        self, act: Callable[[Instant], None], *, loop: asyncio.AbstractEventLoop, now: Callable[[], Instant]
    ) -> None:
        self._act = act
        self._loop = loop
        self._now = now
        self._at: Instant | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at: Instant | None) -> None:
        """Wait for this instant and no other; None for none."""
        if at == self._at:
            return
        self.stop()
        if at is not None:
            self._at = at
            self._handle = self._loop.call_later(max(0, at - self._now()) / SECOND, self._wake, at)

    def stop(self) -> None:
        """Wait no longer."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._at = None

    def _wake(self, at: Instant) -> None:
        self._handle = self._at = None
        self._act(max(at, self._now()))  # a timer may fire a hair early: what is due then would wait, or spin
