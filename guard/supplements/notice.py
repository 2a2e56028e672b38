"""Tells people of bans and alarms: the part that webhook and mail have in common.

A thread sends; callbacks only put into the outbox, so nothing waits for a server. After a restart nothing is told
again, because the guard tells nobody of bans that it takes back.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, ClassVar

from guard.supplements.outbox import Notice, Outbox

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard.supplements.contract import Alarm, Ban

CLOSE_SECONDS = 1.5
"""How long the last notice may take."""


class NotSent(Exception):
    """A notice has not arrived. The text names no secret; `again`: another try makes sense."""

    def __init__(self, text: str, *, again: bool) -> None:
        super().__init__(text)
        self.again = again


class Notices:
    """Gathers bans and alarms, and has them sent by `send`, which the subclass brings: it may take long, and fail."""

    what: ClassVar[str]

    def __init__(self, options: Mapping[str, str]) -> None:
        self._tells_bans = options.get("bans", "yes") == "yes"
        self._outbox = Outbox()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def send(self, notice: Notice) -> None:
        """Send; NotSent if it has not arrived."""
        raise NotImplementedError

    def after_ban(self, ban: Ban) -> None:
        """Tell of a ban. One that is only observed shuts nobody out."""
        if self._tells_bans and not ban.observed:
            with self._changed:
                self._outbox.put_ban(ban, time.monotonic())
                self._changed.notify()

    def on_alarm(self, alarm: Alarm) -> None:
        """Tell of an alarm."""
        with self._changed:
            self._outbox.put_alarm(alarm, time.monotonic())
            self._changed.notify()

    def lost(self, count: int) -> None:
        """Say that there was more."""
        with self._changed:
            self._outbox.put_lost(count, time.monotonic())
            self._changed.notify()

    def close(self) -> None:
        """Send what waits, once."""
        with self._changed:
            self._closed = True
            self._outbox.hurry(time.monotonic())
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        while (notice := self._wait()) is not None:
            try:
                self.send(notice)
            except NotSent as error:
                with self._changed:
                    again = self._outbox.failed(time.monotonic(), again=error.again and not self._closed)
                sys.stderr.write(f"{self.what}: {error}; {'tried again' if again else 'given up'}\n")
            else:
                with self._changed:
                    self._outbox.sent(time.monotonic())

    def _wait(self) -> Notice | None:
        """Wait until there is something to send; None at the end."""
        with self._changed:
            while True:
                now = time.monotonic()
                notice = self._outbox.take(now)
                if notice is not None:
                    return notice
                if self._closed and self._outbox.at is None:
                    return None
                if self._closed:
                    self._outbox.hurry(now)
                    continue
                self._changed.wait(None if self._outbox.at is None else self._outbox.at - now)


def subject(notice: Notice) -> str:
    """Say in a line what a notice is about."""
    bans, alarms = len(notice.bans), len(notice.alarms)
    if bans == 1 and not alarms and not notice.more:
        return f"ban {notice.bans[0].address} ({notice.bans[0].rule})"
    if alarms == 1 and not bans and not notice.more:
        return f"alarm {notice.alarms[0].kind}"
    parts = [
        f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((alarms, "alarm"), (bans, "ban")) if count
    ]
    return " and ".join([*parts, *([f"{notice.more} more"] if notice.more else [])])


def lines(notice: Notice) -> list[str]:
    """Say it line by line, the alarms first."""
    said = [f"alarm {alarm.kind}: {alarm.text}" for alarm in notice.alarms]
    said.extend(
        f"ban {ban.address} for {_span(ban.seconds)}, rule {ban.rule}, scope {ban.scope}, evidence {ban.evidence}, "
        f"strike {ban.strike}, {ban.offences} offences{'' if ban.stored else ', not stored'}"
        for ban in notice.bans
    )
    if notice.more:
        said.append(f"and {notice.more} more; 'astguard bans list' shows who is banned")
    return said


def host() -> str:
    """Name this host."""
    return socket.gethostname()


def _span(seconds: float) -> str:
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"
