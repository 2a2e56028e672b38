"""What a process costs: processor seconds and memory, read from /proc, its ended children included."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Load(NamedTuple):
    """Processor seconds so far, and resident megabytes now, of some processes together."""

    seconds: float
    megabytes: float


def load(pids):
    """Read it."""
    seconds = megabytes = 0.0
    for pid in pids:
        # The name in brackets may hold anything; behind it stand numbers alone. proc(5): 14 to 17 are utime, stime,
        # cutime and cstime, 24 is rss.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds += sum(map(int, fields[11:15])) / _TICKS
        megabytes += int(fields[21]) * _PAGE / 1e6
    return Load(seconds, megabytes)


def family(pid):
    """Give a process and all that live under it."""
    pids = [pid]
    for parent in pids:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            pids += map(int, task.read_text().split())
    return pids
