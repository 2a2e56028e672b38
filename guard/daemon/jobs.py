"""The parts that run side by side, by name: one can be ended and begun anew without the others."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = logging.getLogger("astguard")


class Jobs:
    """Tasks that run until they are stopped. A bug in one is logged and ends that one only, never the guard."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, job: Coroutine[None, None, None]) -> None:
        """Begin a job under a name that no other bears."""
        assert name not in self._tasks, "one job a name"
        self._tasks[name] = asyncio.create_task(_guarded(job), name=name)

    async def stop(self, name: str) -> None:
        """End a job, if there is one, and wait for its end."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def stop_all(self) -> None:
        """End all of them."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _guarded(job: Coroutine[None, None, None]) -> None:
    try:
        await job
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("a part of astguard has stopped; please report this")
