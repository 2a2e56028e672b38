"""An enforcer with all that it needs, on a clock that stands still and a kernel that can be told to refuse."""

from __future__ import annotations

import heapq
import itertools

from guard.core.address import parse_source
from guard.core.ban import Change, Op
from guard.core.engine import Engine
from guard.core.units import SECOND
from guard.daemon.enforcer import Enforcer
from guard.daemon.recorder import Recorder
from guard.daemon.takeover import take_over
from guard.errors import FirewallError, TableGone
from guard.firewall import NEVER, Layout
from guard.firewall.memory import Memory
from tests.events import event, rule

ONE, TWO, THREE = (parse_source(f"198.51.100.{n}") for n in (1, 2, 3))


class Loop:
    """Timers on a clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1_000 * SECOND
        self.timers = []
        self._numbers = itertools.count()

    def call_later(self, delay, callback, *arguments):
        timer = Timer(self.now + round(delay * SECOND), next(self._numbers), callback, arguments)
        heapq.heappush(self.timers, timer)
        return timer

    def advance(self, duration):
        """Let time pass; what is due happens at its instant."""
        until = self.now + duration
        while self.timers and self.timers[0].at <= until:
            timer = heapq.heappop(self.timers)
            self.now = max(self.now, timer.at)
            if not timer.cancelled:
                timer.callback(*timer.arguments)
        self.now = until

    @property
    def waiting(self):
        return [timer for timer in self.timers if not timer.cancelled]


class Timer:
    def __init__(self, at, number, callback, arguments):
        self.at, self.number, self.callback, self.arguments = at, number, callback, arguments
        self.cancelled = False

    def __lt__(self, other):
        return (self.at, self.number) < (other.at, other.number)

    def cancel(self):
        self.cancelled = True


class Kernel(Memory):
    """A kernel that refuses as often as it is told, and whose table somebody may remove."""

    def __init__(self):
        super().__init__()
        self.refuses = 0
        self.table = False
        self.whole = True  # no rule of ours was changed
        self.looks = []
        self.lacks_set = False  # for a prefix length of the allowlist
        self.calls = []

    def setup(self, layout, bans=(), now=NEVER):
        self._call("setup" if not bans else f"setup with {len(bans)}")
        self.table = self.whole = True
        super().setup(layout)
        Memory.apply(self, [Change(Op.ADD, ban) for ban in bans], now)

    def look(self):
        self.looks.append(self._now)
        if not self.table:
            raise TableGone("table inet astguard is gone")
        if not self.whole:
            raise TableGone("rule by somebody else is not ours", bans_kept=True)

    def restore(self, bans, now):
        if not self.table:
            raise TableGone("table inet astguard is gone")
        self._call(f"restore {len(bans)}")
        Memory.apply(self, [Change(Op.ADD, ban) for ban in bans if (ban.source, ban.scope) not in self._ends], now)

    def apply(self, changes, now):
        if not self.table:
            raise TableGone("table inet astguard is gone")
        self._call(len(changes))
        super().apply(changes, now)

    def close_ports(self, ports):
        if not self.table:
            raise TableGone("table inet astguard is gone")
        self._call(set(ports))
        super().close_ports(ports)

    def accept(self, added, gone):
        if not self.table:
            raise TableGone("table inet astguard is gone")
        if self.lacks_set:
            return False
        self._call(("accept", *added, *gone))
        return super().accept(added, gone)

    def dropped(self):
        if not self.table:
            raise TableGone("table inet astguard is gone")
        return {}

    def teardown(self):
        self.table = False
        return super().teardown()

    def flush(self, *, bans=True):
        """Do what `nft flush ruleset` does; without `bans`, somebody removed a set of ours that was empty."""
        self.table = False
        if bans:
            self._ends = {}

    def _call(self, what):
        if self.refuses:
            self.refuses -= 1
            raise FirewallError("out of memory")
        self.calls.append(what)


class House:
    """An enforcer with all that it needs."""

    def __init__(self, *, capacity=1_000_000, **rule_changes):
        self.loop = Loop()
        self.kernel = Kernel()
        self.engine = Engine([rule(threshold=1, **rule_changes)], capacity=capacity)
        self.enforcer = Enforcer(
            self.engine,
            self.kernel,
            Layout(),
            Recorder(),
            loop=self.loop,
            mono_ns=lambda: self.loop.now,
            wall_ns=lambda: self.loop.now,
        )
        take_over(self.enforcer)

    def attack(self, *sources):
        self.enforcer.handle([event(source, at=self.loop.now) for source in sources])

    def attack_at(self, port, source):
        self.enforcer.handle([event(source, at=self.loop.now, port=port)])

    def unban(self, source):
        assert self.engine.unban(source, self.loop.now)
        self.enforcer.settle()

    @property
    def elements(self):
        self.kernel._expire(self.loop.now)
        return set(self.kernel.held())

    @property
    def held(self):
        return {source for source, _ in self.elements}

    @property
    def counts(self):
        return self.engine.tally.counts
