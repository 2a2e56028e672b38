"""Makes the ledger true in the kernel: engine in, firewall out, and a timer for the engine's deadline.

Kernel first, then the record. A change the kernel refuses stays due and is tried again; the recorder gets it when it is
true. What is due is kept once per source, and only for sources that are in the ledger or in the kernel, so it never
outgrows them, however long the kernel refuses. Every change can be applied twice.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from guard.core.ban import Change, Op
from guard.core.units import SECOND, Duration, Instant, Wall
from guard.daemon.latency import Latency
from guard.daemon.takeover import adopt
from guard.daemon.upkeep import Upkeep
from guard.daemon.wakeup import Wakeup
from guard.errors import FirewallError
from guard.firewall import BATCH

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Iterable

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.engine import Engine
    from guard.core.event import SecurityEvent
    from guard.core.rule import Scope
    from guard.daemon.recorder import Recorder
    from guard.firewall import Firewall, Layout, News

log = logging.getLogger("astguard")

RETRY_FIRST = 0.1
RETRY_LAST = 5.0
"""Seconds until a refused batch is tried again, doubling from first to last."""


class Enforcer:
    """Owns engine and firewall. `mono_ns` and `wall_ns` are the clocks, `loop` runs the timers."""

    def __init__(
        self,
        engine: Engine,
        firewall: Firewall,
        layout: Layout,
        recorder: Recorder,
        *,
        loop: asyncio.AbstractEventLoop,
        mono_ns: Callable[[], int],
        wall_ns: Callable[[], int],
    ) -> None:
        self.engine = engine
        self.firewall = firewall
        self.upkeep = Upkeep(engine, firewall, layout, self.now, self.wall)
        self.recorder = recorder
        self.latency = Latency()
        self.problem, self.paused = "", False  # paused: the kernel holds nothing, on purpose
        self._loop = loop
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns
        self._due: dict[Source, Change] = {}
        self._held: dict[Source, Scope] = {}  # what the kernel was made to hold
        self._tried: set[Source] = set()  # of what is due, what it may hold already: it was refused half-way
        self._untold: set[Source] = set()  # whose change is due, but nobody was told of the ban
        self._retry_in = RETRY_FIRST
        self._retry: asyncio.TimerHandle | None = None
        self._piece: asyncio.TimerHandle | None = None
        self._wakeup = Wakeup(self._tick, loop=loop, now=self.now)

    def now(self) -> Instant:
        """Return the engine's time, which a timer that fired a hair early has put ahead of the clock."""
        return Instant(max(self._mono_ns(), self.engine.now))

    def wall(self) -> Wall:
        """Return the wall clock."""
        return Wall(self._wall_ns())

    def know(self, allowed: Iterable[Source]) -> None:
        """Take note, before `restore`, of what is allowed and of the ports that were learnt in an earlier life."""
        for source in allowed:
            self.engine.allow.add(source)
        self.upkeep.know()

    def hold(self, held: Iterable[tuple[Source, Scope]]) -> None:
        """Take note that the kernel holds bans of an earlier life, which were reported then."""
        pairs = list(held)
        self._held.update(pairs)
        self.engine.confirm([source for source, _ in pairs], self.wall())

    def owe(self, bans: Iterable[Ban]) -> None:
        """Take note that the kernel does not hold bans as it should; `settle` brings them there."""
        self._due.update((ban.source, Change(Op.ADD, ban)) for ban in bans)

    def owes(self, source: Source) -> bool:
        """Tell whether a change of this source has yet to be brought to the kernel."""
        return source in self._due

    def stop(self) -> None:
        """Give up timers and sockets. The bans stay in the kernel, and end there on time."""
        self._wakeup.stop()
        for handle in (self._retry, self._piece):
            if handle is not None:
                handle.cancel()
        self.firewall.close()

    def handle(self, events: list[SecurityEvent]) -> None:
        """Judge events that have just been read."""
        outcomes = self.engine.handle(events, self.now(), self.wall())
        self.recorder.weighed(events, outcomes)
        if not self.paused:
            self.upkeep.heard(events, outcomes)
        self.settle()

    def check(self) -> None:
        """Look whether all of ours is as we made it, and mend it if it is not."""
        if not self.paused:
            self.upkeep.look()
        self.settle()

    def mend(self, news: News) -> None:
        """Undo what others did to what is ours."""
        if self.paused:
            return
        self.upkeep.mend(news)
        adopt(self, news.found, self.now())
        self.settle()
        self._go_on()

    def rewrite(self, sources: Collection[Source]) -> None:
        """Put bans right that the kernel holds in a wrong set or with a wrong end; nobody is told of it."""
        if sources:
            self.upkeep.recovery.lose(sources, replaced=True)
            self._go_on()

    def settle(self) -> None:
        """Bring the engine's new changes to the kernel, then report them, and set the timer anew."""
        if self.engine.take_ports():
            self.upkeep.close_ports(self.engine.sip_ports)
            log.info("learn port: a ban of the SIP ports closes %s", ", ".join(map(str, self.engine.sip_ports)))
        for change in self.engine.take_changes():
            op, source = change.op, change.ban.source
            if op is Op.OBSERVE:
                self.recorder.record(change)
                continue
            self._due.pop(source, None)  # the later change of a source goes last
            self._untold.discard(source)
            if op is Op.ADD:
                self._due[source] = change
            elif source not in self._held:  # a ban that was never reported is over
                if source in self._tried:
                    self._due[source] = change._replace(op=Op.REMOVE)
                    self._untold.add(source)
            elif op is Op.REMOVE and not self.paused:
                # From where it is: a stronger ban may not have got to the kernel yet.
                self._due[source] = Change(op, replace(change.ban, scope=self._held[source]))
            else:
                del self._held[source]  # the kernel has ended it by itself, or holds nothing
                self.recorder.record(change)
        if (self._due or self.upkeep.waits) and self._retry is None and not self.paused:
            self._apply()
        for alarm in self.engine.take_alarms():
            self.recorder.tell(alarm)
        self._wakeup.set(self.engine.deadline)

    def allow(self, added: Collection[Source], gone: Collection[Source]) -> list[Source]:
        """Change the allowlist in engine and kernel; return whose bans that lifted."""
        lifted = []
        for source in added:
            lifted += self.engine.allow_source(source, self.now())
        for source in gone:
            self.engine.disallow_source(source)
        self.upkeep.accept(added, gone)
        self.settle()
        return lifted

    def reshape(self, slow_rate: int) -> None:
        """Bring the engine's ports, and the rate of the scope `slow`, to the kernel after a reload."""
        self.engine.take_ports()
        self.upkeep.reshape(slow_rate)
        self.settle()

    def pause(self) -> None:
        """Take all bans out of the kernel at once, and bring none until `resume`; FirewallError if it refuses."""
        self.firewall.teardown()
        self.paused, self.problem = True, ""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._settled([change for change in self._due.values() if change.op is Op.REMOVE])
        self.upkeep.rest()
        self.engine.unconfirm()

    def resume(self) -> None:
        """Bring the bans of the ledger to the kernel again."""
        self.paused, self.upkeep.gone = False, True
        self.settle()

    def _apply(self) -> None:
        try:
            wait = self._bring()
        except FirewallError as error:
            self._tried.update(source for source in self.upkeep.half_done if source in self._due)
            if self.upkeep.is_sound:
                self._bring_by_set()
            self._fail(error)
            return
        if wait:
            self.problem = self.upkeep.dispute()
            self._retry = self._loop.call_later(wait / SECOND, self._try_again)
            return
        if self.problem:
            log.info("the kernel takes our changes again")
        self.problem, self._retry_in = "", RETRY_FIRST
        self._go_on()

    def _bring(self) -> Duration:
        """Bring what is due, a transaction at a time; return how long to wait if somebody undoes what we do."""
        due = list(self._due.values())
        for start in range(0, max(len(due), 1), BATCH):
            piece = due[start : start + BATCH]
            wait = self.upkeep.bring(piece)
            if not self.upkeep.gone:
                self._settled(piece)
            if wait:
                break
        return wait

    def _go_on(self) -> None:
        """Go on with a recovery a piece at a time; what is read meanwhile comes in between."""
        if self.upkeep.recovery and self._piece is None:
            self._piece = self._loop.call_later(0, self._restore_some)

    def _restore_some(self) -> None:
        self._piece = None
        if self.paused or self._retry is not None:
            return  # the next success goes on
        try:
            self.upkeep.restore_some()
        except FirewallError as error:
            self._fail(error)
        self.settle()
        self._go_on()

    def _bring_by_set(self) -> None:
        """Bring what is due set by set: one full set fails the batch of all, and may not disarm the others."""
        sets: dict[tuple[Scope, bytes], list[Change]] = {}
        for change in self._due.values():
            sets.setdefault((change.ban.scope, change.ban.source[:2]), []).append(change)
        for changes in sets.values() if len(sets) > 1 else ():
            with suppress(FirewallError):
                self.firewall.apply(changes, self.now())
                self._settled(changes)

    def _settled(self, changes: list[Change]) -> None:
        """Note and report what is true in the kernel now."""
        now = self.now()
        self.engine.confirm([change.ban.source for change in changes if change.op is Op.ADD], self.wall())
        for change in changes:
            del self._due[change.ban.source]
            self._tried.discard(change.ban.source)
            if change.op is Op.ADD:
                self.latency.note(change.ban, now)
                self._held[change.ban.source] = change.ban.scope
            else:
                self._held.pop(change.ban.source, None)
            if change.ban.source in self._untold:
                self._untold.discard(change.ban.source)
            else:
                self.recorder.record(change)

    def _fail(self, error: FirewallError) -> None:
        self.engine.tally.add("firewall.failed")
        if not self.problem:
            log.error("the kernel refused a change, trying again: %s", error)
        self.problem = str(error)
        now = self.now()
        for source in [source for source, change in self._due.items() if change.ban.until <= now]:
            self._tried.discard(source)
            self._untold.discard(source)
            if self._due.pop(source).op is Op.REMOVE:
                self._held.pop(source, None)  # it has ended by itself
        self._retry = self._loop.call_later(self._retry_in, self._try_again)
        self._retry_in = min(self._retry_in * 2, RETRY_LAST)

    def _try_again(self) -> None:
        self._retry = None
        self.upkeep.set_anew()
        self._apply()

    def _tick(self, now: Instant) -> None:
        deadline = self.engine.deadline
        self.engine.tick(now)
        assert deadline is None or self.engine.deadline != deadline, "a deadline that was handled is over"
        self.settle()
