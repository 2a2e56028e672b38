"""The real scheduler: a guard that may go before Asterisk, one that may not, and a turn of the loop that takes too long."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.conftest import missing

TREE = Path(__file__).parents[2]
POWERLESS = ["setpriv", "--bounding-set=-sys_nice"]
"""Whoever is started so has only what the limit grants, as a user of its own has under systemd."""
CAP_SYS_RESOURCE = 1 << 24
MAY_RAISE_LIMITS = int(re.search(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())[1], 16) & CAP_SYS_RESOURCE
"""Some containers keep even root from it; there only the way of root is left to be seen."""
ALLOWED = {"as root": []} | (
    {"by the unit's limit": ["prlimit", "--rtprio=11", *POWERLESS]} if MAY_RAISE_LIMITS else {}
)

# Each line says the policy and the priority of the thread at that moment; `turn` takes that much of a processor at once.
PLAY = """
import asyncio, logging, os, threading, time
from guard.core.tally import Tally
from guard.daemon.priority import Priority

logging.basicConfig(level="INFO", format="%(message)s")
def show(when):
    print(when, os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.sched_getparam(0).sched_priority, flush=True)
def turn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
async def main():
    tally = Tally()
    priority = Priority(
        asyncio.get_running_loop(), tally, mono_ns=time.monotonic_ns, used_ns=time.thread_time_ns
    )
    priority.start()
    show("started")
    another = threading.Thread(target=show, args=("another thread",))
    another.start()
    another.join()
    turn(0.002)
    priority.spend()
    show("after 2 ms")
    turn(0.1)
    show("within a long turn")
    await asyncio.sleep(0)
    while tally.counts["priority.rests"] and not priority.is_high:
        await asyncio.sleep(0.05)
    show("rested")
    priority.stop()
    show("stopped")
asyncio.run(main())
"""
HIGH, ORDINARY = f"{os.SCHED_RR} 11", f"{os.SCHED_OTHER} 0"


def play(*before):
    if missing():
        pytest.skip(missing())
    command = [*before, sys.executable, "-c", PLAY]
    done = subprocess.run(command, cwd=TREE, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [line.rsplit(" ", 2) for line in done.stdout.splitlines()]
    return {when: f"{policy} {priority}" for when, policy, priority in lines}, done.stderr


@pytest.mark.parametrize("by", ALLOWED.values(), ids=ALLOWED)
def test_it_goes_before_asterisk_and_the_kernel_ends_a_long_turn(by):
    seen, said = play(*by)
    assert "priority: before Asterisk" in said
    assert seen == {
        "started": HIGH, "another thread": ORDINARY, "after 2 ms": HIGH, "within a long turn": ORDINARY,
        "rested": HIGH, "stopped": ORDINARY,
    }  # fmt: skip


def test_who_may_not_is_ordinary_and_says_what_would_help():
    seen, said = play("prlimit", "--rtprio=0", *POWERLESS)
    assert "LimitRTPRIO=11" in said
    assert set(seen.values()) == {ORDINARY}
