"""What the core remembers as rows of plain values, and back: numbers, texts, and lists of them.

A row comes from a file, so each value is checked when it is read; ValueError if it cannot be right. Instants are those
of an earlier life: they are moved by what lies between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from guard.core.address import Source, packed
from guard.core.event import KEPT, Kind, SecurityEvent, Sensor, Service, Transport
from guard.core.units import Duration, Instant, Wall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Value = object
Row = tuple[Value, ...]


class Reader:
    """Reads values of an earlier life; `now` is the instant at which they are taken back."""

    def __init__(self, shift: Duration, now: Instant) -> None:
        self.now = now
        self._shift = shift

    def source(self, value: Value) -> Source:
        """Read a source, from its bytes in hexadecimal digits."""
        return packed(bytes.fromhex(self.text(value)))

    def text(self, value: Value) -> str:
        """Read a text."""
        if not isinstance(value, str) or len(value) > KEPT:
            raise ValueError(f"{value!r} is no text of at most {KEPT} characters")
        return value

    def whole(self, value: Value) -> int:
        """Read a number."""
        if type(value) is not int or abs(value) >> 63:
            raise ValueError(f"{value!r} is no number of 64 bits")
        return value

    def instant(self, value: Value) -> Instant:
        """Read an instant: none is later than now."""
        return Instant(min(self.whole(value) + self._shift, self.now))

    def end(self, value: Value) -> Instant:
        """Read an instant that may still come."""
        return Instant(self.whole(value) + self._shift)

    def many(self, value: Value, limit: int) -> list[Value]:
        """Read a list."""
        if not isinstance(value, list) or len(value) > limit:
            raise ValueError(f"no list of at most {limit} values")
        return value

    def rows(self, value: Value, width: int, limit: int) -> Iterator[list[Value]]:
        """Read a list of lists, each of so many values."""
        for row in self.many(value, limit):
            values = self.many(row, width)
            if len(values) < width:
                raise ValueError(f"no list of {width} values")
            yield values

    def event(self, value: Value) -> SecurityEvent:
        """Read an event, as `event_row` wrote it."""
        at, kind, service, account, session, source, transport, port, acl, password, sensor = self.many(value, 11)
        return SecurityEvent(
            Wall(self.whole(at)), Kind(self.text(kind)), Service(self.text(service)), self.text(account),
            self.text(session), self.source(source), Transport(self.text(transport)), self.whole(port),
            acl=self.text(acl), password=bool(password), sensor=Sensor(self.text(sensor)),
        )  # fmt: skip


class Part(Protocol):
    """A part of the core that gives its rows and takes them back."""

    def dump(self) -> Iterator[Row]:
        """Give all rows."""

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back a row; ValueError if it cannot be right."""


def event_row(event: SecurityEvent) -> Row:
    """Write what is remembered of an event: not what its sender answered."""
    return (*event[:8], event.acl[:KEPT], event.password, event.sensor)


def cut(rows: Iterable[Row], part: str, *key: Value) -> Iterable[Row]:
    """Put the name of their part, and what they belong to, before rows."""
    return ((part, *key, *row) for row in rows)
