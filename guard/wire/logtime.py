"""The times of log lines, in every form that Asterisk's `dateformat`, syslog and journald write.

A time without a zone is the local time of a zone that is given, or learnt from lines that came over AMI as well. A
time without a year is the latest that is not in the future. Of the hour that comes twice when summer time ends, it is
the one that goes on from the line before. A time with whole seconds stands for the last millisecond of them: the
event of the same request is then never behind its log line.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING

from guard.core.units import DAY, MILLISECOND, MINUTE, SECOND, Wall

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = 15 * MINUTE
"""Zones differ by multiples of it."""
SLACK = 5 * SECOND
"""A line and its event are written within that."""
LESSONS = 3
"""Lines in a row that must agree on a zone before it is believed: one alone may be a chance."""
BACK = 2 * MINUTE
"""How far lines of one log go back; what lies further back is the second hour of that name."""

_MONTHS = {name: number for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_ISO = rb"(?P<year>\d{4})[-/.](?P<month>\d\d)[-/.](?P<day>\d\d)[ T]"
_NAMED = rb"(?:\w{3},? )?(?P<name>[A-Z][a-z]{2})  ?(?P<date>\d{1,2}) "
_FORM = re.compile(
    rb"(?P<minute>(?:%b|%b)\d\d:\d\d:)(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
    rb"(?: (?P<behind>\d{4}))?(?: ?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d))?" % (_ISO, _NAMED)
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LogClock:
    """Reads the times of one log. `zone` is what its local times mean until lines teach otherwise.

    `now` is the wall clock, set before each reading of a log that is being written; None while one of the past is
    read. `written` is when that was written last, for times without a year. `local` tells whether the log has times
    without a zone.
    """

    def __init__(self, zone: tzinfo, *, now: Wall | None = None, written: Wall | None = None) -> None:
        self.zone = zone
        self.now = now
        self.local = False
        self.written = written
        self._last: Wall | None = None
        self._minute = b""
        self._base = 0
        self._lesson: tuple[int, int] = (0, 0)

    def read(self, text: bytes) -> Wall | None:
        """Read one time; None if it is none, or has no year and nothing tells it."""
        match = _FORM.fullmatch(text)
        if match is None:
            return self.now
        second = int(match["second"])
        minute = match["minute"] + (match["behind"] or b"") + (match["zone"] or b"")
        if minute != self._minute:
            base = self._read_minute(match)
            if base is None:
                return None
            self._minute, self._base = minute, base
        self._last = Wall(self._base + second * SECOND + _fraction(match["fraction"]))
        return self._last

    def learn(self, line: Wall, event: Wall) -> None:
        """Compare what was read with the time of the same attempt over AMI, and take its zone over in the end."""
        steps = round((line - event) / STEP)
        if not self.local or abs(line - event - steps * STEP) > SLACK:
            return
        self._lesson = (steps, self._lesson[1] + 1 if steps == self._lesson[0] else 1)
        if steps and self._lesson[1] >= LESSONS:
            offset = _at(line).astimezone(self.zone).utcoffset() or timedelta()
            self.use(offset + timedelta(minutes=steps * STEP // MINUTE))

    def use(self, offset: timedelta) -> None:
        """Take local times for those of an offset from now on; one that no place on earth has is ignored."""
        if abs(offset) <= timedelta(hours=15):
            self.zone = timezone(offset)
            self._minute, self._last, self._lesson = b"", None, (0, 0)

    def _read_minute(self, match: re.Match[bytes]) -> int | None:
        """Read all but the seconds; None if there is no such minute."""
        *_, hour, minute, _ = match["minute"].replace(b":", b" ").replace(b"T", b" ").split(b" ")
        month = int(match["month"]) if match["month"] else _MONTHS.get(match["name"], 0)
        year = match["year"] or match["behind"]
        zone = match["zone"] and _zone(match["zone"])
        self.local = self.local or not zone
        for guess in (int(year),) if year else self._years():
            try:
                local = datetime(guess, month, int(match["day"] or match["date"]), int(hour), int(minute))  # noqa: DTZ001
            except ValueError:
                continue
            found = self._choose(local, zone or self.zone)
            if year or found <= self._newest() + DAY:
                return found
        return None

    def _choose(self, local: datetime, zone: tzinfo) -> int:
        """Return the instant of a local time; of two the one that the log has come to."""
        first, second = (_wall(local.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
        if first == second or (self.now is None and self._last is None):
            return first
        if self.now is not None:
            return min(first, second, key=lambda at: abs(at - (self.now or 0)))
        return first if first + MINUTE >= (self._last or 0) - BACK else second

    def _years(self) -> Iterator[int]:
        """Give the years that a date without one can be of, the latest first; February 29 may be far back."""
        newest = self._newest()
        if newest:
            year = _at(newest).year
            yield from range(year + 1, year - 8, -1)

    def _newest(self) -> Wall:
        return self.now or self.written or Wall(0)


def _fraction(digits: bytes | None) -> int:
    """Read what is behind the point, to the last millisecond that it can mean."""
    if digits is not None and len(digits) == 3:
        return int(digits) * MILLISECOND
    unit = int(10 ** (9 - len(digits or b"")))
    return int(digits or b"0") * unit + (unit - MILLISECOND if unit > MILLISECOND else 0)


def _zone(text: bytes) -> tzinfo:
    if not text[-1:].isdigit():
        return UTC
    ahead = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(ahead if text[:1] == b"+" else -ahead) if ahead < timedelta(hours=24) else UTC


def _wall(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1) * SECOND


def _at(wall: int) -> datetime:
    return _EPOCH + timedelta(microseconds=wall // 1_000)
