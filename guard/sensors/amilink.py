"""The link to Asterisk: connect, log in, read for ever, and come back whenever it breaks.

Reading never waits for anything: what the socket gives is parsed and handed on in the same callback. Asterisk cuts off
a reader that stalls for its `writetimeout` (100 ms by default), silently and in the middle of an event.

Silence is not peace. A Ping goes out every few seconds, and if nothing at all has come when the next is due, the link
is broken: a hung Asterisk keeps its sockets open. (In a flood the answer may stand behind seconds of events.) And our
own login has to come back as a security event, which proves the whole path from Asterisk's message bus to here; a user
without `read = security` logs in just as well and hears nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guard.core.histogram import Histogram
from guard.core.units import HOUR, MILLISECOND, MINUTE, SECOND
from guard.errors import LoginRefused, ProtocolError
from guard.sensors.amistream import AmiStream
from guard.sensors.backoff import Backoff
from guard.wire.ami import AmiClient
from guard.wire.journal import MessageId, about

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from guard.core.event import SecurityEvent
    from guard.core.tally import Tally

log = logging.getLogger("astguard.link")

NO_USER = "no AMI user is set up; 'astguard setup' makes one, or name its secret in astguard.yaml (ami.secret_file)"
LAGS = (
    *(n * MILLISECOND for n in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(n * SECOND for n in (1, 2, 5, 10, 30, 60, 300)), HOUR,
)  # fmt: skip
"""Nanoseconds: the bounds of the histogram of lag."""
TROUBLES_TOLD = 8
"""Different troubles that are warned of between two good links; what a strange peer says may be new every time."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where Asterisk is and who we are there. `tls` None means an unencrypted connection, `secret` None no user yet."""

    host: str
    port: int
    username: str
    secret: str | None
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

    `on_events` gets each batch of believed events. `state` is `connecting`, `up`, `lost`, `refused` or `no user`, and
    has been since `changed_at`; `problem` is the reason if there is one, `self_test` None until decided, `lag_ms` how
    old the newest event was when it was read, `lags` (in nanoseconds) how old all were.
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
        self.lags = Histogram(LAGS)
        self._on_events = on_events
        self._tally = tally
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns
        self.changed_at = mono_ns()
        self._timing = timing
        self._told: set[str] = set()
        self._next_fault_told = 0

    def use(self, endpoint: Endpoint) -> None:
        """Go to another endpoint, or as somebody else, at the next `run`; the present one has to be cancelled."""
        self.endpoint = endpoint
        self.self_test, self.asterisk = None, ""
        self._told.clear()
        self._change("connecting", "")

    async def run(self) -> None:
        """Connect and read until cancelled."""
        if self.endpoint.secret is None:
            self._report("no user", NO_USER)
            return
        lost, refused = Backoff(*self._timing.lost), Backoff(*self._timing.refused)
        while True:
            backoff = lost
            try:
                await self._session(lost, refused)
            except LoginRefused as error:
                backoff = refused
                self._tally.add("link.refused")
                self._report("refused", str(error))
            except (OSError, ProtocolError) as error:
                self._lose(self._explain(error))
            except Exception as error:  # noqa: BLE001 - nobody would see an attack any more
                self._tell_fault(error)
                self._lose(f"a fault of astguard itself ended it ({type(error).__name__}); please report it")
            await asyncio.sleep(backoff.next())

    async def _session(self, *backoffs: Backoff) -> None:
        assert self.endpoint.secret is not None, "run has looked"
        client = AmiClient(
            self.endpoint.username, self.endpoint.secret, secrets.token_hex(8), plain=self.endpoint.tls is not None
        )
        self.self_test = None
        loop = asyncio.get_running_loop()
        stream = AmiStream(client, self._deliver)
        await self._within(
            loop.create_connection(
                lambda: stream,
                self.endpoint.host,
                self.endpoint.port,
                ssl=self.endpoint.tls,
                server_hostname=self.endpoint.host if self.endpoint.tls else None,
            ),
            "no TLS connection; check that ami.host and ami.port name the TLS port of manager.conf, and ami.tls"
            if self.endpoint.tls
            else "no connection; check ami.host and ami.port, and that no firewall drops it",
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
            self._told.clear()
            self._change("up", "")
            self.asterisk = client.version
            log.info(
                "link to Asterisk at %s is up (AMI %s)", self.endpoint, client.version,
                extra=about(MessageId.LINK_UP, link="up", endpoint=self.endpoint),
            )  # fmt: skip
            await self._keep(stream, client)
        finally:
            stream.abort()

    async def _within(self, step: Awaitable[object], otherwise: str) -> None:
        # Not wait_for(): Python 3.11's loses a cancellation that comes as the step ends, and then stop waits for ever.
        try:
            async with asyncio.timeout(self._timing.connect) as limit:
                await step
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise ProtocolError(f"{otherwise} (waited {self._timing.connect:g} s)") from error

    async def _keep(self, stream: AmiStream, client: AmiClient) -> None:
        """Ping until the link breaks, which raises."""
        loop = asyncio.get_running_loop()
        judged_at = loop.time() + self._timing.self_test
        while True:
            wait = self._timing.ping if self.self_test is not None else min(self._timing.ping, self._timing.self_test)
            await asyncio.wait([stream.closed], timeout=wait)
            if stream.closed.done():
                stream.closed.result()  # raises
            if self.self_test is None and (client.reader.own_login or loop.time() >= judged_at):
                self._judge(own_login=client.reader.own_login)
                if not self.self_test:
                    self._hand_on(client.reader.stop_waiting())
            if not client.ping_open:
                client.ping()
                stream.flush()
            elif not stream.heard:
                raise ProtocolError(f"Asterisk did not answer a Ping within {self._timing.ping:g} s; it may hang")
            stream.heard = False

    def _judge(self, *, own_login: bool) -> None:
        self.self_test = own_login
        self.problem = ""
        if not own_login:
            self.problem = (
                f"logged in, but our own login did not come back as a security event within "
                f"{self._timing.self_test:g} s; AMI user {self.endpoint.username!r} needs 'read = security' in "
                "manager.conf, then 'asterisk -rx \"manager reload\"'"
            )
            log.error("%s", self.problem, extra=about(MessageId.SELF_TEST_FAILED, endpoint=self.endpoint))

    def _deliver(self, client: AmiClient, events: list[SecurityEvent]) -> None:
        reader, tally = client.reader, self._tally
        for name, count in (("tampered", reader.tampered), ("foreign", reader.foreign), ("replies", reader.replies)):
            if count:
                tally.add(name, count)
        reader.tampered = reader.foreign = reader.replies = 0
        self.samples = list(reader.samples)
        if reader.own_login and not self.self_test:
            self._judge(own_login=True)
        self._hand_on(events)

    def _hand_on(self, events: list[SecurityEvent]) -> None:
        if not events:
            return
        self._note_lag(events)
        try:
            self._on_events(events)
        except Exception as error:  # noqa: BLE001 - one bad batch may not cost the ones behind it
            self._tally.add("events.lost", len(events))
            self._tell_fault(error)

    def _note_lag(self, events: list[SecurityEvent]) -> None:
        wall = self._wall_ns()
        oldest, newest = max(0, wall - events[0].at), max(0, wall - events[-1].at)
        self.lag_ms = newest // MILLISECOND
        if not self.lags.add_run(oldest, newest, len(events)):
            for event in events:
                self.lags.add(max(0, wall - event.at))

    def _lose(self, problem: str) -> None:
        if self.state == "up":
            self._tally.add("link.lost")
        self._report("lost", problem)

    def _tell_fault(self, error: Exception) -> None:
        """Log a bug with its traceback, at most once a minute."""
        now = self._mono_ns()
        if now >= self._next_fault_told:
            self._next_fault_told = now + MINUTE
            log.error("a fault of astguard itself, please report it", exc_info=error)

    def _report(self, state: str, problem: str) -> None:
        """Note why there is no link; each reason is a warning once until the link was up again."""
        self._change(state, problem)
        news = problem not in self._told and len(self._told) < TROUBLES_TOLD
        if news:
            self._told.add(problem)
        log.log(
            logging.WARNING if news else logging.DEBUG, "no link to Asterisk at %s: %s", self.endpoint, problem,
            extra=about(MessageId.LINK_LOST, link=state, endpoint=self.endpoint),
        )  # fmt: skip

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
        if isinstance(error, OSError):
            return f"{error.strerror or str(error) or type(error).__name__}; check ami.host and ami.port"
        return str(error)
