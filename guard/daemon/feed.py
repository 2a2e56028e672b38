"""Feeds the live stream: follows the recorder, and tells what happens as news. Nobody listens: next to no cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.ban import Op
from guard.wire.describe import describe_alarm, describe_ban, show_time
from guard.wire.stream import Kind, News

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guard.api.stream import Stream
    from guard.core.alarm import Alarm
    from guard.core.ban import Change
    from guard.core.event import SecurityEvent
    from guard.core.outcome import Outcome
    from guard.core.units import Instant, Wall

_KINDS = {Op.ADD: Kind.BAN, Op.OBSERVE: Kind.WOULD_BAN, Op.REMOVE: Kind.UNBAN, Op.EXPIRE: Kind.EXPIRE}


class Feed:
    """Implements guard.daemon.recorder.Listener."""

    def __init__(self, stream: Stream, now: Callable[[], Instant], wall: Callable[[], Wall]) -> None:
        self._stream = stream
        self._now = now
        self._wall = wall

    def weighed(self, events: Sequence[SecurityEvent], outcomes: Sequence[Outcome]) -> None:
        """Tell of events that were judged."""
        if self._stream.clients:
            self._stream.tell(
                [
                    News(Kind.OUTCOME, event.source, None, outcome, event)
                    for event, outcome in zip(events, outcomes, strict=True)
                ]
            )

    def changed(self, change: Change, *, stored: bool) -> None:
        """Tell of a ban, or of its end."""
        if self._stream.clients:
            ban, wall = change.ban, self._wall()
            value = {"at": show_time(wall), **describe_ban(ban, self._now(), wall), "stored": stored}
            self._stream.tell([News(_KINDS[change.op], ban.source, ban.rule, None, value)])

    def alarmed(self, alarm: Alarm) -> None:
        """Tell of an alarm."""
        if self._stream.clients:
            told = describe_alarm(alarm)
            at = show_time(alarm.at - self._now() + self._wall())
            value = {**told, "alarm": told["kind"], "at": at, "kind": str(Kind.ALARM)}
            self._stream.tell([News(Kind.ALARM, alarm.source, alarm.rule, None, value)])
