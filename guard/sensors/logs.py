"""The log sensor: reads Asterisk's `messages` log all the time, and its `security` log while there is no link.

What Asterisk's message bus loses is in `messages` only. The `security` log has what AMI has: while the link is up
only the place in it is kept; when the link breaks it is read from a little before the last event that came over AMI,
until the link is up again. Events that come twice are told apart from attempts in the core.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from guard.core.event import FAILURES, Service
from guard.core.units import MINUTE, SECOND, Duration, Wall
from guard.sensors.logfiles import MessagesFile, SecurityFile
from guard.wire.messagevalues import SESSION_LIMIT, read_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from guard.core.event import SecurityEvent
    from guard.core.tally import Tally
    from guard.sensors.logtail import LogTail
    from guard.wire.logtime import LogClock

log = logging.getLogger("astguard.logs")

POLL, SOON = 0.1, 0.02
"""Seconds between two looks at the files: as a rule, and while the log alone may tell of an attack. Asterisk answers
2,500 guesses a second. A look takes 15 us; that is 0.2 and 0.9 % of a core in all."""
LIVELY = Duration(5 * SECOND)
"""How long after a failure in it a log is looked at sooner."""
HEAD_START = Duration(SECOND // 10)
"""What AMI has of the log while the link is up. What both tell of then is paired with AMI's event, which knows the
transport: read first, the line would be an unproven offence."""
WAITING_LIMIT = 64
"""Batches that wait for that; beyond, they are handed on early, and nothing is lost."""
DRAIN = 256
"""Chunks that are read of a log before another sensor takes over."""
_ONLY_HERE = frozenset({Service.SIP, Service.IAX2})
"""What AMI tells of chan_sip is the sender's own word, and it never tells of IAX2: nothing to wait for."""
HEARD_LIMIT = 1_024
"""Failures over AMI remembered, for lines to learn their zone from."""


class LogSensor:
    """Follows the files for as long as `run` runs.

    `on_events` gets each batch of believed events, `on_muted` how many events the bus lost; `is_up` tells whether
    AMI does its work. `wall_ns` and `mono_ns` are the clocks. `deaf` is why no `messages` log is followed, if none is.
    """

    def __init__(
        self,
        messages: Sequence[Path],
        security: Sequence[Path],
        zone: tzinfo,
        *,
        on_events: Callable[[list[SecurityEvent]], None],
        on_muted: Callable[[int], None],
        is_up: Callable[[], bool],
        tally: Tally,
        mono_ns: Callable[[], int],
        wall_ns: Callable[[], int],
    ) -> None:
        self._messages = [MessagesFile(path, zone) for path in messages]
        self._files: list[MessagesFile | SecurityFile] = [*map(SecurityFile, security), *self._messages]
        self._on_events = on_events
        self._on_muted = on_muted
        self._is_up = is_up
        self._tally = tally
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns
        self.deaf = ""
        self._told: dict[LogTail, str] = {}
        self._waiting: deque[tuple[int, list[SecurityEvent]]] = deque()
        self._heard: dict[tuple[bytes, str], Wall] = {}
        self._last = Wall(0)
        self._next_fault_told = 0
        self._lively_until = 0

    @property
    def problems(self) -> dict[Path, str]:
        """Return every file that is followed, with what keeps it from being read: nothing if all is well."""
        return {file.tail.path: file.tail.problem for file in self._files}

    @property
    def samples(self) -> list[str]:
        """Return some of the tampered lines."""
        return [sample for file in self._messages for sample in file.reader.samples]

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            while self._files:  # noqa: ASYNC110 - a file tells nobody that it grew
                await asyncio.sleep(0 if self.poll() else self.pause)
        finally:
            for file in self._files:
                file.tail.close()

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        alone = not self._is_up() or self._mono_ns() < self._lively_until
        return SOON if alone or self._waiting else POLL

    def poll(self) -> bool:
        """Read what is new, at most a chunk of each file; True if there may be more."""
        more = False
        for file in self._files:
            try:
                more |= self._read(file)
            except Exception as error:  # noqa: BLE001 - one bad chunk may not cost the ones behind it
                self._tell_fault(error)
            self._report(file.tail)
        self._hand_on()
        return more

    def finish(self) -> None:
        """Hand on all that was written until now, at most DRAIN chunks of it, before another sensor takes over."""
        for _ in range(DRAIN):
            if not self.poll():
                break
        self._hand_on(all_of_it=True)

    def heard(self, events: Iterable[SecurityEvent]) -> None:
        """Take note of what came over AMI."""
        for event in events:
            self._last = max(self._last, event.at)
            if event.kind in FAILURES and event.service is Service.PJSIP:
                self._heard[event.source, read_session(event.session[:SESSION_LIMIT].encode())] = event.at
        while len(self._heard) > HEARD_LIMIT:
            del self._heard[next(iter(self._heard))]

    def _read(self, file: MessagesFile | SecurityFile) -> bool:
        now = Wall(self._wall_ns())
        if isinstance(file, MessagesFile):
            news = file.read(now)
            self._teach(file.clock, news.events)
        else:
            news = file.read(now, self._last, is_up=self._is_up())
        self._tally.add("log.tampered", news.tampered)
        self._tally.add("log.lines", len(news.events))
        if news.muted:
            self._on_muted(news.muted)
        if news.events:
            now_ns = self._mono_ns()
            self._lively_until = now_ns + LIVELY
            alone = [event for event in news.events if event.service in _ONLY_HERE]
            if alone:
                self._deliver(alone)
            if len(alone) < len(news.events):
                both = [event for event in news.events if event.service not in _ONLY_HERE] if alone else news.events
                self._waiting.append((now_ns + HEAD_START, both))
        return news.more

    def _hand_on(self, *, all_of_it: bool = False) -> None:
        """Hand on what AMI has had its start of."""
        while self._waiting:
            due, events = self._waiting[0]
            early = self._is_up() and self._mono_ns() < due and len(self._waiting) <= WAITING_LIMIT
            if early and not all_of_it:
                return
            self._waiting.popleft()
            self._deliver(events)

    def _deliver(self, events: list[SecurityEvent]) -> None:
        try:
            self._on_events(events)
        except Exception as error:  # noqa: BLE001 - as in poll(), and these are known by number
            self._tally.add("events.lost", len(events))
            self._tell_fault(error)

    def _teach(self, clock: LogClock, events: list[SecurityEvent]) -> None:
        for event in events if clock.local else ():
            at = self._heard.get((event.source, event.session))
            if at is not None:
                clock.learn(event.at, at)

    def _tell_fault(self, error: Exception) -> None:
        """Log a bug with its traceback, at most once a minute."""
        now = self._mono_ns()
        if now >= self._next_fault_told:
            self._next_fault_told = now + MINUTE
            log.error("a fault of astguard itself, please report it", exc_info=error)

    def _report(self, tail: LogTail) -> None:
        """Say once what keeps a file from being read, and when that is over."""
        if self._told.get(tail) == tail.problem:
            return
        self._told[tail] = tail.problem
        if not tail.problem:
            log.info("reading %s", tail.path)
        elif tail.is_missing:
            log.info("%s: %s yet; it is read when it comes", tail.path, tail.problem)
        else:
            log.warning(
                "%s: %s; let astguard's user read it, or name another file under 'logs' in astguard.yaml; trying again",
                tail.path, tail.problem,
            )  # fmt: skip
