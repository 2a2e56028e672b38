"""An enforcer and its healer at work in a namespace, while others change nftables there."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import asynccontextmanager, suppress

from guard.core.address import show
from guard.core.engine import Engine
from guard.core.units import HOUR, Instant
from guard.daemon.enforcer import Enforcer
from guard.daemon.healer import Healer
from guard.daemon.recorder import Recorder
from guard.daemon.takeover import put_back
from guard.firewall import Layout
from guard.firewall.choice import choose
from tests.netns import namespace

PATIENCE = 10.0


class Guarded:
    """What runs: `ban` and `run` are what the tests do with it."""

    def __init__(self, place, layout=None):
        self.place = place
        self.loop = asyncio.get_running_loop()
        self.engine = Engine([])
        self.firewall = choose("nftables")
        self.enforcer = Enforcer(
            self.engine,
            self.firewall,
            layout or Layout(),
            Recorder(),
            loop=self.loop,
            mono_ns=time.monotonic_ns,
            wall_ns=time.time_ns,
        )
        self.healer = Healer(self.enforcer, loop=self.loop)
        self.stalls = []

    def now(self):
        return self.enforcer.now()

    def ban(self, *sources, scope=None, at=None):
        for source in sources:
            self.engine.ban(source, HOUR, Instant(at or self.now()), **({"scope": scope} if scope else {}))
        self.enforcer.settle()

    async def run(self, *command, text=None):
        """Run somebody else's command in the namespace while the loop goes on; a failure shows what it said."""
        process = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", self.place.name, *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate(None if text is None else text.encode())
        assert process.returncode == 0, f"{command}: {said.decode()}"
        return said.decode()

    async def healed(self):
        """Wait until the kernel holds the ledger again; return the seconds that took."""
        start = self.loop.time()
        while True:
            await asyncio.sleep(0.001)
            if not self.enforcer.upkeep.recovery and not self.enforcer.upkeep.waits and not self.enforcer.problem:
                took = self.loop.time() - start
                # The truth is the kernel's: what it holds is listed, by another socket, in another thread.
                held = await asyncio.to_thread(self._held)
                if held == {(ban.source, ban.scope) for ban in self.engine.ledger}:
                    return took
            assert self.loop.time() - start < PATIENCE, self.missing()

    def _held(self):
        with self.place.inside():
            listed = self.firewall.listing()
        return {banned for part in listed for banned in part}

    def missing(self):
        held = self._held()
        wanted = {(ban.source, ban.scope) for ban in self.engine.ledger}
        return (
            f"missing {[show(source) for source, _ in sorted(wanted - held)[:3]]} of {len(wanted)}, "
            f"too much {[show(source) for source, _ in sorted(held - wanted)[:3]]}; {self.enforcer.problem!r}"
        )


@asynccontextmanager
async def guarded(place, layout=None, **_options):
    """Run a guard in the namespace of the calling thread."""
    made = Guarded(place, layout)
    put_back(made.enforcer)
    made.enforcer.settle()
    task = asyncio.create_task(made.healer.run())
    while not made.healer.adopted:
        assert not task.done(), task.exception()
        await asyncio.sleep(0.001)
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        made.enforcer.stop()


def outside(place):
    """List all that is not our table, in nftables and in both kinds of iptables, counters left out."""
    text = "\n" + place.run("nft", "-s", "list", "ruleset")
    others = [table.strip() for table in text.split("\ntable ") if table.strip()]
    others = [table for table in others if not table.startswith("inet astguard {")]
    legacy = [place.run(f"{name}-legacy-save") for name in ("iptables", "ip6tables")]
    lines = [re.sub(r"\[\d+:\d+\]", "", text).splitlines() for text in legacy]
    return others, [[line for line in one if line[:1] != "#"] for one in lines]


def twin(commands):
    """Return what is outside when the same commands run in a namespace that nobody guards."""
    with namespace("twin") as other:
        for command, text in commands:
            other.run(*command, input=text)
        return outside(other)
