"""On what it was measured: the machine, and the versions of what was beside it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from guard import __version__

TICKS = os.sysconf("SC_CLK_TCK")


def described():
    """Say it in one line."""
    return (
        f"{os.cpu_count()} x {model()}, Linux {platform.release()}, Python {platform.python_version()}, "
        f"pyroute2 {version('pyroute2')}, astguard {__version__}"
    )


def model():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def cpu_of(pid):
    """Give the seconds of a processor that a process has taken so far, to the nanosecond, its threads too."""
    ran = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        ran += int((task / "schedstat").read_text().split()[0])
    return ran / 1e9


def memory_of(pid, field="VmRSS"):
    """Give the megabytes that a process has in memory; VmHWM: had at the most since forget_peak()."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def forget_peak(pid):
    """Have VmHWM begin anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
