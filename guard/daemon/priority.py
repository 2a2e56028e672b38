"""Lets the guard run before Asterisk for a moment, and never for long.

Debian starts Asterisk with `-p`: its threads are realtime (SCHED_RR, priority 10). While a flood fills the machine, a
guard of ordinary priority stands behind them in the line for a core, and guess after guess is answered. A nice value
of -10 or a short slice hardly helps against realtime; docs/decisions/0015 has the figures. So where it may, the guard
waits for events with priority 11.

Asterisk comes first (law 1), so that has an allowance: some milliseconds of a core at once, and a few per cent in the
long run. One attacker's ban needs less than one. In a flood of ever new sources, which costs more, and in any turn of
the loop that takes long (a list of all bans, another configuration), the guard goes back to ordinary priority until it
has rested. The kernel itself ends a long turn: SIGXCPU, RLIMIT_RTTIME.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from guard.core.units import MILLISECOND, Duration

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from guard.core.tally import Tally

log = logging.getLogger("astguard")

REALTIME = 11
"""One above what `asterisk -p` takes (main/asterisk.c, ast_set_priority: SCHED_RR, 10)."""
AT_ONCE = Duration(20 * MILLISECOND)
"""Processor time before Asterisk at once, and in one turn of the loop: one packet of sound is 20 ms."""
SHARE = 20
"""The allowance grows by a 20th of the time that passes: 5 % of one core."""
REST = 0.2
"""Seconds of ordinary priority at least."""

# Threads and children made later are ordinary: the store's thread is in no hurry. Nobody but root may take it back.
_ORDINARY, _BEFORE = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.SCHED_RR | os.SCHED_RESET_ON_FORK


class Allowance:
    """How much processor time is left: spent by what is used, growing with the time that passes, up to a limit.

    Times are nanoseconds of two clocks that never go back: one of the world, one of the thread's own work.
    """

    def __init__(self, now: int, used: int) -> None:
        self.left = int(AT_ONCE)
        self._now, self._used = now, used

    def spend(self, now: int, used: int) -> int:
        """Take account of what was used until now, and return what is left; a debt is of one moment at most."""
        left = self.left + (now - self._now) // SHARE - (used - self._used)
        self._now, self._used = now, used
        self.left = max(-int(AT_ONCE), min(int(AT_ONCE), left))
        return self.left


class Priority:
    """The priority of the thread that runs the loop. `is_high` tells whether it goes before Asterisk now.

    `used_ns` is the thread's processor time. Rests are counted as `priority.rests`.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tally: Tally, *, mono_ns: Callable[[], int], used_ns: Callable[[], int]
    ) -> None:
        self.is_high = False
        self._loop, self._tally = loop, tally
        self._mono_ns, self._used_ns = mono_ns, used_ns
        self._allowance = Allowance(mono_ns(), used_ns())
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Go before Asterisk where that is allowed; say so once either way. Called by the thread that runs the loop."""
        self._allowance = Allowance(self._mono_ns(), self._used_ns())
        signal.signal(signal.SIGXCPU, self._interrupt)  # unheard, it ends the process
        if self._rise():
            log.info("priority: before Asterisk (SCHED_RR %d), for 5 %% of one core at most", REALTIME)
        else:
            log.info(
                "priority: ordinary; where Asterisk is realtime, bans come later in a flood: LimitRTPRIO=%d (in the "
                "drop-in realtime.conf of the package) lets astguard go first for a moment", REALTIME,
            )  # fmt: skip

    def stop(self) -> None:
        """Be ordinary again."""
        if self._timer is not None:
            self._timer.cancel()
        if self.is_high:
            self._fall()

    def spend(self) -> None:
        """Take account of the work just done; rest if that was too much."""
        if self.is_high and self._allowance.spend(self._mono_ns(), self._used_ns()) < 0:
            self._rest()

    def _rest(self) -> None:
        if self.is_high:
            self._fall()
        self._tally.add("priority.rests")
        self._timer = self._loop.call_later(REST, self._try_to_rise)

    def _try_to_rise(self) -> None:
        if self._allowance.spend(self._mono_ns(), self._used_ns()) < AT_ONCE // 2 or not self._rise():
            self._timer = self._loop.call_later(REST, self._try_to_rise)

    def _rise(self) -> bool:
        # The kernel has put the soft limit a second higher when it sent its signal (check_thread_timers).
        with suppress(OSError, ValueError):
            hard = resource.getrlimit(resource.RLIMIT_RTTIME)[1]
            resource.setrlimit(resource.RLIMIT_RTTIME, (AT_ONCE // 1_000, hard))
            os.sched_setscheduler(0, _BEFORE, os.sched_param(REALTIME))
            self.is_high = True
        return self.is_high

    def _fall(self) -> None:
        os.sched_setscheduler(0, _ORDINARY, os.sched_param(0))
        self.is_high = False

    def _interrupt(self, *_: object) -> None:
        """Fall at once, in the middle of a turn; the timer is the loop's to set."""
        if self.is_high:
            self._fall()
            self._loop.call_soon_threadsafe(self._rest)
