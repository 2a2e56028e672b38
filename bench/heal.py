"""How soon are all bans back when somebody has flushed nftables, and what does that cost beside a bare loop?

A process holds the bans, a hundred of them a moment old; a second socket deletes the table, as `nft flush ruleset`
does, and the clock starts. In turn with that, the same messages are sent by a loop that does nothing else, with the
kernel's monitor listening as it does for astguard; and `nft -f` loads the same elements. Costs are compared in seconds
of a processor, the kernel's included: on a busy machine the clock tells of others. Memory is the peak, less what there
was before.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from bench.figure import Figure
from bench.machine import forget_peak, memory_of
from guard.core.ban import Ban
from guard.core.engine import Engine
from guard.core.units import HOUR, MINUTE, Instant
from guard.daemon.enforcer import Enforcer
from guard.daemon.healer import Healer
from guard.daemon.recorder import Recorder
from guard.daemon.service import _spare_the_collector
from guard.daemon.takeover import put_back
from guard.firewall import Layout
from guard.firewall import nftopology as topology
from guard.firewall.nfsocket import NetlinkSocket
from guard.firewall.nftables import Nftables
from tests.kernel.conftest import hosts
from tests.netns import namespace

TREE = Path(__file__).parents[1]
NUMBERS = (10_000, 100_000, 1_000_000)
LATELY = 100
MOST = 1.5

_libc = ctypes.CDLL(None)


class Recording(NetlinkSocket):
    """A socket that keeps what is sent, as long as it is told to."""

    def __init__(self):
        super().__init__()
        self.kept = None

    def commit(self, messages):
        if self.kept is not None:
            self.kept.append(list(messages))
        return super().commit(messages)


class Held:
    """An enforcer and its healer that hold so many bans in the kernel."""

    def __init__(self, number):
        self.loop = asyncio.get_running_loop()
        engine = Engine([], capacity=number + LATELY)
        now = Instant(time.monotonic_ns())
        old, until = Instant(now - 2 * MINUTE), Instant(now + HOUR)
        engine.memory.restore_bans(
            Ban(source=source, rule="bench", since=at, until=until)
            for at, sources in ((old, hosts(number - LATELY)), (now, hosts(LATELY, 172 << 24)))
            for source in sources
        )
        self.firewall = Nftables()
        self.firewall._kernel = self.sent = Recording()  # noqa: SLF001 - to send the same again
        self.enforcer = Enforcer(
            engine, self.firewall, Layout(set_size=number + LATELY), Recorder(),
            loop=self.loop, mono_ns=time.monotonic_ns, wall_ns=time.time_ns,
        )  # fmt: skip
        put_back(self.enforcer)
        self.enforcer.settle()
        self.healer = Healer(self.enforcer, loop=self.loop)
        self.healer._adopt = _nothing  # noqa: SLF001 - a listing beside it would be measured too

    async def heal(self):
        """Lose all bans and get them back; return seconds until the first and the last of them, and what it took."""
        upkeep = self.enforcer.upkeep
        upkeep.recovery._losses.clear()  # noqa: SLF001 - or the third time would be taken for a fight
        _libc.malloc_trim(0)
        forget_peak(os.getpid())
        before = memory_of(os.getpid())
        drop()
        start, spent = time.perf_counter(), time.process_time()
        last, first, worst = start, 0.0, 0.0
        while not first or upkeep.recovery or upkeep.waits:
            await asyncio.sleep(0)
            at = time.perf_counter()
            worst, last = max(worst, at - last), at
            if not first and upkeep.recovery:
                first = at - start
        return {
            "first": first,
            "all": at - start,
            "spent": time.process_time() - spent,
            "stall": worst,
            "memory": memory_of(os.getpid(), "VmHWM") - before,
        }


async def _nothing():
    return


def drop():
    kernel = NetlinkSocket()
    kernel.commit([topology.drop_table()])
    kernel.close()


async def measured(number, rounds):
    """Heal in turn with the bare loop and nft; return what each round took."""
    held = Held(number)
    task = asyncio.create_task(held.healer.run())
    _spare_the_collector()  # as the daemon does
    await asyncio.sleep(0.2)
    peak = (await held.heal())["memory"]  # the first time: later ones find memory that was taken before
    held.sent.kept = messages = []
    await held.heal()
    held.sent.kept = None
    taken = {"heal": [], "bare": [], "nft": []}
    for _ in range(rounds):
        taken["heal"].append(await held.heal())
        taken["bare"].append(await asyncio.to_thread(_elsewhere, bare, messages))
        taken["nft"].append(await asyncio.to_thread(_elsewhere, by_nft, number))
    held.firewall.look()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    held.enforcer.stop()
    return taken | {"peak": peak}


def _elsewhere(work, *arguments):
    """Do it in a namespace of its own: a flush there is not noticed here."""
    with namespace("bare") as place, place.inside():
        return work(*arguments)


def bare(messages):
    """Send the same messages in a loop while a monitor listens, as astguard's does; return seconds of a processor."""
    kernel = NetlinkSocket()
    firewall = Nftables()
    firewall._kernel = kernel  # noqa: SLF001
    monitor = firewall.watch()
    start = time.thread_time()
    for batch in messages:
        refusal = kernel.commit(batch)
        assert refusal is None, refusal
    took = time.thread_time() - start
    monitor.close()
    kernel.close()
    return took


def by_nft(number):
    """Load the same elements with `nft -f`, into a set that is empty; return seconds of a processor."""
    firewall = Nftables()
    firewall.setup(Layout(set_size=number + LATELY))
    firewall.close()
    with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
        keys = (".".join(map(str, source[2:])) for source in hosts(number))
        file.write("add element inet astguard all4_32 {\n")
        file.writelines(f"{key} timeout 1h,\n" for key in keys)
        file.write("}\n")
        file.flush()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["nft", "-f", file.name], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(*, quick):
    for number in NUMBERS[: 2 if quick else 3]:
        rounds = 5 if quick else 7
        done = subprocess.run(
            [sys.executable, "-m", "bench.heal", str(number), str(rounds)],
            cwd=TREE, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(done.stderr[-2_000:])
        taken = json.loads(done.stdout)
        heal = {key: tuple(one[key] for one in taken["heal"]) for key in taken["heal"][0]}
        beside = {"bare loop": tuple(taken["bare"]), "nft -f": tuple(taken["nft"])}
        ratios = tuple(one / other for one, other in zip(heal["spent"], taken["bare"], strict=True))
        yield Figure(f"{number:,} bans healed, of a processor", heal["spent"], "s", beside=beside)
        yield Figure("  times the bare loop", ratios, "x", must=MOST)
        yield Figure("  until the latest are back", tuple(value * 1e3 for value in heal["first"]), "ms")
        yield Figure("  until all are back", heal["all"], "s")
        yield Figure("  the longest that nothing is read", tuple(value * 1e3 for value in heal["stall"]), "ms")
        yield Figure("  memory at its peak, more than before", (taken["peak"],), "MB")


if __name__ == "__main__":
    with namespace("bench") as place, place.inside():
        print(json.dumps(asyncio.run(measured(*map(int, sys.argv[1:])))))
