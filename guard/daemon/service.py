"""The daemon's asyncio shell: makes the parts, lets them run side by side, and stops them in order.

Before anything touches the kernel every check has passed: configuration, rules, secret, certificate, control socket.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from guard.api.control import ControlServer
from guard.api.metrics import Metrics
from guard.api.scrape import ScrapeServer
from guard.api.stream import Stream
from guard.api.tcp import TcpServer
from guard.core.address import show_short
from guard.core.engine import Engine
from guard.core.rule import Mode
from guard.daemon.allowance import Allowance, permits_of
from guard.daemon.asking import Asking
from guard.daemon.desk import Desk
from guard.daemon.enforcer import Enforcer
from guard.daemon.exposure import watch_exposure
from guard.daemon.feed import Feed
from guard.daemon.gauges import Gauges
from guard.daemon.healer import Healer
from guard.daemon.heaviest import Heaviest
from guard.daemon.jobs import Jobs
from guard.daemon.keeper import Keeper
from guard.daemon.logwatch import watch_logs
from guard.daemon.meter import meter
from guard.daemon.pause import Pause
from guard.daemon.priority import Priority
from guard.daemon.rearm import Rearm
from guard.daemon.recorder import Recorder
from guard.daemon.reload import Reloader
from guard.daemon.restore import restore
from guard.daemon.supplements import Supplements
from guard.daemon.systemd import Systemd
from guard.firewall import Layout
from guard.firewall.choice import choose
from guard.sensors.amilink import AmiLink
from guard.sensors.ownaddresses import watch_own
from guard.settings.config import Changers
from guard.store.opening import Claim

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guard.core.address import Source
    from guard.core.event import SecurityEvent
    from guard.daemon.inputs import Inputs
    from guard.daemon.journal import Journal

log = logging.getLogger("astguard")

NAMED = 5
"""Lifted bans that a reload names; the rest are counted."""


class Service:
    """One running guard."""

    def __init__(
        self,
        inputs: Inputs,
        own: frozenset[Source],
        journal: Journal | None = None,
        *,
        read: Callable[[], Inputs],
    ) -> None:
        config, ruleset = inputs.config, inputs.ruleset
        self._config = config
        permits = permits_of(config, own)
        ports = config.firewall.sip_ports
        engine = Engine(
            ruleset.rules,
            mode=config.mode,
            allow=[source for source, _ in permits],
            sip_ports=ports,
            unproven_max=config.unproven_max,
            capacity=config.firewall.bans_max,
        )
        layout = Layout(
            allow=tuple(engine.allow),
            sip_ports=ports,
            set_size=config.firewall.bans_max,
            slow_rate=config.firewall.slow_rate,
        )
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
        self._allowance = Allowance(permits, self._enforcer, config, loop=loop)
        self._healer = Healer(self._enforcer, loop=loop)
        self._pause = Pause(self._enforcer, config.mode, loop=loop)
        self._rearm = Rearm(self._enforcer, loop)
        self._link = AmiLink(inputs.endpoint, self._hear, engine.tally, mono_ns=time.monotonic_ns, wall_ns=time.time_ns)
        self._logs = watch_logs(config.logs, self._enforcer, self._link)
        self._asking, self._voters = Asking(engine, config.state, self._enforcer.now), inputs.voters
        self._supplements = Supplements(engine.tally, now=self._enforcer.now, wall=self._enforcer.wall)
        self._wanted = inputs.supplements
        self._enforcer.recorder.listeners.append(self._supplements)
        self._priority = Priority(loop, engine.tally, mono_ns=time.monotonic_ns, used_ns=time.thread_time_ns)
        self._jobs = Jobs()
        self._hangup = asyncio.Event()
        self._systemd = Systemd(os.environ, os.getpid())
        self._reloader = Reloader(inputs, read=read, take=self._take, systemd=self._systemd, now=self._enforcer.now)
        heaviest = Heaviest(self._enforcer)
        self._enforcer.recorder.listeners.append(heaviest)
        self._desk = Desk(
            self._enforcer,
            self._allowance,
            self._pause,
            self._reloader,
            link=self._link,
            logs=self._logs,
            ruleset=ruleset,
            heaviest=heaviest,
        )
        self._desk.exposed = watch_exposure(config)
        self._desk.troubled = lambda: {**self._supplements.troubled, **self._asking.off}
        metrics = Metrics(Gauges(self._enforcer, self._link, self._desk, heaviest, journal).read)
        stream = Stream(engine.tally.add)
        self._enforcer.recorder.listeners.append(Feed(stream, self._enforcer.now, self._enforcer.wall))
        self._control = ControlServer(
            self._desk, config.control, metrics, stream, root_only=config.control_changes is Changers.ROOT
        )
        api, token = config.api, inputs.token
        self._tcp = TcpServer(self._control, api.address, api.port, token, engine.tally.add) if api and token else None
        scrape = config.metrics
        self._scrapes = ScrapeServer(metrics, scrape.address, scrape.port, engine.tally.add) if scrape else None

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)  # one that comes early is not lost, nor the end of us
        log.info("firewall %s: %s", self._enforcer.firewall.name, self._enforcer.firewall.why)
        claim = Claim(self._config.state)
        await self._control.start()
        try:
            if self._scrapes is not None:
                await self._scrapes.start()
            if self._tcp is not None:
                await self._tcp.start()
            await restore(claim, self._keeper, self._enforcer, self._allowance, self._pause)
            self._asking.begin(self._voters)
            self._supplements.start(self._wanted)
            self._enforcer.settle()
            self._desk.open()
            self._allowance.start()
            self._pause.start()
            self._rearm.start()
            self._jobs.start("link", self._link.run())
            self._jobs.start("logs", self._logs.run())
            self._jobs.start("names", self._allowance.names.run())
            self._jobs.start("own", watch_own(self._allowance.take_own))
            self._jobs.start("healer", self._healer.run())
            self._jobs.start("systemd", self._systemd.run(self._status_line))
            self._start_meter()
            self._jobs.start("reload", self._reload_on_hangup())
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
            await self._jobs.stop_all()
            if self._scrapes is not None:
                await self._scrapes.stop()
            await self._control.stop()
            if self._tcp is not None:
                await self._tcp.stop()
            self._allowance.stop()
            self._pause.stop()
            self._rearm.stop()
            self._enforcer.stop()
            await self._keeper.end()
            await self._supplements.stop()
            self._asking.end()
            claim.release()
            self._systemd.close()

    def _status_line(self) -> str:
        engine = self._enforcer.engine
        bans = f"{len(engine.ledger)} ban{'' if len(engine.ledger) == 1 else 's'}"
        problem = self._enforcer.problem or self._link.problem
        mode = engine.mode if self._pause.span is None else "PAUSED"
        return f"{mode}, link {self._link.state}, {bans}" + (f"; {problem}" if problem else "")

    def _hear(self, events: list[SecurityEvent]) -> None:
        self._logs.heard(events)
        self._enforcer.handle(events)
        self._priority.spend()

    def _start_meter(self) -> None:
        if self._config.statsd is not None:
            self._jobs.start("meter", meter(self._config.statsd, self._enforcer, self._link))

    async def _reload_on_hangup(self) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            await self._reloader.on_signal()

    async def _take(self, inputs: Inputs, changed: Sequence[str]) -> list[str]:
        """Go on with other inputs; what has not changed is not touched."""
        config, ruleset, engine = inputs.config, inputs.ruleset, self._enforcer.engine
        before, self._config = self._config, config
        engine.reload(
            ruleset.rules,
            mode=self._pause.configure(config.mode),
            sip_ports=config.firewall.sip_ports,
            unproven_max=config.unproven_max,
        )
        self._desk.ruleset = ruleset
        self._desk.exposed = watch_exposure(config)
        self._enforcer.reshape(config.firewall.slow_rate)
        lifted = self._allowance.configure(config)
        if "ami" in changed:
            await self._jobs.stop("link")
            self._link.use(inputs.endpoint)
            self._jobs.start("link", self._link.run())
        if "logs" in changed:
            self._logs.finish()
            self._logs = watch_logs(config.logs, self._enforcer, self._link)
            self._desk.logs = self._logs
            self._logs.poll()  # goes on where the other one ended
            await self._jobs.stop("logs")
            self._jobs.start("logs", self._logs.run())
        self._asking.end()
        self._asking.begin(inputs.voters)
        if "supplements" in changed:
            await self._supplements.stop()
            self._supplements.start(inputs.supplements)
        if "statsd" in changed:
            await self._jobs.stop("meter")
            self._start_meter()
        notes = []
        if lifted:
            named = ", ".join(map(show_short, lifted[:NAMED]))
            more = f" and {len(lifted) - NAMED} more" if len(lifted) > NAMED else ""
            notes.append(f"unbanned, because somebody in them is allowed now: {named}{more}")
        if before.mode is Mode.ENFORCE and config.mode is Mode.OBSERVE and len(engine.ledger):
            left = len(engine.ledger)
            notes.append(f"bans={left} made before stay until their time is over; 'astguard pause' lifts them")
        return notes


def _spare_the_collector() -> None:
    """Let the cycle collector look at little, and seldom: what the core forgets has no cycles and is gone at once.

    A full collection of a flood's tables was seen to hold the loop for 200 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)
