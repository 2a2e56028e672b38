"""What do the two backends cost, side by side, and beside the commands that do the same?

    script/bench backends [COUNT]          100000 bans in the batch if none is named

Each in a network namespace of its own, as root. Single bans are the median of 2,000, in an empty set and in a filled
one; `again` is a ban of a source that is banned already. Nothing here judges the figures.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.restore import tools
from guard.core.address import host, parse_source
from guard.core.ban import Ban, Change, Op
from guard.core.units import DAY, Instant
from guard.firewall import Layout
from guard.firewall.choice import KERNEL_BACKENDS, choose
from tests.netns import namespace, reason_not_to_run

SINGLES = 2_000
AGAIN = 200
NOW = Instant(10**12)
COMMAND = {"nftables": "nft -f", "iptables": "ipset restore"}
STEPS = ("one ban", "one ban again", "first ban of a length", "the batch", "one ban after it", "look", "list all")


def adds(first, count):
    return [_add(host((first + number).to_bytes(4, "big"))) for number in range(count)]


def _add(source):
    return Change(Op.ADD, Ban(source=source, rule="bench", since=NOW, until=Instant(NOW + DAY)))


def median(work, runs):
    times = []
    for run in runs:
        started = time.perf_counter()
        work(run)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure(name, count):
    """Give the seconds of each step."""
    singles, others = adds(10 << 24, SINGLES), adds(20 << 24, SINGLES)
    with namespace("bench") as place, place.inside():
        backend = choose(name)
        backend.setup(Layout(set_size=2 * count))

        def one(change):
            backend.apply([change], NOW)

        times = [median(one, singles), median(one, singles[:AGAIN])]
        times.append(median(one, [_add(parse_source("203.0.113.0/24"))]))
        times.append(median(lambda batch: backend.apply(batch, NOW), [adds(30 << 24, count)]))
        times.append(median(one, others))
        times.append(median(lambda _: backend.look(), range(50)))
        times.append(median(lambda _: sum(map(len, backend.listing())), [1]))
        backend.teardown()
        backend.close()
    return times


def main():
    reason = reason_not_to_run("nft", "ipset")
    if reason:
        sys.exit(f"backends: not measured, {reason}")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; batch of {count:,}")
    found = {name: measure(name, count) for name in KERNEL_BACKENDS}
    print(f"  {'milliseconds':24}" + "".join(f"{name:>12}" for name in found) + f"{'ratio':>8}")
    for number, step in enumerate(STEPS):
        ours, other = (found[name][number] for name in KERNEL_BACKENDS)
        print(f"  {step:24}{ours * 1e3:12.3f}{other * 1e3:12.3f}{other / ours:7.3f}x")
    with tempfile.TemporaryDirectory(prefix="astguard-") as folder:
        for name, tool in zip(KERNEL_BACKENDS, (tools.nft, tools.ipset), strict=True):
            seconds, *_ = tool(Path(folder), count)
            batch = found[name][STEPS.index("the batch")]
            print(f"  {COMMAND[name]:24}{seconds * 1e3:12.1f}  {seconds / batch:.1f}x the batch of {name}")


if __name__ == "__main__":
    main()
