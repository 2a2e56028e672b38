"""The real daemon, started on a state file that holds so many bans."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from guard.core.address import host
from guard.core.ban import Ban
from guard.core.rule import Evidence, Scope
from guard.core.units import DAY, Duration, Instant
from guard.store import place
from guard.store.batch import write
from guard.store.records import Rewrite
from guard.store.schema import connect
from tests.netns import namespace

TREE = Path(__file__).parents[2]
PATIENCE = 300
FIRST = 10 << 24
STRIKES = 200_000
"""So many former bans the ledger keeps on each kind of evidence; the newest are in the file."""


class Restored(NamedTuple):
    """Seconds from exec to READY, of a processor too, of which so many for store and kernel; and the memory then."""

    seconds: float
    cpu: float
    mb: float
    read: float
    filled: float


def bans(count, now):
    """Give bans of single addresses, each with another end, so that none shares a number with the next."""
    for number in range(count):
        yield Ban(
            source=host((FIRST + number).to_bytes(4, "big")), rule="pjsip-guessing", since=Instant(now - number),
            until=Instant(now + DAY + number), scope=Scope.ALL, evidence=Evidence.PROVEN, strike=1, offences=5,
            events=5 + number % 40, reason="pjsip-guessing",
        )  # fmt: skip


def fill(path, count):
    """Write a state file as the daemon does."""
    now = time.time_ns()
    place.make_file(path)
    connection = connect(path)
    held = list(bans(count, now))
    formers = [(ban.source, ban.evidence, 1, ban.until) for ban in held[-STRIKES:]]
    write(connection, [Rewrite(held, Duration(0), formers, {}, [], {})])
    connection.close()


def restored(folder, count):
    """Start the daemon in a fresh namespace and wait until it is up."""
    state = folder / f"state-{count}.db"
    fill(state, count)
    config = folder / "astguard.yaml"
    config.write_text(
        f"ami: {{port: 1, secret: none}}\nfirewall: {{backend: nftables, bans_max: 2000000}}\n"
        f"rules: [{TREE / 'rules'}]\n"
        f"logs: {{messages: no, security: no}}\ncontrol: {folder / 'control'}\nstate: {state}\n"
    )
    with namespace("bench") as there, there.inside():
        started = time.time()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "guard", "run", "--config", config],
            cwd=TREE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        watchdog = threading.Timer(PATIENCE, daemon.kill)
        watchdog.start()
        try:
            lines = []
            for line in daemon.stderr:
                lines.append((time.time(), line))
                if "astguard is up" in line:
                    break
            else:
                sys.exit("the daemon did not come up:\n" + "".join(line for _, line in lines[-20:]))
            cpu = spent(daemon.pid)
            memory = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{daemon.pid}/status").read_text())[1]) / 1024
            held = there.run("nft", "list", "table", "inet", "astguard").count("expires") if count <= 10_000 else count
            assert held == count, f"{held} of {count} bans are in the kernel"
        finally:
            watchdog.cancel()
            daemon.terminate()
            daemon.wait()
            daemon.stderr.close()
    state.unlink()
    steps = dict(_steps(lines))
    up = lines[-1][0]
    return Restored(up - started, cpu, memory, steps.get("read", 0.0), steps.get("filled", 0.0))


def spent(pid):
    """Return the seconds of a processor that a process and its ended children have taken, the kernel's too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _steps(lines):
    """Read how long the parts took from what the daemon says of them."""
    for _, line in lines:
        found = re.search(r"restore: .*read_ms=(\d+) kernel_ms=(\d+)", line)
        if found:
            yield "read", int(found[1]) / 1000
            yield "filled", int(found[2]) / 1000
