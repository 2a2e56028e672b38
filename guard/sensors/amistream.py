"""The socket under the link: bytes to the AMI client, the client's bytes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guard.errors import ProtocolError
from guard.wire.ami import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard.core.event import SecurityEvent
    from guard.wire.ami import AmiClient

_CLOSED = "Asterisk closed the connection"
_CLOSED_EARLY = (
    "the peer closed the connection before the login; check that ami.port is the port of manager.conf, and there "
    "ami.tls, deny, permit and authlimit"
)


class AmiStream(asyncio.Protocol):
    """One connection. `online` and `closed` tell how far it got; `heard` is set by whatever comes."""

    def __init__(self, client: AmiClient, deliver: Callable[[AmiClient, list[SecurityEvent]], None]) -> None:
        loop = asyncio.get_running_loop()
        self.online: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.heard = False
        self._client = client
        self._deliver = deliver
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket; Asterisk speaks first."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read at once, answer, hand the events on."""
        client = self._client
        self.heard = True
        try:
            events = client.receive(data)
        except Exception as error:  # noqa: BLE001 - a ProtocolError, or a bug; run() tells them apart
            self._end(error)
            self.abort()
            return
        self.flush()
        if client.state is State.ONLINE and not self.online.done():
            self.online.set_result(None)
        self._deliver(client, events)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._end(exc or ProtocolError(_CLOSED if self._client.state is State.ONLINE else _CLOSED_EARLY))

    def flush(self) -> None:
        """Send what the client wants to say."""
        data = self._client.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: Exception) -> None:
        for future in (self.online, self.closed):
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever waits sees it; nobody waiting is no fault
