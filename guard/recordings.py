"""Recordings of what Asterisk said, and the events of several of them in the order of time."""

from __future__ import annotations

import gzip
import heapq
import lzma
import re
import zlib
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, BinaryIO, Protocol

from guard.errors import CaptureError
from guard.wire.amievent import BlockReader, EventReader
from guard.wire.securitylog import SecurityLogReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from guard.core.event import SecurityEvent

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


class Recordings:
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
        """Blocks and lines not believed, in all files."""
        return sum(reader.tampered for reader in self._readers.values())

    def events(self) -> Iterator[SecurityEvent]:
        """Give all events in the order of time."""
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
