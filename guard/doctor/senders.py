"""From how many addresses Asterisk has heard lately, by the ends of its logs: a proxy in front of it hides them all."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import Source, is_special
from guard.core.units import Wall
from guard.wire.logtime import LogClock
from guard.wire.messages import MessagesReader
from guard.wire.securitylog import SecurityLogReader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from guard.core.event import SecurityEvent

TAIL = 1 << 20
"""Bytes of the end of a log: some thousands of events, read in a few tenths of a second."""


class Senders(NamedTuple):
    """How many events there were, from how many hosts, about how many accounts; `host` is one of them."""

    events: int = 0
    hosts: int = 0
    accounts: int = 0
    host: Source | None = None


def read_senders(messages: Iterable[Path], security: Iterable[Path]) -> Senders:
    """Count the senders in the ends of these logs; what cannot be read counts nothing."""
    events: list[SecurityEvent] = []
    for path in messages:
        clock = LogClock(UTC)
        clock.now = Wall(0)
        events += MessagesReader(clock).feed(_tail(path))
    for path in security:
        events += SecurityLogReader().feed(_tail(path))
    remote = [event for event in events if not is_special(event.source)]
    hosts = {event.source for event in remote}
    return Senders(len(remote), len(hosts), len({event.account for event in remote}), next(iter(hosts), None))


def _tail(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            start = max(0, file.seek(0, 2) - TAIL)
            file.seek(start)
            data = file.read(TAIL)
    except OSError:
        return b""
    return data.partition(b"\n")[2] if start else data  # the first line is half a one
