"""What both readers of Asterisk's logs do alike: bytes in, in whatever pieces, and the events of whole lines out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from guard.wire.loglines import LineCutter

if TYPE_CHECKING:
    from guard.core.event import SecurityEvent


class LogReader(ABC):
    """Cuts a log into lines. `tampered` counts those that are not believed; a subclass reads one line."""

    def __init__(self) -> None:
        self.tampered = 0
        self._cutter = LineCutter()
        self._torn = False  # what was read last broke off
        self._doubt = 0  # bytes that may still be of one message that broke

    def feed(self, data: bytes) -> list[SecurityEvent]:
        """Return the events of the lines that are now complete."""
        return self._read_all(self._cutter.cut(data))

    def finish(self) -> list[SecurityEvent]:
        """Return the event of a last line without a line end."""
        return self._read_all(self._cutter.finish())

    def interrupt(self) -> None:
        """Forget a line that goes on in a file that is gone."""
        self._torn = bool(self._cutter.finish()) or self._torn

    def _read_all(self, lines: list[bytes]) -> list[SecurityEvent]:
        return [event for line in lines if (event := self._read(line)) is not None]

    @abstractmethod
    def _read(self, line: bytes) -> SecurityEvent | None:
        """Return the event of a line if it has one and is believed."""
