"""How long from exec until the daemon is ready, with and without bans in its store?

In a network namespace that was just made: an empty kernel, as after a reboot. Beside it fail2ban, until its jail has
started, with no ban in its database at all, and a bare Python that imports asyncio and aiohttp and ends.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import fail2ban as peer
from bench.figure import Figure, interleave
from bench.restore.daemon import restored
from tests.netns import namespace

BANS = 10_000


def started(count):
    with tempfile.TemporaryDirectory(prefix="astguard-") as folder:
        return restored(Path(folder), count).seconds


def fail2ban():
    with namespace("bench") as place, place.inside():
        began = time.perf_counter()
        with peer.fail2ban(place):
            return time.perf_counter() - began


def python():
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import asyncio, aiohttp.web"], check=True)
    return time.perf_counter() - began


def measure(*, quick):
    name, libraries = peer.name(), "Python with asyncio and aiohttp"
    found = interleave(
        3 if quick else 7,
        {"full": lambda: started(BANS), "empty": lambda: started(0), name: fail2ban, libraries: python},
    )
    beside = {who: found[who] for who in (name, libraries)}
    yield Figure(f"until READY, {BANS:,} bans in the store", found["full"], "s", 1.0, 0.5, beside=beside)
    yield Figure("until READY, none", found["empty"], "s", beside=beside)
