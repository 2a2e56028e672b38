"""The link to Asterisk: connect, log in, read for ever, and come back whenever it breaks.

Reading never waits for anything: what the socket gives is parsed and handed on in the same callback. Asterisk cuts off
a reader that stalls for its `writetimeout` (100 ms by default), silently and in the middle of an event.

Silence is not peace. A Ping goes out every few seconds, and one that is not answered by the next breaks the link: a
hung Asterisk keeps its sockets open. And our own login has to come back as a security event, which proves the whole
path from Asterisk's message bus to here; a user without `read = security` logs in just as well and hears nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guard.core.units import MILLISECOND
from guard.errors import LoginRefused, ProtocolError
from guard.sensors.backoff import Backoff
from guard.wire.ami import AmiClient, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from guard.core.event import SecurityEvent
    from guard.core.tally import Tally

log = logging.getLogger("astguard.link")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where Asterisk is and who we are there. `tls` None means an unencrypted connection."""

    host: str
    port: int
    username: str
    secret: str
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"<Endpoint {self}>"  # never the secret


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A test may shorten them; nobody else has reason to."""

    connect: float = 5.0  # until the login is accepted
    ping: float = 5.0  # between Pings; one is lost if unanswered by the next
    self_test: float = 5.0  # until our own login has come back
    lost: tuple[float, float] = (0.2, 2.0)  # waits after a lost link: first, last
    refused: tuple[float, float] = (5.0, 60.0)  # waits after a refused login


class AmiLink:
    """Keeps a connection up for as long as `run` runs.

    `on_events` gets each batch of believed events. `state` is `connecting`, `up`, `lost` or `refused`, and has been
    since `changed_at`; `problem` is the reason if there is one, `self_test` None until decided, `lag_ms` how old the
    newest event was when it was read.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        on_events: Callable[[list[SecurityEvent]], None],
        tally: Tally,
        *,
        mono_ns: Callable[[], int],
        wall_ns: Callable[[], int],
        timing: Timing = Timing(),
    ) -> None:
        self.endpoint = endpoint
        self.state = "connecting"
        self.problem = ""
        self.asterisk = ""
        self.self_test: bool | None = None
        self.lag_ms = 0
        self.samples: list[str] = []
        self._on_events = on_events
        self._tally = tally
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns
        self.changed_at = mono_ns()
        self._timing = timing

    async def run(self) -> None:
        """Connect and read until cancelled."""
        lost, refused = Backoff(*self._timing.lost), Backoff(*self._timing.refused)
        quiet = False
        while True:
            backoff = lost
            try:
                await self._session(lost, refused)
            except LoginRefused as error:
                backoff = refused
                self._tally.add("link.refused")
                self._report("refused", str(error), quiet=quiet)
            except (OSError, ProtocolError) as error:
                if self.state == "up":
                    quiet = False
                    self._tally.add("link.lost")
                self._report("lost", self._explain(error), quiet=quiet)
            quiet = True
            await asyncio.sleep(backoff.next())

    async def _session(self, *backoffs: Backoff) -> None:
        client = AmiClient(
            self.endpoint.username, self.endpoint.secret, secrets.token_hex(8), plain=self.endpoint.tls is not None
        )
        self.self_test = None
        loop = asyncio.get_running_loop()
        stream = _Stream(client, self._deliver)
        await self._within(
            loop.create_connection(
                lambda: stream,
                self.endpoint.host,
                self.endpoint.port,
                ssl=self.endpoint.tls,
                server_hostname=self.endpoint.host if self.endpoint.tls else None,
            ),
            "no connection; check ami.host and ami.port, and that no firewall drops it",
        )
        try:
            await self._within(
                stream.online,
                "connected, but no login; Asterisk greets at once, so check that ami.port is the port of manager.conf "
                "and that ami.tls matches it",
            )
            self._tally.add("link.made")
            for backoff in backoffs:
                backoff.reset()
            self._change("up", "")
            self.asterisk = client.version
            log.info("link to Asterisk at %s is up (AMI %s)", self.endpoint, client.version)
            await self._keep(stream, client)
        finally:
            stream.abort()

    async def _within(self, step: Awaitable[object], otherwise: str) -> None:
        try:
            await asyncio.wait_for(step, self._timing.connect)
        except TimeoutError as error:
            raise ProtocolError(f"{otherwise} (waited {self._timing.connect:g} s)") from error

    async def _keep(self, stream: _Stream, client: AmiClient) -> None:
        """Ping until the link breaks, which raises."""
        loop = asyncio.get_running_loop()
        judged_at = loop.time() + self._timing.self_test
        while True:
            wait = self._timing.ping if self.self_test is not None else min(self._timing.ping, self._timing.self_test)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(stream.closed), wait)
            if stream.closed.done():
                stream.closed.result()
                raise ProtocolError("Asterisk closed the connection")
            if self.self_test is None and (client.reader.own_login or loop.time() >= judged_at):
                self._judge(own_login=client.reader.own_login)
            if client.ping_open:
                raise ProtocolError(f"Asterisk did not answer a Ping within {self._timing.ping:g} s; it may hang")
            client.ping()
            stream.flush()

    def _judge(self, *, own_login: bool) -> None:
        self.self_test = own_login
        if not own_login:
            self.problem = (
                f"logged in, but our own login did not come back as a security event within "
                f"{self._timing.self_test:g} s; AMI user {self.endpoint.username!r} needs 'read = security' in "
                "manager.conf, then 'asterisk -rx \"manager reload\"'"
            )
            log.error("%s", self.problem)

    def _deliver(self, client: AmiClient, events: list[SecurityEvent]) -> None:
        reader, tally = client.reader, self._tally
        for name, count in (("tampered", reader.tampered), ("foreign", reader.foreign), ("replies", reader.replies)):
            if count:
                tally.add(name, count)
        reader.tampered = reader.foreign = reader.replies = 0
        self.samples = list(reader.samples)
        if self.self_test is None and reader.own_login:
            self._judge(own_login=True)
        if events:
            self.lag_ms = max(0, self._wall_ns() - events[-1].at) // MILLISECOND
            self._on_events(events)

    def _report(self, state: str, problem: str, *, quiet: bool) -> None:
        self._change(state, problem)
        log.log(logging.DEBUG if quiet else logging.WARNING, "no link to Asterisk at %s: %s", self.endpoint, problem)

    def _change(self, state: str, problem: str) -> None:
        if state != self.state:
            self.changed_at = self._mono_ns()
        self.state, self.problem = state, problem

    def _explain(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted ({error.verify_message}); name it or its CA in ami.tls_ca"
        if isinstance(error, ssl.SSLError):
            return f"the peer does not speak TLS ({error.reason}); check ami.tls and ami.port"
        if isinstance(error, ConnectionRefusedError):
            return "connection refused; is Asterisk running, with 'enabled = yes' in manager.conf?"
        return str(error) or type(error).__name__


class _Stream(asyncio.Protocol):
    """The socket: bytes to the client, the client's bytes back. `online` and `closed` tell how far it got."""

    def __init__(self, client: AmiClient, deliver: Callable[[AmiClient, list[SecurityEvent]], None]) -> None:
        loop = asyncio.get_running_loop()
        self.online: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._client = client
        self._deliver = deliver
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        client = self._client
        try:
            events = client.receive(data)
        except ProtocolError as error:
            self._end(error)
            self.abort()
            return
        self.flush()
        if client.state is State.ONLINE and not self.online.done():
            self.online.set_result(None)
        self._deliver(client, events)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ProtocolError("Asterisk closed the connection"))

    def flush(self) -> None:
        data = self._client.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: Exception) -> None:
        for future in (self.online, self.closed):
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever waits sees it; nobody waiting is no fault
