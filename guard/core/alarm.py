"""Alarm: what an administrator should hear of although, or because, nobody is banned for it.

The same alarm is raised once a day, and of one kind a hundred: forged failures can be made to look like anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from guard.core.generations import Generations
from guard.core.units import DAY, Instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guard.core.address import Source
    from guard.core.plain import Reader, Row, Value
    from guard.core.tally import Table

AGAIN = DAY
A_DAY = 100
"""Alarms of one kind in a day."""
RAISED_LIMIT = 8_192


class Kind(StrEnum):
    """What an alarm is about."""

    GUESSED_PASSWORD = "guessed-password"  # noqa: S105 - a success right after many failures
    BROKEN_PHONE = "broken-phone"  # one account behind a trusted source fails at a phone's pace
    TRUSTED_SOURCE = "trusted-source"  # a source with trusted accounts is past its threshold
    ACCOUNT_UNDER_ATTACK = "account-under-attack"  # many sources guess at one account
    UNPROVEN_LIMIT = "unproven-limit"  # more unproven bans were due than are allowed
    NO_EFFECT = "ban-without-effect"  # a banned source goes on being heard
    FOUGHT = "firewall-fought"  # others remove or change our table again and again
    SUPPLEMENT_OFF = "supplement-off"  # it is asked no more whether to ban: it failed, or took too long
    MUTED = "muted"  # Asterisk could not issue security events


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm. `text` is a sentence of ours that is fit to be shown; `account` is the sender's text and is not."""

    kind: Kind
    at: Instant
    text: str
    source: Source | None = None
    account: str | None = None
    rule: str | None = None


class Alarms:
    """Alarms on their way out. `dropped` counts those beyond the hundred of their kind."""

    def __init__(self) -> None:
        self.raised = 0
        self.dropped = 0
        self._waiting: list[Alarm] = []
        self._days: dict[Kind, tuple[Instant, int]] = {}
        self._last: Generations[tuple[Kind, Source | None, str | None], Instant] = Generations(RAISED_LIMIT)

    @property
    def table(self) -> Table:
        """How full the memory of alarms is, which keeps the same one from being raised again."""
        return self._last.table("alarms")

    def take(self) -> list[Alarm]:
        """Return the alarms since the last call."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def dump(self) -> Iterator[Row]:
        """Give what was raised of late, so that the next life does not raise it again."""
        for kind, (since, count) in self._days.items():
            yield "day", kind, since, count
        for (kind, source, account), at in self._last.items():
            yield "last", kind, source, account, at

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back what was raised."""
        match row:
            case ["day", kind, since, count]:
                self._days[Kind(read.text(kind))] = read.instant(since), read.whole(count)
            case ["last", kind, source, account, at]:
                about = None if source is None else read.source(source)
                whom = None if account is None else read.text(account)
                self._last.put((Kind(read.text(kind)), about, whom), read.instant(at))
            case _:
                raise ValueError("an unknown row of alarms")

    def add(self, alarm: Alarm) -> None:
        """Raise an alarm, unless the same was raised within a day."""
        key = (alarm.kind, alarm.source, alarm.account)
        last = self._last.get(key)
        if last is not None and alarm.at - last < AGAIN:
            return
        self._last.put(key, alarm.at)
        since, count = self._days.get(alarm.kind, (alarm.at, 0))
        if alarm.at - since >= DAY:
            since, count = alarm.at, 0
        self._days[alarm.kind] = since, count + 1
        if count < A_DAY:
            self.raised += 1
            self._waiting.append(alarm)
        else:
            self.dropped += 1
