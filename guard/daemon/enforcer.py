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
from guard.core.outcome import Outcome
from guard.core.units import SECOND, Duration, Instant, Wall
from guard.daemon.latency import Latency
from guard.daemon.wakeup import Wakeup
from guard.errors import FirewallError, TableGone

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.engine import Engine
    from guard.core.event import SecurityEvent
    from guard.core.rule import Scope
    from guard.daemon.recorder import Recorder
    from guard.firewall import Firewall, Layout

log = logging.getLogger("astguard")

RETRY_FIRST = 0.1
RETRY_LAST = 5.0
"""Seconds until a refused batch is tried again, doubling from first to last."""
LOOK = Duration(SECOND)
"""From one look at our table to the next, while banned sources are heard."""

_BANNED = frozenset({Outcome.ALREADY_BANNED, Outcome.AFTER_BAN})


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
        self.layout = layout
        self.recorder = recorder
        self.latency = Latency()
        self.problem, self.paused = "", False  # paused: the kernel holds nothing, on purpose
        self._loop = loop
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns
        self._due: dict[Source, Change] = {}
        self._held: dict[Source, Scope] = {}  # what the kernel was made to hold
        self._look_at = Instant(0)
        self._layout_due = self._ports_due = False
        self._accept_due: dict[Source, bool] = {}  # who is accepted by now, or no longer
        self._gone = False  # the table has to be made again, with all bans
        self._retry_in = RETRY_FIRST
        self._retry: asyncio.TimerHandle | None = None
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
        self.layout = replace(self.layout, allow=tuple(self.engine.allow), sip_ports=self.engine.sip_ports)

    def hold(self, held: Iterable[tuple[Source, Scope]]) -> None:
        """Take note that the kernel holds bans of an earlier life, which were reported then."""
        wall = self.wall()
        for source, scope in held:
            self._held[source] = scope
            self.engine.confirm(source, wall)

    def owe(self, bans: Iterable[Ban]) -> None:
        """Take note that the kernel does not hold bans as it should; `settle` brings them there."""
        self._due.update((ban.source, Change(Op.ADD, ban)) for ban in bans)

    def stop(self) -> None:
        """Give up timers and sockets. The bans stay in the kernel, and end there on time."""
        self._wakeup.stop()
        if self._retry is not None:
            self._retry.cancel()
        self.firewall.close()

    def handle(self, events: list[SecurityEvent]) -> None:
        """Judge events that have just been read."""
        outcomes = self.engine.handle(events, self.now(), self.wall())
        if not _BANNED.isdisjoint(outcomes) and self.now() >= self._look_at:
            self._look()  # somebody was heard whom our table should keep out
        self.settle()

    def check(self) -> None:
        """Look whether our table is still there, and make it again if it is not."""
        self._look()
        self.settle()

    def settle(self) -> None:
        """Bring the engine's new changes to the kernel, then report them, and set the timer anew."""
        if self.engine.take_ports():
            self.layout = replace(self.layout, sip_ports=self.engine.sip_ports)
            self._ports_due = True
            log.info("learn port: a ban of the SIP ports closes %s", ", ".join(map(str, self.engine.sip_ports)))
        for change in self.engine.take_changes():
            op, source = change.op, change.ban.source
            if op is Op.OBSERVE:
                self.recorder.record(change)
                continue
            self._due.pop(source, None)  # the later change of a source goes last
            if op is Op.ADD:
                self._due[source] = change
            elif source not in self._held:
                pass  # a ban that never was in the kernel, and never reported, is over
            elif op is Op.REMOVE and not self.paused:
                # From where it is: a stronger ban may not have got to the kernel yet.
                self._due[source] = Change(op, replace(change.ban, scope=self._held[source]))
            else:
                del self._held[source]  # the kernel has ended it by itself, or holds nothing
                self.recorder.record(change)
        waits = self._due or self._layout_due or self._ports_due or self._accept_due or self._gone
        if waits and self._retry is None and not self.paused:
            self._apply()
        for alarm in self.engine.take_alarms():
            self.recorder.tell(alarm)
        self._wakeup.set(self.engine.deadline)

    def allow(self, added: Iterable[Source], gone: Iterable[Source]) -> list[Source]:
        """Change the allowlist: in the engine, which lifts the bans it touches, and in the kernel.

        Return whose bans were lifted.
        """
        lifted = []
        for source in added:
            lifted += self.engine.allow_source(source, self.now())
            self._accept_due[source] = True
        for source in gone:
            self.engine.disallow_source(source)
            self._accept_due[source] = False
        self.layout = replace(self.layout, allow=tuple(self.engine.allow))
        self.settle()
        return lifted

    def reshape(self, slow_rate: int) -> None:
        """Bring the engine's ports, and the rate of the scope `slow`, to the kernel after a reload."""
        self.engine.take_ports()
        layout = replace(self.layout, sip_ports=self.engine.sip_ports, slow_rate=slow_rate)
        if layout != self.layout:
            self.layout, self._layout_due = layout, True
        self.settle()

    def pause(self) -> None:
        """Take all bans out of the kernel at once, and bring none until `resume`; FirewallError if it refuses."""
        self.firewall.teardown()
        self.paused, self.problem = True, ""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._settled([change for change in self._due.values() if change.op is Op.REMOVE])
        self.engine.unconfirm()

    def resume(self) -> None:
        """Bring the bans of the ledger to the kernel again."""
        self.paused, self._gone = False, True
        self.settle()

    def _apply(self) -> None:
        try:
            self._bring()
        except FirewallError as error:
            if not (self._gone or self._layout_due):
                self._bring_by_set()
            self._fail(error)
            return
        if self.problem:
            log.info("the kernel takes our changes again")
        self.problem, self._retry_in = "", RETRY_FIRST
        self._settled(list(self._due.values()))

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
        for change in changes:
            del self._due[change.ban.source]
            if change.op is Op.ADD:
                self.latency.note(change.ban, now)
                self._held[change.ban.source] = change.ban.scope
                self.engine.confirm(change.ban.source, self.wall())
            else:
                self._held.pop(change.ban.source, None)
            self.recorder.record(change)

    def _bring(self) -> None:
        """Bring what is due to the kernel; FirewallError if it refuses."""
        if not self._gone:
            try:
                if self._layout_due or not self._adjust():
                    self.firewall.dropped()  # setup() alone would make a lost table again without the bans in it
                    self._set_up()
                self.firewall.apply(list(self._due.values()), self.now())
            except TableGone as error:
                self._lose(error)
            else:
                return
        self._set_up()
        lifted = [change for change in self._due.values() if change.op is Op.REMOVE]  # setup() keeps what is left
        self.firewall.apply([*lifted, *(Change(Op.ADD, ban) for ban in self.engine.ledger)], self.now())
        self._gone = False

    def _adjust(self) -> bool:
        """Bring ports and accepted networks as elements: a whole setup() takes 10 to 100 ms. False if it needs one."""
        if self._ports_due:  # the attack goes on meanwhile
            self.firewall.close_ports(self.layout.sip_ports)
            self._ports_due = False
        if self._accept_due:
            added, gone = (
                [source for source, accepted in self._accept_due.items() if accepted is wanted]
                for wanted in (True, False)
            )
            if not self.firewall.accept(added, gone):
                return False
            self._accept_due.clear()
        return True

    def _set_up(self) -> None:
        self.firewall.setup(self.layout)
        self._layout_due = self._ports_due = False
        self._accept_due.clear()

    def _look(self) -> None:
        """Look whether our table is still there."""
        self._look_at = Instant(self.now() + LOOK)
        try:
            self.firewall.dropped()
        except TableGone as error:
            if not (self._gone or self.paused):
                self._lose(error)
        except FirewallError:
            log.debug("no look at our table", exc_info=True)  # the next change will show what is wrong

    def _lose(self, error: TableGone) -> None:
        log.warning("our table is gone (%s); making it again with %d bans", error, len(self.engine.ledger))
        self.engine.tally.add("firewall.rebuilt")
        self._gone = True

    def _fail(self, error: FirewallError) -> None:
        self.engine.tally.add("firewall.failed")
        if not self.problem:
            log.error("the kernel refused a change, trying again: %s", error)
        self.problem = str(error)
        now = self.now()
        for source in [source for source, change in self._due.items() if change.ban.until <= now]:
            if self._due.pop(source).op is Op.REMOVE:
                self._held.pop(source, None)  # it has ended by itself
        self._retry = self._loop.call_later(self._retry_in, self._try_again)
        self._retry_in = min(self._retry_in * 2, RETRY_LAST)

    def _try_again(self) -> None:
        self._retry = None
        self._layout_due = True  # whatever somebody did to our table, setup() mends it
        self._apply()

    def _tick(self, now: Instant) -> None:
        deadline = self.engine.deadline
        self.engine.tick(now)
        assert deadline is None or self.engine.deadline != deadline, "a deadline that was handled is over"
        self.settle()
