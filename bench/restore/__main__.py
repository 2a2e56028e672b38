"""How long do bans take to come back after a reboot, and what do they weigh?

    script/bench restore [COUNT ...]        10000 100000 1000000 if none is named

Each runs once for each count, one after the other, in a network namespace of its own that was just made: an empty
kernel, as after a reboot. The ratios are to the bare loop, which sends the messages that astguard sends and nothing
more. Seconds of a processor have the kernel's in them; on a busy machine they say more than those of the clock.
Nothing here judges the figures.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from bench.restore import fail2ban, tools
from bench.restore.daemon import restored
from bench.spine import cpuinfo
from tests.netns import reason_not_to_run, sweep

COUNTS = (10_000, 100_000, 1_000_000)
OF_FAIL2BAN = 10_000
"""It takes minutes for these already."""


def main():
    parser = argparse.ArgumentParser(prog="script/bench restore", description=__doc__.splitlines()[0])
    parser.add_argument("counts", nargs="*", type=int, metavar="COUNT", help="how many bans come back")
    parser.add_argument("--without-fail2ban", action="store_true", help="its tree takes minutes to make the first time")
    options = parser.parse_args()
    reason = reason_not_to_run("nft", "ipset")
    if reason:
        sys.exit(f"restore: not measured, {reason}")
    sweep()
    model = next((line.partition(": ")[2] for line in cpuinfo() if line.startswith("model name")), platform.machine())
    print(f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="astguard-") as folder:
        idle = restored(Path(folder), 0)
        print(f"astguard without a ban: up after {idle.seconds:.2f} s, {idle.cpu:.2f} of a processor, {idle.mb:.0f} MB")
        for count in options.counts or COUNTS:
            measure(Path(folder), count, idle, with_fail2ban=not options.without_fail2ban and count == OF_FAIL2BAN)


def measure(folder, count, idle, *, with_fail2ban):
    """Measure all with so many bans, and print a table."""
    name, bare, bare_cpu = tools.bare_loop(count)
    daemon = restored(folder, count)
    rows = [
        (name, bare, bare_cpu, None),
        ("astguard, from its start to READY", daemon.seconds, daemon.cpu, daemon.mb),
        ("  more than without a ban", daemon.read + daemon.filled, daemon.cpu - idle.cpu, daemon.mb - idle.mb),
        ("    store read, ledger filled", daemon.read, None, None),
        ("    kernel filled", daemon.filled, None, None),
        ("nft -f", *tools.nft(folder, count)),
        ("ipset restore", *tools.ipset(folder, count)),
    ]
    if with_fail2ban:
        rows.append(fail2ban.restored(count))
    print(f"\n{count:,} bans after a reboot")
    print(f"  {'':36} {'seconds':>9} {'to bare':>8} {'CPU s':>8} {'to bare':>8} {'MB':>6}")
    for name, seconds, cpu, mb in rows:
        line = f"  {name:36} {seconds:9.3f} {seconds / bare:7.1f}x"
        line += f" {cpu:8.3f} {cpu / bare_cpu:7.1f}x" if cpu is not None else " " * 18
        print((line + (f" {mb:6.0f}" if mb is not None else "")).rstrip(), flush=True)


if __name__ == "__main__":
    main()
