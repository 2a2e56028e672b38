"""How long do bans take to come back after a reboot, and what do they weigh?

    script/bench restore [COUNT ...]        10000 100000 1000000 if none is named

Each runs once for each count, one after the other, in a network namespace of its own that was just made: an empty
kernel, as after a reboot. The ratios are to the bare loop, which sends the messages that astguard sends and nothing
more. Nothing here judges the figures.
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
        print(f"astguard without a ban: up after {idle.seconds:.2f} s, {idle.mb:.0f} MB")
        for count in options.counts or COUNTS:
            measure(Path(folder), count, idle, with_fail2ban=not options.without_fail2ban and count == OF_FAIL2BAN)


def measure(folder, count, idle, *, with_fail2ban):
    """Measure all with so many bans, and print a table."""
    bare, plan = tools.bare_loop(count)
    daemon = restored(folder, count)
    rows = [
        (f"a bare loop: {plan}", bare, None),
        ("astguard, from its start to READY", daemon.seconds, daemon.mb),
        ("  of that: store read, ledger filled", daemon.read, None),
        ("  of that: kernel filled", daemon.filled, None),
        ("astguard without its start", daemon.read + daemon.filled, daemon.mb - idle.mb),
        ("nft -f", *tools.nft(folder, count)),
        ("ipset restore", *tools.ipset(folder, count)),
    ]
    if with_fail2ban:
        name, seconds, mb = fail2ban.restored(count)
        rows.append((name, seconds, mb))
    print(f"\n{count:,} bans after a reboot")
    print(f"  {'':44} {'seconds':>9} {'to bare':>9} {'MB':>7}")
    for name, seconds, mb in rows:
        weight = "" if mb is None else f"{mb:7.0f}"
        print(f"  {name:44} {seconds:9.3f} {seconds / bare:8.1f}x {weight}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
