"""The daemon's asyncio shell: makes the parts, lets them run side by side, and stops them in order.

Before anything touches the kernel every check has passed: configuration, rules, secret, certificate, control socket.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import ssl
import time
from typing import TYPE_CHECKING

from guard.api.control import ControlServer
from guard.api.metrics import Metrics
from guard.api.scrape import ScrapeServer
from guard.api.statsd import StatsdSender
from guard.core.engine import Engine
from guard.daemon.desk import Desk
from guard.daemon.enforcer import Enforcer
from guard.daemon.exposure import watch_exposure
from guard.daemon.gauges import Gauges
from guard.daemon.keeper import Keeper
from guard.daemon.logwatch import watch_logs
from guard.daemon.permits import OWN, Permits
from guard.daemon.priority import Priority
from guard.daemon.recorder import Recorder
from guard.daemon.restore import restore
from guard.daemon.systemd import Systemd
from guard.daemon.takeover import adopt
from guard.errors import ConfigError
from guard.firewall import Layout
from guard.firewall.choice import choose
from guard.sensors.amilink import AmiLink, Endpoint
from guard.sensors.names import Names, watch_own
from guard.store.opening import Claim
from guard.wire.statsd import Meters

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from guard.core.address import Source
    from guard.core.event import SecurityEvent
    from guard.daemon.journal import Journal
    from guard.settings.config import Config
    from guard.settings.rulefile import RuleSet

log = logging.getLogger("astguard")

FLUSH = 10.0
"""Seconds between two flushes of meters, StatsD's own default."""


class Service:
    """One running guard."""

    def __init__(
        self, config: Config, ruleset: RuleSet, own: frozenset[Source], journal: Journal | None = None
    ) -> None:
        self._config = config
        self._permits = Permits()
        for entry in config.allow:
            self._permits.add(entry.source, str(entry.place))
        self._permits.replace(OWN, own)
        endpoint = _endpoint(config)
        ports = config.firewall.sip_ports
        engine = Engine(
            ruleset.rules,
            mode=config.mode,
            allow=[source for source, _ in self._permits],
            sip_ports=ports,
            unproven_max=config.unproven_max,
        )
        layout = Layout(allow=tuple(engine.allow), sip_ports=ports, slow_rate=config.firewall.slow_rate)
        loop = asyncio.get_running_loop()
        self._keeper = Keeper(engine, loop=loop, mono_ns=time.monotonic_ns, wall_ns=time.time_ns)
        self._enforcer = Enforcer(
            engine,
            choose(config.firewall.backend),
            layout,
            Recorder(self._keeper),
            loop=loop,
            mono_ns=time.monotonic_ns,
            wall_ns=time.time_ns,
        )
        self._link = AmiLink(endpoint, self._hear, engine.tally, mono_ns=time.monotonic_ns, wall_ns=time.time_ns)
        self._logs = watch_logs(config.logs, self._enforcer, self._link)
        places = {entry.name: f"{entry.place} ({entry.name})" for entry in config.allow_names}
        self._names = Names(places, lambda name, found: self._allow(places[name], found))
        self._desk = Desk(self._enforcer, self._permits, self._link, ruleset, self._names, self._logs)
        self._desk.exposed = watch_exposure(config)
        metrics = Metrics(Gauges(self._enforcer, self._link, self._desk, journal).read)
        self._control = ControlServer(self._desk, config.control, metrics)
        self._scrapes = ScrapeServer(metrics, config.metrics.address, config.metrics.port) if config.metrics else None
        self._priority = Priority(
            asyncio.get_running_loop(), engine.tally, mono_ns=time.monotonic_ns, used_ns=time.thread_time_ns
        )
        self._systemd = Systemd(os.environ, os.getpid())

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, log.warning, "this version does not reload; restart it, bans stay")
        claim = Claim(self._config.state)
        await self._control.start()
        tasks: list[asyncio.Task[None]] = []
        try:
            if self._scrapes is not None:
                await self._scrapes.start()
            await restore(claim, self._keeper, self._enforcer, self._permits)
            adopt(self._enforcer)
            self._desk.open()
            jobs: list[Coroutine[None, None, None]] = [
                self._link.run(), self._logs.run(), self._names.run(), watch_own(self._allow_own),
                self._systemd.run(self._status_line),
            ]  # fmt: skip
            if self._config.statsd is not None:
                jobs.append(self._meter())
            tasks = [asyncio.create_task(_guarded(job)) for job in jobs]
            _spare_the_collector()
            log.info(
                "astguard is up: mode=%s rules=%d firewall=%s allow=%d",
                self._config.mode, len(self._enforcer.engine.rules), self._enforcer.firewall.name,
                len(self._enforcer.engine.allow),
            )  # fmt: skip
            self._priority.start()
            self._systemd.ready()
            await stopped.wait()
            self._priority.stop()
            self._systemd.stopping()
            log.info(
                "astguard stops: bans=%d stay in the kernel and end there on time", len(self._enforcer.engine.ledger)
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._scrapes is not None:
                await self._scrapes.stop()
            await self._control.stop()
            self._enforcer.stop()
            await self._keeper.end()
            claim.release()
            self._systemd.close()

    def _status_line(self) -> str:
        engine = self._enforcer.engine
        bans = f"{len(engine.ledger)} ban{'' if len(engine.ledger) == 1 else 's'}"
        problem = self._enforcer.problem or self._link.problem
        return f"{engine.mode}, link {self._link.state}, {bans}" + (f"; {problem}" if problem else "")

    def _hear(self, events: list[SecurityEvent]) -> None:
        self._logs.heard(events)
        self._enforcer.handle(events)
        self._priority.spend()

    def _allow(self, origin: str, sources: frozenset[Source]) -> None:
        added, gone = self._permits.replace(origin, sources)
        if added or gone:
            self._enforcer.allow(added, gone)

    def _allow_own(self, found: frozenset[Source]) -> None:
        self._allow(OWN, found)

    async def _meter(self) -> None:
        statsd = self._config.statsd
        assert statsd is not None, "the job is only made with a server"
        sender, meters = StatsdSender(statsd.host, statsd.port), Meters(statsd.prefix, statsd.meter_support)
        await sender.start()
        tally = self._enforcer.engine.tally
        try:
            while True:
                await asyncio.sleep(FLUSH)
                gauges = {"bans.active": len(self._enforcer.engine.ledger), "link.lag_ms": self._link.lag_ms}
                sender.send(meters.collect(tally.take_failed(), tally.counts, gauges, self._enforcer.now()))
                tally.counts["statsd.sent"], tally.counts["statsd.failed"] = sender.sent, sender.failed
        finally:
            await sender.close()


def _spare_the_collector() -> None:
    """Let the cycle collector look at little, and seldom: what the core forgets has no cycles and is gone at once.

    A full collection of a flood's tables was seen to hold the loop for 200 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)


async def _guarded(job: Coroutine[None, None, None]) -> None:
    """Run a job; a bug in it is logged and ends that job only, never the guard."""
    try:
        await job
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("a part of astguard has stopped; please report this")


def _endpoint(config: Config) -> Endpoint:
    ami = config.ami
    context = None
    if ami.tls:
        try:
            context = ssl.create_default_context(cafile=None if ami.tls_ca is None else str(ami.tls_ca))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError([f"{ami.place}: ami.tls_ca: {ami.tls_ca} holds no certificate ({error})"]) from None
        if not ami.tls_verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return Endpoint(ami.host, ami.port, ami.username, config.read_secret(), context)
