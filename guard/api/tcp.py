"""The control API over TCP on loopback: for programs that cannot open a unix socket, with a token in place of its mode.

What may come in by a web page that somebody has open beside it is refused before anything is read of it: another host's
name (DNS rebinding), another page's origin, a form. So is who has no token. Each connection asks once.
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from guard.api.door import Door
from guard.core.text import printable
from guard.wire.control import BODY_LIMIT, RequestError, write_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard.api.control import ControlServer

CLIENTS = 80
"""Connections at a time: all that may follow the live stream, and some that ask."""
LIFETIME = 10.0
"""Seconds that a connection may take until it has shown the token."""
GRACE = 2.0
"""Seconds that answers under way get when the server stops."""

_LOG = logging.getLogger("guard.api.tcp")


class TcpServer:
    """Lets whoever has the token ask a ControlServer, from `start` to `stop`; port 0 lets the kernel choose."""

    def __init__(
        self, control: ControlServer, address: str, port: int, token: str, count: Callable[[str], None]
    ) -> None:
        self._control = control
        self._address = address
        self._token = token.encode()
        self._count = count
        self._door = Door(self._answer, _LOG, CLIENTS, LIFETIME, lambda: count("api.crowded"))
        self.port = port

    async def start(self) -> None:
        """Listen; ControlError if the port cannot be had."""
        self.port = await self._door.open(self._address, self.port, to="", key="api")

    async def stop(self) -> None:
        """Close the port and cut off who is there."""
        await self._door.close(GRACE)

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            self._check(http)
        except RequestError as error:
            self._count("api.refused")
            status, body = write_error(error)
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
            refusal = web.Response(status=status, body=body, content_type="application/json", headers=headers)
            refusal.force_close()
            return refusal
        self._door.let_stay(http.protocol)
        return await self._control.handle(http, close=True)

    def _check(self, http: web.BaseRequest) -> None:
        """Refuse what a stranger or a web page could send; RequestError says which of it was seen."""
        host = http.headers.get("Host", "")
        known = {f"{name}:{self.port}" for name in (self._name(), "localhost")}
        if host not in known:
            raise RequestError(f"asked for the host '{printable(host, 80)}', not {' or '.join(sorted(known))}", 421)
        if "Origin" in http.headers or http.headers.get("Sec-Fetch-Site", "none") != "none":
            raise RequestError("a web page asked, and none of astguard's; programs send no Origin", 403)
        scheme, _, shown = http.headers.get("Authorization", "").partition(" ")
        # Bytes that are no UTF-8 come from aiohttp as surrogates.
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), self._token):
            raise RequestError("'Authorization: Bearer TOKEN' is missing or wrong; api.token_file has the token", 401)
        if http.method not in {"GET", "HEAD"} and http.content_type != "application/json":
            raise RequestError(f"a {printable(http.method, 20)} needs 'Content-Type: application/json'", 415)
        if http.headers.get("Transfer-Encoding") or (http.content_length or 0) > BODY_LIMIT:
            raise RequestError(f"a body has a Content-Length, of at most {BODY_LIMIT} bytes", 413)

    def _name(self) -> str:
        return f"[{self._address}]" if ":" in self._address else self._address
