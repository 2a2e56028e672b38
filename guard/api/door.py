"""A web server on TCP that lets few in at a time, and nobody stay without a reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from guard.errors import ControlError

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable

BACKLOG = 16


class Door(web.Server):
    """Hangs up on who comes when `clients` are inside, which `refuse` is told, and on each after `lifetime` seconds."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        log: logging.Logger,
        clients: int,
        lifetime: float,
        refuse: Callable[[], None],
    ) -> None:
        super().__init__(handler, access_log=None, logger=log)
        self._refuse = refuse
        self._clients = clients
        self._lifetime = lifetime
        self._inside: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._runner: web.ServerRunner | None = None

    async def open(self, address: str, port: int, *, to: str, key: str) -> int:
        """Listen and return the port; ControlError names it and the `key` of the configuration if it cannot be had."""
        self._runner = web.ServerRunner(self)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, address, port, backlog=BACKLOG).start()
        except OSError as error:
            await self.close(0)
            reason = error.strerror or str(error)
            text = f"cannot answer {to}on {address} port {port}: {reason}; see '{key}' in astguard.yaml"
            raise ControlError(text) from None
        found: int = self._runner.addresses[0][1]
        return found

    async def close(self, grace: float) -> None:
        """Close the port and cut off, after `grace` seconds, who is there."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await self.shutdown(grace)
            await runner.cleanup()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Note a new connection, and when it will be cut off."""
        super().connection_made(handler, transport)
        if len(self._inside) >= self._clients:
            self._refuse()
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
