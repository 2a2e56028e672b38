"""Instants and durations in whole nanoseconds, and durations as people write them.

An Instant is a point on whatever clock the driver runs: the monotonic clock in the daemon, the recording's time in
replay. A Wall is nanoseconds since 1970 UTC and serves only to find an event's age and to show times. Floats never
hold time: 0.1 s has no exact float, and the window is exact.
"""

from __future__ import annotations

import re
from typing import NewType

Instant = NewType("Instant", int)
Duration = NewType("Duration", int)
Wall = NewType("Wall", int)

MILLISECOND = Duration(1_000_000)
SECOND = Duration(1_000_000_000)
MINUTE = Duration(60 * SECOND)
HOUR = Duration(60 * MINUTE)
DAY = Duration(24 * HOUR)

NEVER = Instant(-(1 << 62))
"""Earlier than all instants: those of events before the host's start are negative."""

_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
_DURATION = re.compile(r"(?=\d)(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?", re.ASCII)


def parse_duration(text: str) -> Duration:
    """Read `90s`, `10m`, `1h30m` or `2d`; ValueError says how to write it. Zero is no duration."""
    match = _DURATION.fullmatch(text)
    total = sum(int(n or 0) * unit for n, unit in zip(match.groups(), _UNITS.values(), strict=True)) if match else 0
    if not total:
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 5m, 1h30m or 2d")
    return Duration(total)


def format_duration(duration: Duration) -> str:
    """Write a duration in its two largest units, rounded down to whole seconds: `1h30m`, `48m`, `0s`."""
    left = max(duration, 0) // SECOND
    parts: list[str] = []
    for letter, unit in _UNITS.items():
        count, left = divmod(left, unit // SECOND)
        if count or parts:
            parts.append(f"{count}{letter}" if count else "")
        if len(parts) == 2:
            break
    return "".join(parts) or "0s"
