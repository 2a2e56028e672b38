"""The whole simulation of one seed: draws what happens next, lets it happen, and has the laws checked after it."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from guard.core.address import parse_host
from tests.sim.asterisk import Asterisk
from tests.sim.clockwork import Clock
from tests.sim.disk import Disk
from tests.sim.kernel import Kernel
from tests.sim.laws import Broken, Handler, Laws
from tests.sim.life import SECRET, Life, inputs_of
from tests.sim.rules import RULES
from tests.sim.steps import HOURLY, STEPS
from tests.sim.traffic import Traffic

STEPS_OF_A_SEED = 120
FAST = Path("/dev/shm")  # SQLite syncs after every transaction, and what is tested is not this machine's disk
SECOND = 1_000_000_000


class Failure(Exception):
    """A law was broken; says where, and how to see it again."""

    def __init__(self, seed, step, what, reason, trace):
        super().__init__(f"seed {seed}, step {step} ({what}): {reason}\nsee it again: script/sim {seed} --step {step}")
        self.seed, self.step, self.reason, self.trace = seed, step, reason, trace


class World:
    """All that one seed decides. `seen` counts the hard cases, `digest` is of everything that was observable."""

    def __init__(self, seed, folder, *, echo=None):
        self.seed = seed
        self.folder = folder
        self.chance = Random(seed)
        self.clock = Clock()
        self.seen = Counter()
        self.flags = set()
        self.lines = []
        self.echo = echo
        self._hash = hashlib.sha256()
        self.own = frozenset({parse_host("203.0.113.10")})
        self.fresh = set()
        self.names = {"sip.provider.example": ["192.0.2.129"]}
        self.kernel = Kernel(self.clock, self.chance, self.note)
        self.disk = Disk(self.chance, self.note)
        self.asterisk = Asterisk(self, folder, SECRET)
        self.traffic = Traffic(self)
        self.laws = Laws(self)
        self.life = None
        self.refused_before = 0
        self.rules = list(RULES)
        self.options = {
            "logs": self.chance.random() < 0.6,
            "names": ("sip.provider.example",) if self.chance.random() < 0.3 else (),
        }

    def note(self, text):
        """Take down what happened."""
        line = f"{self.clock.mono} {self.clock.wall} {text}"
        self._hash.update(line.encode(errors="backslashreplace") + b"\n")
        if self.echo is not None:
            self.echo(line)

    def saw(self, case):
        """Count a case."""
        self.seen[case] += 1

    @property
    def digest(self):
        return self._hash.hexdigest()

    @property
    def loop(self):
        """The loop of whoever lives."""
        return None if self.life is None or self.life.dead else self.life.loop

    def ask(self, what, *arguments):
        """Have somebody ask the desk."""
        self.laws.asked(what, arguments[0] if arguments else None)
        self.life.ask(what, getattr(self.life.service._desk, what), *arguments)

    def reboot(self):
        """Let the machine begin anew."""
        self.kernel.boot()
        passed = self.clock.mono
        self.clock.boot()
        for thing in (self.asterisk, self.kernel):
            for name in ("down_until", "refusing_until", "hanging_until", "mute_until", "refuse_until"):
                if hasattr(thing, name):
                    setattr(thing, name, max(0, getattr(thing, name) - passed + self.clock.mono))
        self.kernel.disturbed_at = None

    def resolve(self, name):
        """Answer as DNS does, which may lie or fall silent."""
        if self.chance.random() < 0.3:
            raise OSError(-3, "Temporary failure in name resolution")
        return self.names[name]

    def inputs(self):
        """Make what the files say now."""
        return inputs_of(self.folder, self.rules, **self.options)

    def play(self, steps=STEPS_OF_A_SEED):
        """Run to the end; Failure if a law is broken on the way."""
        step, what = 0, "start"
        handler, log = Handler(self), logging.getLogger("astguard")
        before = log.level
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            self.start()
            for step in range(1, steps + 1):
                what = self.choose()
                self.note(f"step {step} {what}")
                self.saw(what)
                STEPS[what][1](self)
                self.go_on()
            step, what = steps + 1, "end"
            self.note("end")
            self.end()
        except Exception as error:
            reason = str(error) if isinstance(error, Broken) else traceback.format_exc()
            raise Failure(self.seed, step, what, reason, self.digest) from error
        finally:
            if self.life is not None and not self.life.dead:
                self.life.die()
            log.removeHandler(handler)
            log.setLevel(before)

    def choose(self):
        """Draw what happens next; what can only happen to a daemon that runs needs one."""
        up = self.life is not None and self.life.is_up
        names = [name for name, (_, _, needs_up) in STEPS.items() if up or not needs_up]
        return self.chance.choices(names, [STEPS[name][0] for name in names])[0]

    def go_on(self):
        """Let a drawn time pass, and look at the laws."""
        if self.life is None:
            self.clock.go(self.chance.randrange(3 * SECOND))
            if self.chance.random() < 0.6:
                self.start()
            return
        was_up = self.life.is_up
        self.refused_before = self.kernel.refused
        lived = self.life.live(self.chance.choice(HOURLY))
        if not lived:
            self.saw("died")
            self.life = None
            return
        if self.life.is_up and not was_up:
            self.laws.restarted(self.life)
        self.laws.hold(self.life)

    def start(self):
        """Start a daemon."""
        self.life = Life(self, self.inputs())
        self.life.begin()
        self.saw("start")

    def end(self):
        """Let all faults be over, and see everything come right."""
        self.kernel.refuse = self.kernel.refuse_until = self.kernel.slow = 0
        self.kernel.crash_in = self.disk.crash_in = None
        self.disk.fails, self.disk.slow = 0, 0.0
        asterisk = self.asterisk
        asterisk.down_until = asterisk.refusing_until = asterisk.hanging_until = asterisk.mute_until = 0
        asterisk.greeting = b"Asterisk Call Manager/11.0.0\r\n"
        if self.life is None:
            self.start()
        self.life.loop.turns_left = None
        if asterisk.wire is not None:
            asterisk.wire.cut()  # who logged in without `read = security` hears nothing until he logs in again
        for _ in range(60):
            was_up = self.life.is_up
            if not self.life.live(4 * SECOND):
                self.start()
                continue
            if self.life.is_up and not was_up:
                self.laws.restarted(self.life)
            self.laws.hold(self.life)
            if self.life.is_up and self.life.service._pause.span is not None:
                self.ask("resume")
        self.laws.settled(self.life)
        self.life.stop()
        self.life = None
        self.saw("end")


def play(seed, *, steps=STEPS_OF_A_SEED, echo=None):
    """Play one seed and return its world; Failure if a law is broken."""
    folder = Path(tempfile.mkdtemp(prefix="astguard-sim-", dir=FAST if os.access(FAST, os.W_OK) else None))
    try:
        world = World(seed, folder, echo=echo)
        world.play(steps)
        return world
    finally:
        shutil.rmtree(folder, ignore_errors=True)
