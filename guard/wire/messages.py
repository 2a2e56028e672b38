"""Lines of Asterisk's `messages` log: the attempts they tell of, for what the message bus does not.

A line is believed if the whole of it is one row of messagegrammar.py, and nothing before it leaves doubt:

- The line behind one that broke off is not believed. A text with a line break in it makes its second half a perfect
  line for any address.
- A message can hold many lines: pjproject prints packets that it cannot read, as they came. So after a line without
  a head, for as many bytes as one message can have, only threads are believed that had spoken before. A sender
  cannot know their numbers.

Both are counted as tampered. All other lines are none of ours: not believed, not counted, and no end of a doubt.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from guard.wire.loglines import MESSAGE_LIMIT, is_banner, read_head
from guard.wire.logreader import LogReader
from guard.wire.messagegrammar import MUTED, TABLE

if TYPE_CHECKING:
    from guard.core.event import SecurityEvent
    from guard.wire.loglines import Head
    from guard.wire.logtime import LogClock

SAMPLES = 20
SAMPLE_LIMIT = 512
"""Tampered lines kept for display, and bytes of each."""
THREADS_LIMIT = 1_024
"""Threads remembered; Asterisk uses some dozens for what it logs here."""


class MessagesReader(LogReader):
    """Cuts a log into lines, in whatever pieces it arrives, and believes the clean ones.

    `muted` counts security events that Asterisk itself lost, `tampered` lines not believed; `samples` shows some.
    """

    def __init__(self, clock: LogClock) -> None:
        super().__init__()
        self.muted = 0
        self.samples: deque[str] = deque(maxlen=SAMPLES)
        self._clock = clock
        self._threads: set[bytes] = set()

    def _read(self, line: bytes) -> SecurityEvent | None:
        if self._doubt:
            self._doubt = max(0, self._doubt - len(line) - 1)
        head = read_head(line)
        if head is None:
            if not is_banner(line):
                self._tear(line)
                self._doubt = MESSAGE_LIMIT if len(line) < MESSAGE_LIMIT else self._doubt
            return None
        for message in TABLE.get((head.level, head.file), ()):
            match = message.matches(line, head.end)
            if match is not None:
                break
            if message.begins(line, head.end):
                self._tear(line)
                return None
        else:
            if not (self._torn or self._doubt):
                self._remember(head)
            return None
        at = self._clock.read(head.time)
        if at is None or not self._is_clean(head):
            self._tamper(line)
            return None
        if message is MUTED:
            self.muted += 1
            return None
        return message.build(match, at)

    def _is_clean(self, head: Head) -> bool:
        """Tell whether nothing that was read before leaves doubt in a whole line; afterwards less is left."""
        torn, self._torn = self._torn, False
        if torn or (self._doubt and head.thread not in self._threads):
            return False
        self._remember(head)
        return True

    def _remember(self, head: Head) -> None:
        if head.thread not in self._threads and len(self._threads) < THREADS_LIMIT:
            self._threads.add(head.thread)

    def _tear(self, line: bytes) -> None:
        self._torn = True
        self._tamper(line)

    def _tamper(self, line: bytes) -> None:
        self.tampered += 1
        self.samples.append(line[:SAMPLE_LIMIT].decode(errors="backslashreplace"))
