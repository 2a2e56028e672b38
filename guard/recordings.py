"""Recordings of what Asterisk said, and the events of several of them in the order of time.

At one instant AMI comes before the security log and that before `messages`, as it does in the daemon. Local times of
a log are those of the zone given, else of the one in which its lines agree with the events of the other recordings,
else UTC.
"""

from __future__ import annotations

import gzip
import heapq
import lzma
import re
import zlib
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, timedelta
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, BinaryIO, Protocol

from guard.core.event import Service
from guard.core.units import MINUTE, Wall
from guard.errors import CaptureError
from guard.wire.amievent import BlockReader, EventReader
from guard.wire.loglines import is_banner, read_head
from guard.wire.logtime import SLACK, STEP, LogClock
from guard.wire.messages import MessagesReader
from guard.wire.messagevalues import SESSION_LIMIT, read_session
from guard.wire.securitylog import SecurityLogReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from guard.core.event import SecurityEvent

CHUNK = 262_144
HEAD = 65_536
"""Bytes from which a recording is recognised."""
COMPARED = 50_000
"""Events of one log that are compared with the other recordings, to learn its zone."""


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


class FullLog:
    """A log of all levels, read as the security log and as `messages`. What broke in it broke for both."""

    def __init__(self, clock: LogClock) -> None:
        self.messages = MessagesReader(clock)
        self._security = SecurityLogReader()

    @property
    def tampered(self) -> int:
        """Lines not believed."""
        return max(self._security.tampered, self.messages.tampered)

    def feed(self, data: bytes) -> list[SecurityEvent]:
        """Take the next bytes; return the events in them."""
        return sorted(self._security.feed(data) + self.messages.feed(data), key=_BY_TIME)

    def finish(self) -> list[SecurityEvent]:
        """Return the event of a last line without a line end."""
        return self._security.finish() + self.messages.finish()


_BY_TIME = attrgetter("at")


class Recordings:
    """The files of one replay, and the events of all of them in the order of time."""

    def __init__(
        self, files: Sequence[Path], progress: Callable[[int, int], None] | None, timezone: tzinfo | None = None
    ) -> None:
        self._timezone = timezone
        self._clocks: dict[Path, LogClock] = {}
        self._readers: dict[Path, Reader] = {}
        mistakes = []
        for path in files:
            clock = LogClock(timezone or UTC)
            try:
                self._readers[path] = _recognise(path, clock)
                clock.written = Wall(path.stat().st_mtime_ns)
            except CaptureError as error:
                mistakes.append(str(error))
            self._clocks[path] = clock
        if mistakes:
            raise CaptureError("\n".join(mistakes))
        self._total = sum(path.stat().st_size for path in files)
        self._done = 0
        self._progress = progress

    @property
    def tampered(self) -> int:
        """Blocks and lines not believed, in all files."""
        return sum(reader.tampered for reader in self._readers.values())

    @property
    def muted(self) -> int:
        """Events that Asterisk itself lost, as its `messages` logs tell."""
        return sum(reader.muted for reader in map(_messages, self._readers.values()) if reader)

    def events(self) -> Iterator[SecurityEvent]:
        """Give all events in the order of time."""
        captures, logs, written = (
            [path for path, reader in self._readers.items() if isinstance(reader, kind)]
            for kind in (AmiCapture, SecurityLogReader, MessagesReader | FullLog)
        )
        if not written and not (logs and captures):
            return heapq.merge(*map(self._read, captures + logs), key=_BY_TIME)
        recorded = [list(self._read(path)) for path in captures]
        covered = [(min(map(_BY_TIME, events)), max(map(_BY_TIME, events))) for events in recorded if events]
        if written and self._timezone is None:
            others = heapq.merge(*recorded, *(self._again(path, SecurityLogReader()) for path in logs), key=_BY_TIME)
            self._learn(written, others)
        rest = (
            event
            for event in heapq.merge(*map(self._read, logs), key=_BY_TIME)
            if not any(first <= event.at <= last for first, last in covered)
        )
        return heapq.merge(*recorded, rest, *map(self._read, written), key=_BY_TIME)

    def _learn(self, written: list[Path], others: Iterable[SecurityEvent]) -> None:
        """Find the zone of each log in which most of its lines agree with events of the same source and Call-ID."""
        heard: dict[tuple[bytes, str], int] = {}
        for event in others:
            heard[event.source, read_session(event.session[:SESSION_LIMIT].encode())] = event.at
            latest = event.at
        for path in written if heard else ():
            self._clocks[path].written = latest
            clock = LogClock(UTC, written=latest)
            apart = [
                event.at - at
                for event in islice(self._again(path, MessagesReader(clock)), COMPARED)
                if event.service is Service.PJSIP and (at := heard.get((event.source, event.session)))
            ]
            steps = Counter(round(late / STEP) for late in apart if abs(late - round(late / STEP) * STEP) <= SLACK)
            if clock.local and steps:
                self._clocks[path].use(timedelta(minutes=steps.most_common(1)[0][0] * STEP // MINUTE))

    @staticmethod
    def _again(path: Path, reader: Reader) -> Iterator[SecurityEvent]:
        """Read a file beside the real reading of it."""
        with _open(path) as (stream, _):
            while data := stream.read(CHUNK):
                yield from reader.feed(data)
        yield from reader.finish()

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


def _messages(reader: Reader) -> MessagesReader | None:
    reader = reader.messages if isinstance(reader, FullLog) else reader
    return reader if isinstance(reader, MessagesReader) else None


def _recognise(path: Path, clock: LogClock) -> Reader:
    """Choose the reader for a file by what is in it."""
    with _open(path) as (stream, _):
        start = stream.read(HEAD)
    if start.startswith(b"Asterisk Call Manager/") or re.search(rb"(?:^|\r\n)(?:Event|Response): \w+\r\n", start):
        return AmiCapture()
    lines = start.split(b"\n")
    heads = [head for line in lines if (head := read_head(line)) is not None]
    security = b'SecurityEvent="' in start
    others = any(head.level != b"SECURITY" for head in heads)
    if security or not start:
        return FullLog(clock) if others else SecurityLogReader()
    if heads or is_banner(lines[0]):
        return MessagesReader(clock)
    raise CaptureError(
        f"{path}: neither an AMI capture ('Asterisk Call Manager/...' first) nor a log of Asterisk "
        "('[time] NOTICE[1234] file.c: ...' in its lines); plain, .gz and .xz files are read"
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
