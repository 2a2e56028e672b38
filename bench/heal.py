"""How soon are bans back when somebody has flushed nftables, and what do the sets cost who is not banned?

    script/bench heal [NUMBER ...]          bans to heal; 10000, 100000 and 1000000 if none is named
    script/bench innocent                   what a packet of nobody's pays for each prefix length in use

As root, in network namespaces of its own. For each number a process of its own holds the bans, a hundred of them a
moment old; a second socket deletes the table, as `nft flush ruleset` does, and the clock starts. In the same process
the same messages are then sent by a loop that does nothing else, with the kernel's monitor listening as it does for
astguard, and without; and `nft -f` loads the same elements. What is compared is processor time, the kernel's included:
on a busy machine the clock tells of others. Nothing here judges the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from guard.core.address import parse_source
from guard.core.ban import Ban, Change, Op
from guard.core.engine import Engine
from guard.core.rule import Scope
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
from tests.netns import link, namespace, reason_not_to_run

TREE = Path(__file__).parents[1]
NUMBERS = (10_000, 100_000, 1_000_000)
LATELY = 100
LENGTHS = 24
PACKETS = 60_000
REPEATS = 7


class Recording(NetlinkSocket):
    """A socket that keeps what is sent."""

    def __init__(self):
        super().__init__()
        self.kept = None

    def commit(self, messages):
        if self.kept is not None:
            self.kept.append(list(messages))
        return super().commit(messages)


# Healing.


async def heal(number):
    """Hold the bans, lose them, and get them back; return the figures and what was sent."""
    loop = asyncio.get_running_loop()
    engine = Engine([], capacity=number + LATELY)
    now = Instant(time.monotonic_ns())
    old, until = Instant(now - 2 * MINUTE), Instant(now + HOUR)
    engine.memory.restore_bans(
        Ban(source=source, rule="bench", since=at, until=until)
        for at, sources in ((old, hosts(number - LATELY)), (now, hosts(LATELY, 172 << 24)))
        for source in sources
    )
    firewall = Nftables()
    firewall._kernel = sent = Recording()  # noqa: SLF001 - to send the same again
    enforcer = Enforcer(
        engine, firewall, Layout(set_size=number + LATELY), Recorder(),
        loop=loop, mono_ns=time.monotonic_ns, wall_ns=time.time_ns,
    )  # fmt: skip
    put_back(enforcer)
    enforcer.settle()
    healer = Healer(enforcer, loop=loop)
    healer.adopted = True
    healer._adopt = _nothing  # noqa: SLF001 - a listing beside it would be measured too
    task = asyncio.create_task(healer.run())
    _spare_the_collector()  # as the daemon does
    await asyncio.sleep(0.2)

    before, sent.kept = _memory(), []
    other = NetlinkSocket()
    other.commit([topology.drop_table()])
    start, spent = time.perf_counter(), time.process_time()
    last = start
    first, worst, most = 0.0, 0.0, before
    while True:
        await asyncio.sleep(0)
        at = time.perf_counter()
        worst, last = max(worst, at - last), at
        if not first and sent.kept:
            first = at - start
        if first and not enforcer.upkeep.recovery and not enforcer.upkeep.waits:
            break
    took, spent = at - start, time.process_time() - spent
    most = max(most, _memory())
    messages, sent.kept = sent.kept, None
    await loop.run_in_executor(None, time.sleep, 0.1)
    firewall.look()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    enforcer.stop()
    return {
        "first": first,
        "all": took,
        "spent": spent,
        "stall": worst,
        "memory": most - before,
        "batches": len(messages),
    }, messages


async def _nothing():
    return


def bare(messages, *, heard):
    """Send the same messages in a loop; `heard`: while a monitor listens, as astguard's does."""
    kernel = NetlinkSocket()
    kernel.commit([topology.drop_table()])
    firewall = Nftables()
    firewall._kernel = kernel  # noqa: SLF001
    monitor = firewall.watch() if heard else None
    start = time.process_time()
    for batch in messages:
        refusal = kernel.commit(batch)
        assert refusal is None, refusal
    took = time.process_time() - start
    if monitor is not None:
        monitor.close()
    kernel.close()
    return took


def by_nft(number):
    """Load the same elements with `nft -f`, into a set that is empty."""
    kernel = NetlinkSocket()
    kernel.commit([topology.drop_table()])
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
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    kernel.commit([topology.drop_table()])
    return took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _memory():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def measure(number):
    """Measure one number in this process, in a namespace; print it as JSON."""
    with namespace("bench") as place, place.inside():
        figures, messages = asyncio.run(heal(number))
        figures["heard"] = min(bare(messages, heard=True) for _ in range(2))
        figures["unheard"] = min(bare(messages, heard=False) for _ in range(2))
        del messages
        figures["nft"], figures["nft_memory"] = by_nft(number)
    print(json.dumps(figures))


def heal_all(numbers):
    """Print a table, one row for each number."""
    print("     bans   first    all back     stall  memory     CPU       bare loop          nobody hears       nft -f")
    for number in numbers:
        done = subprocess.run(
            [sys.executable, "-m", "bench.heal", "--measure", str(number)],
            cwd=TREE, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(done.stderr[-2_000:])
        seen = json.loads(done.stdout)
        ratios = "   ".join(
            f"{seen[name]:6.2f} s = 1/{seen['spent'] / seen[name]:4.2f}" for name in ("heard", "unheard", "nft")
        )
        print(
            f"{number:>9,}  {seen['first'] * 1000:>5.1f} ms  {seen['all']:>7.2f} s  {seen['stall'] * 1000:>5.1f} ms  "
            f"{seen['memory'] / 1e6:>3.0f} MB  {seen['spent']:6.2f} s   {ratios}"
        )


# What the innocent pay.


def innocent():
    """Send packets of nobody's past more and more sets, and print the nanoseconds that each prefix length costs."""
    reason = reason_not_to_run("nft")
    if reason:
        sys.exit(f"innocent: not measured, {reason}")
    with namespace("bench") as place, namespace("far") as far:
        link(place, far, ["192.0.2.1/24"], ["192.0.2.66/24"])
        with place.inside():
            firewall = Nftables()
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ear.bind(("192.0.2.1", 12_000))
        with far.inside():
            mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            mouth.connect(("192.0.2.1", 12_000))
        costs = {}
        with place.inside():
            for _ in range(REPEATS):  # in turn, or what else the machine does would be taken for a difference
                for scope in ("no table", "none", Scope.ALL, Scope.SIP):
                    if scope != "no table":
                        _ban_lengths(firewall, scope)
                    took = _send(mouth)
                    costs[scope] = min(costs.get(scope, took), took)
                    firewall.teardown()
        ear.close()
        mouth.close()
        firewall.close()
    print(f"one packet to a port that is not SIP's, sent and received: {costs['no table']:.0f} ns without our table")
    print(f"  our table with nobody banned                 {costs['none'] - costs['no table']:+6.0f} ns")
    for scope, name in ((Scope.ALL, "everything"), (Scope.SIP, "the SIP ports only")):
        each = (costs[scope] - costs["none"]) / LENGTHS
        print(f"  each prefix length with a ban of {name:18} {each:+4.0f} ns")


def _ban_lengths(firewall, scope):
    """Set up, and ban one network of each length in this scope."""
    firewall.setup(Layout())
    if scope == "none":
        return
    now = Instant(time.monotonic_ns())
    until = Instant(now + HOUR)
    sources = [parse_source(f"{10 + length}.0.0.0/{length}") for length in range(8, 8 + LENGTHS)]
    bans = [Ban(source=source, rule="bench", since=now, until=until, scope=scope) for source in sources]
    firewall.apply([Change(Op.ADD, ban) for ban in bans], now)


def _send(mouth):
    packet = b"x" * 172  # 20 ms of RTP
    send = mouth.send
    start = time.perf_counter_ns()
    for _ in range(PACKETS):
        with suppress(ConnectionError):
            send(packet)
    return (time.perf_counter_ns() - start) / PACKETS


def main():
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", type=int, default=NUMBERS, metavar="NUMBER")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--innocent", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure)
    elif given.innocent:
        innocent()
    else:
        reason = reason_not_to_run("nft")
        if reason:
            sys.exit(f"heal: not measured, {reason}")
        heal_all(given.numbers)


if __name__ == "__main__":
    main()
