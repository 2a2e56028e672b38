"""Lines of Asterisk's `security` log (res_security_log.c): the same events as on AMI, in another dialect.

A value with a quote in it is not believed, because quotes are not escaped: text of the sender could end its own value
and go on with another header. Nor is the line after one that broke off, which may be the sender's second half.

In a log that holds other lines too, a text of those can hold whole lines of this one. So there an event is believed
only where no other line has been read for as many bytes as one message can have. That is hardly ever: such a log is
of use in its quiet stretches only, and the daemon wants one of its own for `security`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.event import Sensor
from guard.wire.grammar import Dialect, Grammar
from guard.wire.loglines import MESSAGE_LIMIT, is_banner, read_head
from guard.wire.logreader import LogReader

if TYPE_CHECKING:
    from guard.core.event import SecurityEvent

_GRAMMAR = Grammar(Dialect('SecurityEvent="', '"', '"', r',{name}="{value}"', r'[^"]*'))
_OWN = (b"SECURITY", b"res_security_log.c")


class SecurityLogReader(LogReader):
    """Cuts a log into lines, in whatever pieces it arrives, and believes the clean ones.

    `tampered` counts lines that broke and their neighbours, `foreign` lines of other levels, `doubted` the whole
    ones that stand too near to those.
    """

    def __init__(self) -> None:
        super().__init__()
        self.foreign = 0
        self.doubted = 0

    def _read(self, line: bytes) -> SecurityEvent | None:
        self._doubt = max(0, self._doubt - len(line) - 1)
        head = read_head(line)
        if head is not None and head.level != b"SECURITY":
            self.foreign += 1
            self._doubt = MESSAGE_LIMIT
            return None
        if head is None and is_banner(line):
            return None
        event = None
        if head is not None and (head.level, head.file) == _OWN:
            event = _GRAMMAR.read(line[head.end :].decode(errors="backslashreplace"))
        torn, self._torn = self._torn, event is None
        if event is None or torn:
            self.tampered += 1
            return None
        if self._doubt:
            self.doubted += 1
            return None
        return event._replace(sensor=Sensor.SECURITY)
