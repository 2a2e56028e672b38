"""The pause: the panic button, for when bans hit the wrong ones and nobody knows why yet.

All bans leave the kernel at once, the ledger keeps them, and rules only observe. When the pause ends, by command or by
time, the bans whose time is not over go back in. It outlives a restart: whoever pressed the button has not let go.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, NamedTuple

from guard.core.rule import Mode
from guard.core.units import SECOND, Duration, Instant, Wall, format_duration
from guard.daemon.wakeup import Wakeup
from guard.errors import NotFound
from guard.wire.journal import MessageId, about

if TYPE_CHECKING:
    import asyncio

    from guard.daemon.enforcer import Enforcer

log = logging.getLogger("astguard")

NOTE = "pause"
"""The store's key: a JSON list of the wall clock's times at which a pause began and ends (null: by command)."""


class Span(NamedTuple):
    """When a pause began, and when it ends by itself; None if it does not."""

    since: Instant
    until: Instant | None


class Pause:
    """Begins and ends pauses; `span` is the present one. `mode` is the configuration's, which holds in between."""

    def __init__(self, enforcer: Enforcer, mode: Mode, *, loop: asyncio.AbstractEventLoop) -> None:
        self.span: Span | None = None
        self._mode = mode
        self._enforcer = enforcer
        self._wakeup = Wakeup(self._end, loop=loop, now=enforcer.now)

    @property
    def mode(self) -> Mode:
        """How bans are made now: not at all in a pause, else as the configuration says."""
        return self._mode if self.span is None else Mode.OBSERVE

    def configure(self, mode: Mode) -> Mode:
        """Take another mode from the configuration; return the one that holds now."""
        self._mode = mode
        return self.mode

    def begin(self, length: Duration | None) -> Span:
        """Let everybody in, for a time or until `end`; in a pause, let that end then. FirewallError if refused."""
        now = self._enforcer.now()
        if self.span is None:
            self._enforcer.pause()
        since = now if self.span is None else self.span.since
        self.span = Span(since, None if length is None else Instant(now + length))
        self._enforcer.engine.set_mode(self.mode)
        self._enforcer.settle()
        self._keep()
        self.start()
        log.warning(
            "pause: nobody is kept out %s; bans=%d are kept in mind",
            _how_long(length),
            len(self._enforcer.engine.ledger),
            extra=about(MessageId.PAUSE, seconds=None if length is None else length // SECOND),
        )
        return self.span

    def end(self) -> None:
        """Put back the bans whose time is not over, and make new ones; NotFound if there is no pause."""
        if self.span is None:
            raise NotFound("astguard is not paused")
        self.span = None
        self._enforcer.engine.set_mode(self.mode)
        self._keep()
        self.start()
        self._enforcer.resume()
        bans = len(self._enforcer.engine.ledger)
        log.warning("resume: bans=%d go back into the kernel, mode=%s", bans, self.mode, extra=about(MessageId.RESUME))

    def restore(self, note: str | None) -> None:
        """Take back, before the enforcer starts, a pause of an earlier life that is not over."""
        now, wall = self._enforcer.now(), self._enforcer.wall()
        try:
            since, until = json.loads(note or "null") or (wall, wall)
            if type(since) is not int or not (until is None or type(until) is int):
                raise ValueError("its times are none")  # noqa: TRY301
        except (ValueError, TypeError, RecursionError):
            log.error("the note of a pause in the store cannot be read; there is no pause")  # noqa: TRY400
            return
        # No longer than its own length, whatever the clock has become.
        left = None if until is None else Duration(min(until - wall, until - since))
        if left is not None and left <= 0:
            return
        self.span = Span(Instant(now - max(0, wall - since)), None if left is None else Instant(now + left))
        self._enforcer.paused = True
        self._enforcer.engine.set_mode(self.mode)
        log.warning(
            "still paused, %s: nobody is kept out; 'astguard resume' ends that",
            _how_long(left), extra=about(MessageId.PAUSE, seconds=None if left is None else left // SECOND),
        )  # fmt: skip

    def start(self) -> None:
        """Wait for the end of the present pause, if it has one."""
        self._wakeup.set(None if self.span is None else self.span.until)

    def stop(self) -> None:
        """Give up the timer; the pause itself goes on at the next start."""
        self._wakeup.stop()

    def _keep(self) -> None:
        keeper, span = self._enforcer.recorder.keeper, self.span
        if keeper is not None:
            keeper.note(NOTE, None if span is None else json.dumps([self._wall(span.since), self._wall(span.until)]))

    def _wall(self, instant: Instant | None) -> Wall | None:
        return None if instant is None else Wall(instant - self._enforcer.now() + self._enforcer.wall())

    def _end(self, _: Instant) -> None:
        self.end()


def _how_long(length: Duration | None) -> str:
    return "until 'astguard resume'" if length is None else f"for {format_duration(length)}"
