"""Columns that line up, and values as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from time import strftime
from typing import TYPE_CHECKING

from guard.core.text import printable
from guard.core.units import SECOND, Duration, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Column = tuple[str, Callable[[Mapping[str, object]], str]]

GAP = "  "
CELL_LIMIT = 120
RAW_LIMIT = 1_000


class Reader:
    """Reads a value of an item: called for people, `raw` for programs, for whom it depends on no clock and no day."""

    def __init__(self, key: str, show: Callable[[object], str]) -> None:
        self._key = key
        self._show = show

    def __call__(self, item: Mapping[str, object]) -> str:
        """Write the value for people."""
        return self._show(item.get(self._key))

    def raw(self, item: Mapping[str, object]) -> str:
        """Write the value as the daemon gave it: times in UTC, durations in seconds, sources with their length."""
        return _raw(item.get(self._key))


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line a row, every column as wide as its widest cell, no blanks at the end."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [GAP.join(map(str.ljust, row, widths)).rstrip() for row in rows]


def fill(columns: Sequence[Column], items: Sequence[Mapping[str, object]], *, header: bool) -> list[str]:
    """Return the lines of a table: one row an item, and above them the columns' titles."""
    titles = [[title for title, _ in columns]] if header else []
    return align(titles + [[read(item) or "-" for _, read in columns] for item in items])


def fill_raw(columns: Sequence[Column], items: Sequence[Mapping[str, object]], *, header: bool) -> Iterator[str]:
    """Give a table's lines for programs: tabs between the values, `-` for none, so that no two tabs stand together."""
    if header:
        yield "\t".join(title for title, _ in columns)
    for item in items:
        yield "\t".join((read.raw(item) if isinstance(read, Reader) else read(item)) or "-" for _, read in columns)


def flatten(value: object, name: str = "") -> Iterator[str]:
    """Give any value of JSON as lines of a name (`link.state`), a tab and a value."""
    if isinstance(value, dict | list) and value:
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flatten(part, f"{name}.{key}" if name else str(key))
    else:
        shown = "-" if value is None or value == "" or isinstance(value, dict | list) else _raw(value)
        yield f"{printable(name, RAW_LIMIT) or '-'}\t{shown}"


def text(key: str) -> Reader:
    """Make a reader of a value that is shown as it is."""
    return Reader(key, as_text)


def source(key: str = "source") -> Reader:
    """Make a reader of a source; a host goes without its prefix length."""
    return Reader(key, lambda value: short_source(as_text(value)))


def time(key: str) -> Reader:
    """Make a reader of a time."""
    return Reader(key, lambda value: local_time(as_text(value)))


def since(key: str) -> Reader:
    """Make a reader of a time that is short on the day itself, so that a list fits 80 columns."""
    return Reader(key, lambda value: short_time(as_text(value), strftime("%Y-%m-%d")))


def left(key: str) -> Reader:
    """Make a reader of a number of seconds."""
    return Reader(key, span)


def as_text(value: object, limit: int = CELL_LIMIT) -> str:
    """Write any value on one line, harmless and not too long."""
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return "" if value is None else printable(str(value), limit)


def _raw(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else as_text(value, RAW_LIMIT)


def short_source(shown: str) -> str:
    """Leave out the prefix length of a single host: `198.51.100.7`, `2001:db8:5::/64`."""
    return shown.removesuffix("/128") if ":" in shown else shown.removesuffix("/32")


def local_time(iso: str) -> str:
    """Write an ISO 8601 time on the clock of this machine: `2026-05-01 14:02:11`."""
    try:
        at = datetime.fromisoformat(iso)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return at.astimezone().isoformat(" ", "seconds")[: len("2026-05-01 14:02:11")]
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
