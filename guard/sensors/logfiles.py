"""A log file with its reader: `messages`, which is always read, and `security`, in which the place is kept."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from guard.core.units import SECOND, Duration, Wall
from guard.sensors.logtail import LogTail, Mark
from guard.wire.logtime import LogClock
from guard.wire.messages import MessagesReader
from guard.wire.securitylog import SecurityLogReader

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path

    from guard.core.event import SecurityEvent

CHUNK = 262_144
"""Bytes read of a file at a time: some milliseconds' work."""
MARKS = 64
EVERY = Duration(SECOND)
"""Places kept in a security log, and how far apart."""
BEFORE = Duration(2 * SECOND)
"""How long before the last event over AMI a security log is read again: a clock and a queue may be late."""
AFTER = Duration(SECOND)
"""How long it is read on when the link is up again, for the same reason."""


class News(NamedTuple):
    """What one reading gave. `more`: there may be more at once."""

    events: list[SecurityEvent]
    tampered: int = 0
    muted: int = 0
    more: bool = False


class MessagesFile:
    """A `messages` log. `clock` reads its times."""

    def __init__(self, path: Path, zone: tzinfo) -> None:
        self.tail = LogTail(path)
        self.clock = LogClock(zone)
        self.reader = MessagesReader(self.clock)

    def read(self, now: Wall) -> News:
        """Read the next chunk."""
        data, fresh = self.tail.read(CHUNK)
        reader = self.reader
        if fresh:
            reader.interrupt()
        self.clock.now = now
        events = reader.feed(data) if data else []
        news = News(events, reader.tampered, reader.muted, len(data) == CHUNK)
        reader.tampered = reader.muted = 0
        return news


class SecurityFile:
    """A `security` log, judged while AMI does not tell the same."""

    def __init__(self, path: Path) -> None:
        self.tail = LogTail(path)
        self._reader = SecurityLogReader()
        self._marks: deque[tuple[Wall, Mark]] = deque(maxlen=MARKS)
        self._keeping = False
        self._since = Wall(0)
        self._up_at: Wall | None = None

    def read(self, now: Wall, last: Wall, *, is_up: bool) -> News:
        """Keep the place while the link is up; else read the next chunk. `last` is the time of AMI's last event."""
        if self._keeping:
            if is_up:
                self._keep(now)
                return News([])
            self._lose(last)
        data, fresh = self.tail.read(CHUNK)
        reader = self._reader
        if fresh:
            reader.interrupt()
        events = [event for event in reader.feed(data) if event.at >= self._since] if data else []
        self._up_at = (self._up_at or now) if is_up else None
        self._keeping = self._up_at is not None and now - self._up_at >= AFTER and len(data) < CHUNK
        news = News(events, reader.tampered, more=len(data) == CHUNK)
        reader.tampered = 0
        return news

    def _keep(self, now: Wall) -> None:
        mark = self.tail.skip()
        if mark is not None and (not self._marks or now - self._marks[-1][0] >= EVERY):
            self._marks.append((now, mark))

    def _lose(self, last: Wall) -> None:
        """Go back to where the log was when AMI was last known to tell everything."""
        self._reader, self._since, self._keeping = SecurityLogReader(), last, False
        self._up_at = None
        sure = [mark for at, mark in self._marks if at <= last - BEFORE][-1:]
        for mark in sure + [mark for at, mark in self._marks if at > last - BEFORE]:
            if self.tail.go_back(mark):
                break
        self._marks.clear()
