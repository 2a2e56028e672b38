"""Where Prometheus scrapes over TCP: one page, nothing else, and nothing can be changed there.

Whoever connects gets one answer and is hung up on. There are few connections at a time and none lasts, so that a
stranger who finds the port, or a scraper that hangs, costs nothing but its own scrapes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiohttp import web

from guard.api.door import Door
from guard.api.metrics import CONTENT_TYPE
from guard.errors import ControlError

if TYPE_CHECKING:
    from guard.api.metrics import Metrics

PATH = "/metrics"
CLIENTS = 16
"""Connections at a time; the next is hung up on at once, and counted."""
LIFETIME = 10.0
"""Seconds that a connection may take, from the first byte of the question to the last of the answer."""
BACKLOG = 16

_LOG = logging.getLogger("guard.api.scrape")


class ScrapeServer:
    """Answers `GET /metrics` on an address and TCP port from `start` to `stop`; port 0 lets the kernel choose."""

    def __init__(self, metrics: Metrics, address: str, port: int) -> None:
        self._metrics = metrics
        self._address = address
        self.port = port
        self._door: Door | None = None
        self._runner: web.ServerRunner | None = None

    @property
    def refused(self) -> int:
        """How many connections were hung up on because there were too many."""
        return 0 if self._door is None else self._door.refused

    async def start(self) -> None:
        """Listen; ControlError if the port cannot be had."""
        self._door = Door(self._answer, _LOG, CLIENTS, LIFETIME)
        self._runner = web.ServerRunner(self._door)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._address, self.port, backlog=BACKLOG).start()
        except OSError as error:
            await self.stop()
            where, reason = f"{self._address} port {self.port}", error.strerror or str(error)
            raise ControlError(
                f"cannot answer Prometheus on {where}: {reason}; see 'metrics' in astguard.yaml"
            ) from None
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and cut off who is there."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            if self._door is not None:
                await self._door.shutdown(0.1)
            await runner.cleanup()

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        response = self._page(http)
        response.force_close()
        return response

    def _page(self, http: web.BaseRequest) -> web.Response:
        if http.path != PATH:
            return web.Response(status=404, text=f"there is nothing here but {PATH}\n")
        if http.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "GET, HEAD"}, text="nothing can be changed here\n")
        return web.Response(body=self._metrics.page(), headers={"Content-Type": CONTENT_TYPE})
