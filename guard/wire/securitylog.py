"""Lines of Asterisk's `security` log (res_security_log.c): the same events as on AMI, in another dialect.

A value with a quote in it is not believed, because quotes are not escaped: text of the sender could end its own value
and go on with another header. Nor is the line after one that broke off, which may be the sender's second half.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from guard.wire.grammar import Dialect, Grammar

if TYPE_CHECKING:
    from guard.core.event import SecurityEvent

LINE_LIMIT = 65_536
"""Bytes of a line. Asterisk cuts its own at 8,191."""

_GRAMMAR = Grammar(Dialect('SecurityEvent="', '"', '"', r',{name}="{value}"', r'[^"]*'))
_LINE = re.compile(
    r"\[[^][]{4,64}\] ([A-Z]{3,8})\[\d{1,10}\](?:\[C-[0-9a-f]{8}\])? [\w./-]{1,64}: (.*)", re.ASCII | re.DOTALL
)


class SecurityLogReader:
    """Cuts a log into lines, in whatever pieces it arrives, and believes the clean ones."""

    def __init__(self) -> None:
        self.tampered = 0
        self.foreign = 0
        self._rest = b""
        self._torn = False

    def feed(self, data: bytes) -> list[SecurityEvent]:
        """Return the events of the lines that are now complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        events = [event for line in lines if (event := self._read(line)) is not None]
        self._rest = self._rest[: LINE_LIMIT + 1]  # one byte more is over the limit, however much is cut off
        return events

    def finish(self) -> list[SecurityEvent]:
        """Return the event of a last line without a line end."""
        return self.feed(b"\n") if self._rest else []

    def _read(self, line: bytes) -> SecurityEvent | None:
        match = _LINE.fullmatch(line.decode(errors="surrogateescape")) if len(line) <= LINE_LIMIT else None
        if match and match[1] != "SECURITY":
            self.foreign += 1
            return None
        event = _GRAMMAR.read(match[2]) if match else None
        torn, self._torn = self._torn, event is None
        if event is None or torn:
            self.tampered += 1
            return None
        return event
