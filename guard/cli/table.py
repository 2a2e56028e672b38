"""Columns that line up, and values as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guard.core.text import printable
from guard.core.units import SECOND, Duration, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Column = tuple[str, Callable[[Mapping[str, object]], str]]

GAP = "  "
CELL_LIMIT = 120


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line a row, every column as wide as its widest cell, no blanks at the end."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [GAP.join(map(str.ljust, row, widths)).rstrip() for row in rows]


def fill(columns: Sequence[Column], items: Sequence[Mapping[str, object]], *, header: bool) -> list[str]:
    """Return the lines of a table: one row an item, and above them the columns' titles."""
    titles = [[title for title, _ in columns]] if header else []
    return align(titles + [[read(item) or "-" for _, read in columns] for item in items])


def text(key: str) -> Callable[[Mapping[str, object]], str]:
    """Make a reader of a value that is shown as it is."""
    return lambda item: as_text(item.get(key))


def source(key: str = "source") -> Callable[[Mapping[str, object]], str]:
    """Make a reader of a source; a host goes without its prefix length."""
    return lambda item: short_source(as_text(item.get(key)))


def time(key: str) -> Callable[[Mapping[str, object]], str]:
    """Make a reader of a time."""
    return lambda item: local_time(as_text(item.get(key)))


def since(key: str) -> Callable[[Mapping[str, object]], str]:
    """Make a reader of a time that is short on the day itself, so that a list fits 80 columns."""
    return lambda item: short_time(as_text(item.get(key)), datetime.now().astimezone().strftime("%Y-%m-%d"))


def left(key: str) -> Callable[[Mapping[str, object]], str]:
    """Make a reader of a number of seconds."""
    return lambda item: span(item.get(key))


def as_text(value: object) -> str:
    """Write any value on one line, harmless and not too long."""
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return "" if value is None else printable(str(value), CELL_LIMIT)


def short_source(shown: str) -> str:
    """Leave out the prefix length of a single host: `198.51.100.7`, `2001:db8:5::/64`."""
    return shown.removesuffix("/128") if ":" in shown else shown.removesuffix("/32")


def local_time(iso: str) -> str:
    """Write an ISO 8601 time on the clock of this machine: `2026-05-01 14:02:11`."""
    try:
        at = datetime.fromisoformat(iso)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return iso


def short_time(iso: str, today: str) -> str:
    """Write a time of `today` without its date, `14:02:11`, and any other without its seconds: `2026-05-01 14:02`."""
    shown = local_time(iso)
    day, _, clock = shown.partition(" ")
    return clock if day == today else shown[:-3] if clock else shown


def span(seconds: object) -> str:
    """Write a number of seconds as a duration: `48m`."""
    if isinstance(seconds, int | float) and 0 <= seconds < 1e12:
        return format_duration(Duration(int(seconds) * SECOND))
    return as_text(seconds)
