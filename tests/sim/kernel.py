"""The kernel of the simulation: the model that the backends are tested against, with a clock, enemies and bad days.

An element ends when the kernel's own clock says so, whether the guard lives or not.
"""

from __future__ import annotations

from dataclasses import replace

from guard.core.ban import Change, Op
from guard.core.units import MILLISECOND, SECOND, Instant
from guard.errors import FirewallError, TableGone
from guard.firewall import NEVER, News
from guard.firewall.memory import Memory
from tests.sim.clockwork import Crash

FD = 77
KINDS = ("setup", "apply", "restore", "accept", "close_ports", "teardown")


class Kernel:
    """What outlives the guard until a reboot."""

    def __init__(self, clock, chance, note):
        self.clock = clock
        self.chance = chance
        self.note = note
        self.boot()
        self.refuse = 0  # so many calls from now on
        self.refuse_until = 0
        self.slow = 0  # nanoseconds that a call takes
        self.crash_in = None  # so many calls from now on the process dies, before or after the kernel has done it
        self.crash_after = False
        self.disturbed_at = None  # when somebody else changed what is ours
        self.unheard = set()  # what was changed and nobody can be told of
        self.told = {}  # what waits at the monitor
        self.calls = 0
        self.refused = 0

    def boot(self):
        """Begin with empty tables."""
        self.model = Memory()
        self.table = False
        self.whole = True
        self.unheard = set()
        self.told = {}

    def elements(self):
        """Give what is held now, with the instant of its end."""
        self.model._expire(Instant(self.clock.mono))
        return dict(self.model._ends)

    # What the guard asks, by way of Front.

    def call(self, kind, act):
        """Carry out a call of the guard, or refuse it."""
        self.calls += 1
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_in = None
                if self.crash_after and not self._refuses():
                    act()
                raise Crash
        if self.slow:
            self.clock.go(self.chance.randrange(self.slow))
        if self._refuses():
            self.refused += 1
            self.note(f"kernel refuses {kind}")
            raise FirewallError("no memory for a batch")
        return act()

    def _refuses(self):
        if self.refuse:
            self.refuse -= 1
            return True
        return self.clock.mono < self.refuse_until

    # What others do.

    def flush(self, loop):
        """Do what `nft flush ruleset` does."""
        self.table = False
        self.model._ends.clear()
        self._disturb(loop, shape=True)

    def damage(self, loop):
        """Change a rule of ours; the sets stay."""
        self.whole = False
        self._disturb(loop, shape=True)

    def vanish(self, count, loop):
        """Delete elements by hand."""
        held = sorted(self.elements())
        gone = self.chance.sample(held, min(count, len(held)))
        for key in gone:
            del self.model._ends[key]
        if gone:
            self._disturb(loop, lost=gone)
        return gone

    def put_in(self, source, scope, length, loop):
        """Add an element by hand."""
        if self.table:
            self.model._ends[source, scope] = Instant(self.clock.mono + length)
            self._disturb(loop, found={(source, scope): length / SECOND})

    def overflow(self, loop):
        """Change so much that the monitor's buffer runs over."""
        gone = self.vanish(3, None)
        if loop is not None and FD in loop.readers:
            self.unheard.difference_update(gone)
        self._disturb(loop, overflow=True)

    def _disturb(self, loop, **what):
        self.disturbed_at = self.clock.mono
        if loop is None or FD not in loop.readers:
            for key in [*what.get("lost", ()), *what.get("found", ())]:
                self.unheard.add(key)
            return
        for kind, value in what.items():
            if kind == "lost":
                self.told.setdefault(kind, []).extend(value)
            elif kind == "found":
                self.told.setdefault(kind, {}).update(value)
            else:
                self.told[kind] = value
        loop.readable(FD)


class Front(Memory):
    """One life's backend. A life that is over changes nothing any more."""

    name = "simulation"

    def __init__(self, kernel, *, hears):
        super().__init__()
        self.kernel = kernel
        self.hears = hears
        self.dead = False

    def _do(self, kind, act):
        if self.dead:
            raise FirewallError("this life is over")
        kernel = self.kernel

        def checked():
            if kind not in {"setup", "teardown"} and not kernel.table:
                raise TableGone("table inet astguard is gone")
            return act(kernel.model)

        return kernel.call(kind, checked)

    def setup(self, layout, bans=(), now=NEVER):
        def act(model):
            self.kernel.table = self.kernel.whole = True
            Memory.setup(model, layout)
            self._apply(model, [Change(Op.ADD, ban) for ban in bans], now)

        self._do("setup", act)

    def apply(self, changes, now):
        self._do("apply", lambda model: self._apply(model, changes, now))

    def restore(self, bans, now):
        def act(model):
            held = self.kernel.elements()
            missing = [Change(Op.ADD, ban) for ban in bans if (ban.source, ban.scope) not in held]
            self._apply(model, missing, now)

        self._do("restore", act)

    def _apply(self, model, changes, now):
        """Give each element what is left of its ban at `now`, in whole milliseconds from this moment on."""
        here = Instant(self.kernel.clock.mono)
        timed = []
        for op, ban in changes:
            left = -(-(ban.until - now) // MILLISECOND) * MILLISECOND
            timed.append(Change(op, replace(ban, until=Instant(here + left)) if op is Op.ADD else ban))
        Memory.apply(model, timed, here)
        for change in changes:
            self.kernel.note(f"kernel {change.op} {change.ban.source.hex()} {change.ban.scope}")
            self.kernel.unheard.difference_update({key for key in self.kernel.unheard if key[0] == change.ban.source})

    def close_ports(self, ports):
        self._do("close_ports", lambda model: Memory.close_ports(model, ports))

    def accept(self, added, gone):
        if self.kernel.chance.random() < 0.2:
            return False
        return self._do("accept", lambda model: Memory.accept(model, added, gone))

    def teardown(self):
        def act(model):
            was, self.kernel.table = self.kernel.table, False
            Memory.teardown(model)
            return was

        return self._do("teardown", act)

    def look(self):
        if self.dead:
            raise FirewallError("this life is over")
        if not self.kernel.table:
            raise TableGone("table inet astguard is gone")
        if not self.kernel.whole:
            raise TableGone("rule by somebody else is not ours", bans_kept=True)

    def watch(self):
        return Monitor(self.kernel) if self.hears else None

    def listing(self):
        here = self.kernel.clock.mono
        held = {key: (end - here) / SECOND for key, end in sorted(self.kernel.elements().items())}
        self.kernel.unheard.clear()
        return iter([held])

    def dropped(self):
        if not self.kernel.table:
            raise TableGone("table inet astguard is gone")
        return {}


class Monitor:
    """Tells what others did."""

    def __init__(self, kernel):
        self._kernel = kernel
        self._kernel.told = {}

    def fileno(self):
        return FD

    def drain(self):
        told, self._kernel.told = self._kernel.told, {}
        return News(**told, by="somebody")

    def close(self):
        pass
