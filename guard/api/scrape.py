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

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard.api.metrics import Metrics

PATH = "/metrics"
CLIENTS = 16
"""Connections at a time; the next is hung up on at once, and counted."""
LIFETIME = 10.0
"""Seconds that a connection may take, from the first byte of the question to the last of the answer."""

_LOG = logging.getLogger("guard.api.scrape")


class ScrapeServer:
    """Answers `GET /metrics` on an address and TCP port from `start` to `stop`; port 0 lets the kernel choose."""

    def __init__(self, metrics: Metrics, address: str, port: int, count: Callable[[str], None]) -> None:
        self._metrics = metrics
        self._address = address
        self.port = port
        self._door = Door(self._answer, _LOG, CLIENTS, LIFETIME, lambda: count("metrics.crowded"))

    async def start(self) -> None:
        """Listen; ControlError if the port cannot be had."""
        self.port = await self._door.open(self._address, self.port, to="Prometheus ", key="metrics")

    async def stop(self) -> None:
        """Close the port and cut off who is there."""
        await self._door.close(0.1)

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
