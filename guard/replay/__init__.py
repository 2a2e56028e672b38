"""Drives the engine from recordings, to tell what these rules would have done.

Time is the recording's. Nothing is written and no firewall is touched; the engine is the daemon's own, so the answer
is what the daemon would have done.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guard.core.engine import Engine
from guard.core.rule import SIP_PORTS, Mode
from guard.recordings import Recordings
from guard.replay.drive import Drive, batches
from guard.supplements.voters import Voters
from guard.wire.describe import describe_alarm, describe_replayed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from guard.core.address import Source
    from guard.core.alarm import Alarm
    from guard.core.ban import Ban
    from guard.core.rule import Rule


@dataclass(slots=True)
class Report:
    """What a replay found. `bans` and `alarms` in the order in which they came; `seconds` is how long it took."""

    events: int
    outcomes: dict[str, int]
    tampered: int
    bans: list[Ban]
    seconds: float
    alarms: list[Alarm] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the contract object of `replay -o json`."""
        return {
            "events": self.events,
            "outcomes": self.outcomes,
            "tampered": self.tampered,
            "bans": [describe_replayed(ban) for ban in self.bans],
            "alarms": [describe_alarm(alarm) for alarm in self.alarms],
            "seconds": round(self.seconds, 3),
        }


def replay(
    files: Sequence[Path],
    rules: Iterable[Rule],
    allow: Iterable[Source] = (),
    progress: Callable[[int, int], None] | None = None,
    sip_ports: Collection[int] = SIP_PORTS,
    timezone: tzinfo | None = None,
    voters: Sequence[tuple[str, object]] = (),
) -> Report:
    """Judge all recordings together, in the order of time; CaptureError if one cannot be read.

    `progress` is told the bytes read so far and in all. Where an AMI capture covers a time, the security log of that
    time is left out: it holds the same events. `timezone` is that of log lines which name none; if None, it is
    learnt from what AMI told too, or else UTC. `voters` are asked before a ban, as in the daemon, but not measured.
    """
    started = time.perf_counter()
    engine = Engine(rules, mode=Mode.ENFORCE, allow=allow, sip_ports=sip_ports)
    if voters:
        engine.ask_before_bans(Voters(voters))
    drive = Drive(engine)
    recordings = Recordings(files, progress, timezone)
    for batch in batches(recordings.events()):
        drive.handle(batch, recordings.muted)
    drive.finish()
    counts = engine.tally.counts
    outcomes = {
        name.removeprefix("outcome."): count for name, count in counts.items() if name.startswith("outcome.") and count
    }
    seconds = time.perf_counter() - started
    return Report(counts["events"], outcomes, recordings.tampered, drive.bans, seconds, drive.alarms)
