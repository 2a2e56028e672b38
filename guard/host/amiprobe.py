"""One login to AMI, to see whether our own security event comes back: the whole path from Asterisk's bus to here."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from guard.core.event import Kind, Service
from guard.core.units import MILLISECOND
from guard.errors import HostError, ProtocolError
from guard.wire.ami import AmiClient, State

if TYPE_CHECKING:
    import ssl

CHUNK = 65_536


class Heard(NamedTuple):
    """What a login has shown: AMI's version, whether our own event came back, and how far Asterisk's clock is ahead."""

    version: str
    own_login: bool
    ahead_ms: int | None = None


def hear_own_login(
    host: str,
    port: int,
    username: str,
    secret: str,
    *,
    token: str,
    tls: ssl.SSLContext | None = None,
    seconds: float = 5.0,
) -> Heard:
    """Log in once and wait so long for our own event; HostError says why no login was possible."""
    client = AmiClient(username, secret, token, plain=tls is not None)
    deadline = time.monotonic() + seconds
    try:
        with (
            socket.create_connection((host, port), timeout=seconds) as plain,
            tls.wrap_socket(plain, server_hostname=host) if tls else plain as connection,
        ):
            return _listen(connection, client, deadline)
    except (OSError, ProtocolError) as error:
        text = str(error) if isinstance(error, ProtocolError) else error.strerror or str(error) or type(error).__name__
        raise HostError(f"no login at AMI on {host}:{port}: {text}") from None


def _listen(connection: socket.socket, client: AmiClient, deadline: float) -> Heard:
    ahead: int | None = None
    while not client.reader.own_login:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        connection.settimeout(left)
        try:
            data = connection.recv(CHUNK)
        except TimeoutError:
            break
        if not data:
            raise ProtocolError("Asterisk closed the connection; check deny, permit and authlimit of manager.conf")
        for event in client.receive(data):
            if event.kind is Kind.SUCCESSFUL_AUTH and event.service is Service.AMI:
                ahead = (event.at - time.time_ns()) // MILLISECOND
        connection.sendall(client.data_to_send())
    if client.state is not State.ONLINE:
        raise ProtocolError("connected, but no login within time; is this the port of manager.conf?")
    return Heard(client.version, client.reader.own_login, ahead)
