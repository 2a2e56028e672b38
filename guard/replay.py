"""Drives the engine from recordings, to tell what these rules would have done.

Time is the recording's. Nothing is written and no firewall is touched; the engine is the daemon's own, so the answer
is what the daemon would have done.
"""

from __future__ import annotations

import gzip
import heapq
import lzma
import re
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, BinaryIO, Protocol

from guard.core.ban import Op
from guard.core.engine import MAX_AGE, Engine
from guard.core.rule import SIP_PORTS, Mode
from guard.core.units import Instant, Wall
from guard.errors import CaptureError
from guard.wire.amievent import BlockReader, EventReader
from guard.wire.describe import describe_replayed
from guard.wire.securitylog import SecurityLogReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.event import SecurityEvent
    from guard.core.rule import Rule

CHUNK = 262_144
HEAD = 65_536
"""Bytes from which a recording is recognised."""


class Reader(Protocol):
    """What reads one kind of recording."""

    @property
    def tampered(self) -> int:
        """How many blocks or lines were not believed."""

    def feed(self, data: bytes) -> list[SecurityEvent]:
        """Take the next bytes; return the events in them."""

    def finish(self) -> list[SecurityEvent]:
        """Return what was still waiting at the end."""


class AmiCapture:
    """The bytes of an AMI socket, from the banner on or from anywhere behind it."""

    def __init__(self) -> None:
        self._blocks = BlockReader()
        self._events = EventReader()
        self._head: bytes | None = b""

    @property
    def tampered(self) -> int:
        """Blocks not believed."""
        return self._events.tampered

    def feed(self, data: bytes) -> list[SecurityEvent]:
        """Take the next bytes; return the events in them."""
        if self._head is not None:
            data = self._head + data
            banner, end, rest = data.partition(b"\r\n")
            if not end and len(data) < CHUNK:
                self._head = data
                return []
            self._head = None
            data = rest if banner.startswith(b"Asterisk Call Manager/") else data
        return self._events.read(self._blocks.feed(data))

    def finish(self) -> list[SecurityEvent]:
        """Return what was still waiting; a block without its end was cut off and is dropped."""
        return self._events.finish()


@dataclass(slots=True)
class Report:
    """What a replay found. `bans` in the order in which they were made; `seconds` is how long the replay took."""

    events: int
    outcomes: dict[str, int]
    tampered: int
    bans: list[Ban]
    seconds: float
    alarms: list[dict[str, object]] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the contract object of `replay -o json`."""
        return {
            "events": self.events,
            "outcomes": self.outcomes,
            "tampered": self.tampered,
            "bans": [describe_replayed(ban) for ban in self.bans],
            "alarms": self.alarms,
            "seconds": round(self.seconds, 3),
        }


def replay(
    files: Sequence[Path],
    rules: Iterable[Rule],
    allow: Iterable[Source] = (),
    progress: Callable[[int, int], None] | None = None,
    sip_ports: Collection[int] = SIP_PORTS,
) -> Report:
    """Judge all recordings together, in the order of time; CaptureError if one cannot be read.

    `progress` is told the bytes read so far and in all. Where an AMI capture covers a time, the security log of that
    time is left out: it holds the same events.
    """
    started = time.perf_counter()
    engine = Engine(rules, mode=Mode.ENFORCE, allow=allow, sip_ports=sip_ports)
    recordings = _Recordings(files, progress)
    bans: list[Ban] = []
    batch: list[SecurityEvent] = []
    now, wall = Instant(0), Wall(0)  # they part where the recorded clock was set back

    def judge() -> None:
        engine.handle(batch, now, wall)
        made = [change.ban for change in engine.take_changes() if change.op is Op.ADD]
        ahead = now - wall
        bans.extend(replace(ban, since=Instant(ban.since - ahead), until=Instant(ban.until - ahead)) for ban in made)
        batch.clear()

    for event in recordings.events():
        if not wall - MAX_AGE <= event.at <= wall:
            judge()
            now, wall = Instant(now + max(event.at - wall, 0)), event.at
        batch.append(event)
    judge()
    counts = engine.tally.counts
    outcomes = {
        name.removeprefix("outcome."): count for name, count in counts.items() if name.startswith("outcome.") and count
    }
    return Report(counts["events"], outcomes, recordings.tampered, bans, time.perf_counter() - started)


class _Recordings:
    """The files of one replay, and the events of all of them in the order of time."""

    def __init__(self, files: Sequence[Path], progress: Callable[[int, int], None] | None) -> None:
        self._readers: dict[Path, Reader] = {}
        mistakes = []
        for path in files:
            try:
                self._readers[path] = _recognise(path)
            except CaptureError as error:
                mistakes.append(str(error))
        if mistakes:
            raise CaptureError("\n".join(mistakes))
        self._total = sum(path.stat().st_size for path in files)
        self._done = 0
        self._progress = progress

    @property
    def tampered(self) -> int:
        return sum(reader.tampered for reader in self._readers.values())

    def events(self) -> Iterator[SecurityEvent]:
        by_time = attrgetter("at")
        captures = [path for path, reader in self._readers.items() if isinstance(reader, AmiCapture)]
        logs = [path for path in self._readers if path not in captures]
        if not logs or not captures:
            return heapq.merge(*map(self._read, captures + logs), key=by_time)
        recorded = [list(self._read(path)) for path in captures]
        covered = [(min(map(by_time, events)), max(map(by_time, events))) for events in recorded if events]
        rest = (
            event
            for event in heapq.merge(*map(self._read, logs), key=by_time)
            if not any(first <= event.at <= last for first, last in covered)
        )
        return heapq.merge(*recorded, rest, key=by_time)

    def _read(self, path: Path) -> Iterator[SecurityEvent]:
        reader = self._readers[path]
        with _open(path) as (stream, position):
            before = 0
            while data := stream.read(CHUNK):
                yield from reader.feed(data)
                after = position()
                self._done, before = self._done + after - before, after
                if self._progress:
                    self._progress(self._done, self._total)
        yield from reader.finish()


def _recognise(path: Path) -> Reader:
    """Choose the reader for a file by what is in it."""
    with _open(path) as (stream, _):
        head = stream.read(HEAD)
    if head.startswith(b"Asterisk Call Manager/") or re.search(rb"(?:^|\r\n)(?:Event|Response): \w+\r\n", head):
        return AmiCapture()
    if b'SecurityEvent="' in head or not head:
        return SecurityLogReader()
    if re.match(rb"\[[^]\n]+\] (?:NOTICE|WARNING|ERROR|VERBOSE|DEBUG|DTMF)\[", head):
        raise CaptureError(
            f"{path}: looks like a 'messages' log, which this version cannot replay yet; "
            "give an AMI capture or the 'security' log of the same time"
        )
    raise CaptureError(
        f"{path}: neither an AMI capture ('Asterisk Call Manager/...' first) nor a security log "
        "('SecurityEvent=' in its lines); plain, .gz and .xz files are read"
    )


@contextmanager
def _open(path: Path) -> Iterator[tuple[BinaryIO | gzip.GzipFile | lzma.LZMAFile, Callable[[], int]]]:
    """Open a plain, gzip or xz file; the second value tells how many bytes of the file itself were read."""
    try:
        with path.open("rb") as raw:
            magic = raw.read(6)
            raw.seek(0)
            if magic.startswith(b"\x1f\x8b"):
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield unpacked, raw.tell
            elif magic == b"\xfd7zXZ\x00":
                with lzma.LZMAFile(raw) as unpacked_xz:
                    yield unpacked_xz, raw.tell
            else:
                yield raw, raw.tell
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CaptureError(f"{path}: cannot be read: {reason}") from error
