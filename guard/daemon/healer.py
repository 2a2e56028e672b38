"""Hears and looks whether what is ours in the kernel still stands, and has it mended.

Where the backend has a monitor, others are heard as they do it, and a look a minute is only a second line; where it has
none, there is a look every few seconds. At the start, bans that the kernel alone knows are read in a thread and
adopted: that is the one time that a set is listed.
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from guard.daemon.takeover import adopt
from guard.errors import FirewallError

if TYPE_CHECKING:
    from guard.daemon.enforcer import Enforcer
    from guard.firewall import Monitor

log = logging.getLogger("astguard")

LOOK_BLIND = 5.0
LOOK_HEARING = 60.0
"""Seconds from one look to the next, without a monitor and with one."""
TIDY = 60.0
"""Seconds from one removal of sets that hold nothing to the next."""

_LOWEST = 19  # the niceness of the thread that lists: in the kernel that is a minute's work for a million bans


class Healer:
    """Runs beside the enforcer. `adopted`: what the kernel alone knew has been taken over."""

    def __init__(self, enforcer: Enforcer, *, loop: asyncio.AbstractEventLoop) -> None:
        self.adopted = False
        self._enforcer = enforcer
        self._loop = loop

    async def run(self) -> None:
        """Watch until cancelled."""
        monitor = self._enforcer.firewall.watch()
        if monitor is not None:
            self._loop.add_reader(monitor.fileno(), self._hear, monitor)
        try:
            self._enforcer.check()  # what happened before we listened
            await self._adopt()
            await self._look_now_and_then(LOOK_BLIND if monitor is None else LOOK_HEARING)
        finally:
            if monitor is not None:
                self._loop.remove_reader(monitor.fileno())
                monitor.close()

    def _hear(self, monitor: Monitor) -> None:
        news = monitor.drain()
        if news:
            self._enforcer.mend(news)

    async def _look_now_and_then(self, every: float) -> None:
        tidied = self._loop.time()
        while True:
            await asyncio.sleep(every)
            self._enforcer.check()
            if self._loop.time() - tidied >= TIDY:
                tidied = self._loop.time()
                if not self.adopted:
                    await self._adopt()
                if self.adopted:  # or a set might hold bans that we do not know
                    self._enforcer.upkeep.tidy()
                    self._enforcer.settle()

    async def _adopt(self) -> None:
        """Read what the kernel holds, part by part, and take over what it alone knows."""
        held = adopted = 0
        thread = ThreadPoolExecutor(1, "astguard-listing", initializer=_stand_back)
        try:
            parts = self._enforcer.firewall.listing()
            while (part := await self._loop.run_in_executor(thread, next, parts, None)) is not None:
                held += len(part)
                adopted += adopt(self._enforcer, part, self._enforcer.now())
        except FirewallError as error:
            log.warning("the bans in the kernel could not be read, trying again later: %s", error)
            return
        finally:
            thread.shutdown(wait=False)
        self.adopted = True
        if adopted:
            log.info("adopt: held=%d bans in the kernel, adopted=%d that it alone knew", held, adopted)


def _stand_back() -> None:
    """Let everybody else go before this thread, where that may be said: the shipped unit's filter refuses the call."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST)  # of the calling thread alone, on Linux
