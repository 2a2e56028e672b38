"""What the daemon does when somebody asks: the answers of the control API."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from guard import __version__
from guard.core.address import is_special, show, show_short
from guard.core.address import length as bits
from guard.core.units import SECOND, Duration
from guard.daemon.enquiry import explain, history
from guard.daemon.rates import EVERY, Rates
from guard.daemon.warnings import Warned, Watched, warnings
from guard.errors import ControlError, FirewallError, NotFound
from guard.wire.describe import describe_ban, describe_rule, describe_trace, show_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.units import Instant
    from guard.daemon.allowance import Allowance
    from guard.daemon.enforcer import Enforcer
    from guard.daemon.heaviest import Heaviest
    from guard.daemon.pause import Pause
    from guard.daemon.reload import Reloader
    from guard.sensors.amilink import AmiLink
    from guard.sensors.logs import LogSensor
    from guard.settings.rulefile import RuleSet
    from guard.wire.history import Wanted


FLUSH_BATCH = 500
"""Bans lifted between two turns of the event loop: a few milliseconds."""
START_SECONDS = 5.0
"""How long a question waits for the start; a million bans take longer."""

log = logging.getLogger("astguard")


class Desk:
    """Implements guard.api.control.Desk. Whatever it changes is in the kernel before it answers, or it says so."""

    def __init__(
        self,
        enforcer: Enforcer,
        allowance: Allowance,
        pause: Pause,
        reloader: Reloader,
        *,
        link: AmiLink,
        logs: LogSensor,
        ruleset: RuleSet,
        heaviest: Heaviest,
    ) -> None:
        self.ruleset = ruleset
        self.logs = logs
        self._enforcer = enforcer
        self._heaviest = heaviest
        self._engine = enforcer.engine
        self._allowance = allowance
        self._permits = allowance.permits
        self._pause = pause
        self._reloader = reloader
        self._link = link
        self._started = enforcer.now()
        self.exposed: Callable[[], str] = str  # says which door is open to forgers; the service knows
        self.troubled: Callable[[], Mapping[str, str]] = dict  # what is wrong with supplements, by their names
        self._opened = asyncio.Event()
        self._rates = Rates(self._engine.tally.counts, self._started)

    def open(self) -> None:
        """Begin to answer: what was kept is in force again."""
        self._opened.set()
        asyncio.get_running_loop().call_later(EVERY, self._note_rates)

    def _note_rates(self) -> None:
        asyncio.get_running_loop().call_later(EVERY, self._note_rates)
        self._rates.note(self._enforcer.now())

    async def ready(self) -> None:
        """Wait until answers are true; ControlError if the start takes longer."""
        if not self._opened.is_set():
            try:
                await asyncio.wait_for(self._opened.wait(), START_SECONDS)
            except TimeoutError:
                raise ControlError("astguard is still putting stored bans back; ask again in a few seconds") from None

    def status(self) -> dict[str, object]:
        """Tell how it goes, after a look whether the table is still there."""
        self._enforcer.check()
        engine, link, firewall = self._engine, self._link, self._enforcer.firewall
        try:
            dropped = {scope.value: packets for scope, (packets, _) in firewall.dropped().items()}
        except FirewallError:
            dropped = {}
        return {
            "version": __version__,
            "pid": os.getpid(),
            "mode": engine.mode.value,
            "paused": self._describe_pause(),
            "uptime_seconds": (self._enforcer.now() - self._started) // SECOND,
            "link": {
                "state": link.state,
                "since": show_time(self._enforcer.wall() - Duration(self._enforcer.now() - link.changed_at)),
                "asterisk": f"AMI {link.asterisk or 'unknown'} at {link.endpoint}",
                "self_test": {None: "waiting", True: "ok", False: "failed"}[link.self_test],
                "lag_ms": link.lag_ms,
            },
            "logs": {
                "read": [str(path) for path, problem in self.logs.problems.items() if not problem],
                "unread": [str(path) for path, problem in self.logs.problems.items() if problem],
            },
            "rates": self._rates.tell(self._enforcer.now()),
            "firewall": {
                "backend": firewall.name,
                "why": firewall.why,
                "sip_ports": list(engine.sip_ports),
                "dropped": sum(dropped.values()),
                "dropped_by_scope": dropped,
            },
            "bans": len(engine.ledger),
            "allow": len(engine.allow),
            "counts": dict(engine.tally.counts),
            "warnings": list(self._warnings()),
            "tampered_samples": self._link.samples,
        }

    def warnings(self) -> int:
        """Return how many warnings there are now."""
        return sum(1 for _ in self._warnings())

    def _warnings(self) -> Iterator[Warned]:
        parts = self._enforcer, self._allowance, self._pause, self._link, self.logs
        return warnings(Watched(*parts, self.exposed(), self.troubled()))

    def bans(self) -> list[dict[str, object]]:
        """List the active bans, the newest last."""
        now, wall = self._enforcer.now(), self._enforcer.wall()
        return [describe_ban(ban, now, wall) for ban in self._engine.ledger]

    async def ban(self, source: Source) -> dict[str, object]:
        """Return the ban of this source, or the one that covers it, with the events that led to it."""
        ban = self._engine.ledger.get(source) or self._engine.ledger.covering(source)
        if ban is None:
            raise NotFound(f"{show_short(source)} is not banned; 'astguard bans list' shows who is")
        keeper = self._enforcer.recorder.keeper
        trail = [] if keeper is None else await keeper.trail(ban.source)
        return {**self._describe(ban), "trail": [describe_trace(trace) for trace in trail]}

    async def add_ban(self, source: Source, length: Duration, reason: str) -> dict[str, object]:
        """Ban by hand."""
        if self._pause.span is not None:
            raise ControlError("astguard is paused and bans nobody; 'astguard resume' ends that")
        if is_special(source):
            raise ControlError(
                f"{show_short(source)} holds loopback, multicast or reserved addresses, which are never banned"
            )
        if self._engine.allow.touches(source):
            around = self._engine.allow.around(source) or next(self._engine.allow.inside(source))
            raise ControlError(
                f"{show_short(source)} is not banned: {show_short(around)} is on the allowlist "
                f"({self._permits.origin(around)})"
            )
        if not self._engine.ban(source, length, self._enforcer.now(), reason=reason):
            covering = self._engine.ledger.covering(source)
            by = (
                f"{show_short(covering.source)} is banned already, as long" if covering else "the table of bans is full"
            )
            raise ControlError(f"{show_short(source)} is not banned anew: {by}")
        self._settle()
        ban = self._engine.ledger.get(source)
        assert ban is not None, "it has just been made"
        return await self._with_stored(self._describe(ban))

    async def flush_bans(self) -> dict[str, object]:
        """Lift all bans, a batch at a time, so that events are heard in between."""
        lifted, sources = 0, self._engine.ledger.sources()
        for start in range(0, len(sources), FLUSH_BATCH):
            now = self._enforcer.now()
            lifted += sum(self._engine.unban(source, now) for source in sources[start : start + FLUSH_BATCH])
            self._enforcer.settle()
            await asyncio.sleep(0)
        self._check()
        return await self._with_stored({"bans": lifted})

    async def explain(self, source: Source) -> dict[str, object]:
        """Tell all that is known of a source, and what would follow next."""
        return await explain(source, self._enforcer, self._allowance)

    async def history(self, wanted: Wanted) -> list[dict[str, object]]:
        """List bans past and present, the newest first."""
        return await history(wanted, self._enforcer)

    async def remove_ban(self, source: Source) -> dict[str, object]:
        """Lift the ban of exactly this source."""
        ban = self._engine.ledger.get(source)
        if ban is None:
            covering = self._engine.ledger.covering(source)
            if covering is not None:
                whole = show_short(covering.source)
                raise NotFound(
                    f"{show_short(source)} has no ban of its own; 'astguard bans remove {whole}' lifts all of it"
                )
            raise NotFound(f"{show_short(source)} is not banned; 'astguard bans list' shows who is")
        self._engine.unban(source, self._enforcer.now())
        self._settle()
        return await self._with_stored(self._describe(ban))

    def allowed(self) -> list[dict[str, object]]:
        """List the allowlist."""
        return [self._describe_permit(source) for source, _ in self._permits]

    async def add_allow(self, source: Source, length: Duration | None) -> dict[str, object]:
        """Allow a source, for a time or until that is taken back, and lift the bans it touches."""
        if bits(source) == 0:
            raise ControlError(f"{show(source)} is everybody; to watch without bans, write 'mode: observe'")
        lifted = self._allowance.allow(source, length)
        self._check()
        return await self._with_stored(self._describe_permit(source) | {"lifted": list(map(show, lifted))})

    async def remove_allow(self, source: Source) -> dict[str, object]:
        """Take back what a command allowed."""
        self._allowance.disallow(source)
        self._check()
        return await self._with_stored({"source": show(source)})

    def test_allow(self, source: Source) -> dict[str, object]:
        """Tell whether a source would never be banned, and why."""
        around = self._engine.allow.around(source)
        return {
            "source": show(source),
            "allowed": around is not None,
            "by": None if around is None else show(around),
            "origin": "" if around is None else self._permits.origin(around),
        }

    def rules(self) -> list[dict[str, object]]:
        """List the rules in force."""
        return [describe_rule(rule, self._engine.mode, self.ruleset.sources[rule.name]) for rule in self.ruleset.rules]

    async def reload(self) -> dict[str, object]:
        """Take the changed files in; ConfigError with every mistake, and then nothing has changed."""
        return await self._reloader.reload()

    async def top(self, rows: int) -> dict[str, object]:
        """Tell who attacks most of late."""
        return await self._heaviest.top(rows)

    async def pause(self, length: Duration | None) -> dict[str, object]:
        """Let everybody in, for a time or until `resume`."""
        self._pause.begin(length)
        return await self._with_stored({**(self._describe_pause() or {}), "bans": len(self._engine.ledger)})

    async def resume(self) -> dict[str, object]:
        """Put the bans back; NotFound if there is no pause."""
        self._pause.end()
        self._check()
        return await self._with_stored({"bans": len(self._engine.ledger)})

    def _describe(self, ban: Ban) -> dict[str, object]:
        return describe_ban(ban, self._enforcer.now(), self._enforcer.wall())

    async def _with_stored(self, answer: dict[str, object]) -> dict[str, object]:
        """Say in an answer whether what it tells of outlives a reboot; it waits for the disk."""
        return {**answer, "stored": await self._enforcer.recorder.stored()}

    def _describe_permit(self, source: Source) -> dict[str, object]:
        return {
            "source": show(source),
            "origin": self._permits.origin(source),
            **self._end(self._permits.until(source)),
        }

    def _describe_pause(self) -> dict[str, object] | None:
        span = self._pause.span
        if span is None:
            return None
        began = span.since - self._enforcer.now() + self._enforcer.wall()
        return {"since": show_time(began), **self._end(span.until)}

    def _end(self, until: Instant | None) -> dict[str, object]:
        """Say when something ends; None if nobody can say."""
        if until is None:
            return {"until": None, "left_seconds": None}
        left = max(0, until - self._enforcer.now())
        return {"until": show_time(self._enforcer.wall() + left), "left_seconds": left // SECOND}

    def _settle(self) -> None:
        """Bring a change by hand to the kernel; ControlError if it could not be made there yet."""
        self._enforcer.settle()
        self._check()

    def _check(self) -> None:
        if self._enforcer.problem:
            raise ControlError(f"noted, but not in the kernel yet: {self._enforcer.problem}; it is tried again")
