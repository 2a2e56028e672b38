"""What-if: one recording, two sets of rules, and who of those they ban turns out to be a phone.

A source is a phone's if an account of PJSIP has authenticated from it with its password at any time of the recording:
nobody else can have done that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guard.core.address import covers, show
from guard.core.engine import Engine
from guard.core.event import Kind, Service
from guard.core.generations import Generations
from guard.core.rule import SIP_PORTS
from guard.core.text import printable
from guard.recordings import Recordings
from guard.replay.drive import Drive, batches
from guard.wire.describe import ACCOUNT_LIMIT, describe_alarm, describe_replayed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.event import SecurityEvent
    from guard.core.rule import Rule
    from guard.core.units import Wall

PHONES_LIMIT = 65_536
ACCOUNTS_LIMIT = 16
"""Hosts that authenticated, and accounts of one host, that are remembered."""


class Phones:
    """Who authenticated with a password from where, and when last."""

    def __init__(self, limit: int = PHONES_LIMIT) -> None:
        self._hosts: Generations[Source, dict[str, Wall]] = Generations(limit)

    @property
    def forgotten(self) -> int:
        """How many hosts were forgotten because the table was full."""
        return self._hosts.forgotten

    def note(self, events: Iterable[SecurityEvent]) -> None:
        """Take note of the successes among some events."""
        for event in events:
            if event.kind is Kind.SUCCESSFUL_AUTH and event.service is Service.PJSIP and event.password:
                accounts = self._hosts.touch(event.source)
                if accounts is None:
                    self._hosts.put(event.source, {event.account: event.at})
                elif event.account in accounts or len(accounts) < ACCOUNTS_LIMIT:
                    accounts[event.account] = event.at

    def behind(self, source: Source) -> dict[str, Wall]:
        """Return the accounts that authenticated from inside a source, with the last time of each."""
        found: dict[str, Wall] = {}
        for host, accounts in self._hosts.items():
            if covers(source, host):
                found.update(accounts)
        return found


@dataclass(slots=True)
class Comparison:
    """What two sets of rules made of one recording. `alarms` are those of each set."""

    events: int
    tampered: int
    first: tuple[dict[Source, Ban], dict[Source, Ban]]
    alarms: tuple[list[dict[str, object]], list[dict[str, object]]]
    phones: Phones
    seconds: float

    def as_json(self) -> dict[str, object]:
        """Return the object of `replay --compare -o json`; `a` and `b` of a source are its first ban by each set."""
        a, b = self.first
        banned = sorted(a.keys() | b.keys(), key=lambda source: min(s[source].since for s in self.first if source in s))
        return {
            "events": self.events,
            "tampered": self.tampered,
            "sources": [self._describe(source, a.get(source), b.get(source)) for source in banned],
            "alarms": dict(zip("ab", self.alarms, strict=True)),
            "phones_forgotten": self.phones.forgotten,
            "seconds": round(self.seconds, 3),
        }

    def _describe(self, source: Source, a: Ban | None, b: Ban | None) -> dict[str, object]:
        accounts = self.phones.behind(source)
        began = min(ban.since for ban in (a, b) if ban)
        registered = None if not accounts else "later" if max(accounts.values()) > began else "before"
        return {
            "source": show(source),
            "a": a and describe_replayed(a),
            "b": b and describe_replayed(b),
            "accounts": sorted(printable(account, ACCOUNT_LIMIT) for account in accounts),
            "registered": registered,
        }


def compare(
    files: Sequence[Path],
    a: Iterable[Rule],
    b: Iterable[Rule],
    allow: Collection[Source] = (),
    progress: Callable[[int, int], None] | None = None,
    sip_ports: Collection[int] = SIP_PORTS,
    timezone: tzinfo | None = None,
) -> Comparison:
    """Judge recordings by two sets of rules side by side; CaptureError if one cannot be read. Otherwise as `replay`."""
    started = time.perf_counter()
    recordings = Recordings(files, progress, timezone)
    engines = [Engine(rules, allow=allow, sip_ports=sip_ports) for rules in (a, b)]
    drives = [Drive(engine) for engine in engines]
    phones = Phones()
    for batch in batches(recordings.events()):
        phones.note(batch.events)
        for drive in drives:
            drive.handle(batch, recordings.muted)
    for drive in drives:
        drive.finish()
    first_a, first_b = ({ban.source: ban for ban in reversed(drive.bans)} for drive in drives)
    alarms_a, alarms_b = ([describe_alarm(alarm) for alarm in drive.alarms] for drive in drives)
    events, seconds = engines[0].tally.counts["events"], time.perf_counter() - started
    return Comparison(events, recordings.tampered, (first_a, first_b), (alarms_a, alarms_b), phones, seconds)
