"""A web server on TCP that lets few in at a time, and nobody stay without a reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable


class Door(web.Server):
    """Hangs up on who comes when `clients` are inside, and on each after `lifetime` seconds.

    `refused` counts those who stood outside.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        log: logging.Logger,
        clients: int,
        lifetime: float,
    ) -> None:
        super().__init__(handler, access_log=None, logger=log)
        self.refused = 0
        self._clients = clients
        self._lifetime = lifetime
        self._inside: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Note a new connection, and when it will be cut off."""
        super().connection_made(handler, transport)
        if len(self._inside) >= self._clients:
            self.refused += 1
            transport.abort()
            return
        self._inside[handler] = asyncio.get_running_loop().call_later(self._lifetime, transport.abort)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Note the end of a connection."""
        super().connection_lost(handler, exc)
        timer = self._inside.pop(handler, None)
        if timer is not None:
            timer.cancel()

    def let_stay(self, handler: web.RequestHandler) -> None:
        """Let somebody stay as long as he likes: he has shown that he may."""
        if handler in self._inside:
            self._inside[handler].cancel()
