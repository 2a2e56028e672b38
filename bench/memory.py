"""How much memory does the daemon take: idle, with many sources under its eye, and with a million bans?

Idle is with everything on, a link to Asterisk and no event yet. Tracked sources have answered wrongly once each, over
TCP. Bans come out of the store, as after a reboot. Its tables have limits: what a flood of ever new sources adds once
they are full is the last figure, and should be nothing. Beside it the newest fail2ban, and a bare Python with asyncio.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import fail2ban as peer
from bench.figure import Figure
from bench.flood import event
from bench.guarded import working
from bench.machine import memory_of
from bench.restore.daemon import restored
from tests.netns import namespace

BUNCH = 500


def tracked(counts):
    """Return the megabytes at each of these numbers of sources that were seen so far, the first being 0."""
    found, seen = [], 0
    with working() as (ami, guard):
        time.sleep(2)
        before = guard.counts("events")
        for count in counts:
            for at in range(seen, count, BUNCH):
                ami.send(b"".join(_one(number) for number in range(at, min(at + BUNCH, count))))
            seen = count
            guard.counts("events", before + seen)
            found.append(guard.memory())
        bans = guard.status()["bans"]
    assert bans < max(counts) / 100, f"{bans} were banned, who should only be tracked"
    return found


def _one(number):
    """Write one wrong answer of a source: 1, 2, 3 ... and each at an account of its own."""
    data = event(number & 0xFFFF, f"once-{number:x}")
    return data.replace(b".7/5060", b".%d/5060" % (1 + (number >> 16))) if number >> 16 else data


def fail2ban(lines):
    """Return fail2ban's megabytes, idle and after so many lines of as many sources."""
    with namespace("bench") as place, place.inside(), peer.fail2ban(place) as server:
        time.sleep(1)
        idle = server.memory()
        server.write([peer.line(number, f"once-{number}") for number in range(lines)])
        last = cpu = -1.0
        while cpu > last:
            time.sleep(2)
            last, cpu = cpu, server.cpu() + (0 if cpu < 0 else -0.05)
        return idle, server.memory()


def python():
    """Return the megabytes of a Python that has asyncio and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", "import asyncio, sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as process:
        time.sleep(0.5)
        memory = memory_of(process.pid)
        process.stdin.close()
    return memory


def bans(count):
    with tempfile.TemporaryDirectory(prefix="astguard-") as folder:
        return restored(Path(folder), count).mb


def measure(*, quick):
    counts = (0, 100_000, 200_000) if quick else (0, 100_000, 1_000_000, 2_000_000)
    idle, hundred, *more = tracked(counts)
    theirs_idle, theirs = fail2ban(10_000 if quick else 65_000)
    name = peer.name()
    yield Figure(
        "idle, all on", (idle,), "MB", 60, 45,
        beside={name: (theirs_idle,), "Python with asyncio": (python(),)},
    )  # fmt: skip
    lines = 10_000 if quick else 65_000
    yield Figure("100,000 sources tracked", (hundred,), "MB", 85, 60, beside={f"{name}, {lines:,}": (theirs,)})
    if not quick:
        yield Figure("1,000,000 sources tracked", (more[0],), "MB", 85, 60)
        yield Figure("  what another million adds", (max(more[1] - more[0], 0.0),), "MB", must=1)
    else:
        yield Figure("  what another 100,000 add", (max(more[0] - hundred, 0.0),), "MB")
    yield Figure("1,000,000 bans", (bans(1_000_000),), "MB", 330, 200)
