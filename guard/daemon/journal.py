"""Where the log goes: into systemd's journal with fields, or to stderr. It never waits for either.

Who writes into the journal is decided as systemd.exec(5) says, by JOURNAL_STREAM: it names the device and inode of the
stream that systemd has made. Only if that is our stderr do lines belong there. The journal's socket may be full, when
thousands are banned at once, or gone. What is full is tried again a moment later, in order, up to a limit; what is gone
takes nothing. Lines that are lost are counted, and the count is told once the journal takes lines again.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from guard.core.text import printable
from guard.wire.journal import FIELD_LIMIT, readable, write_line

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
NAME = "astguard"
QUEUE_BYTES = 8 * 1024 * 1024
"""Bytes of lines that wait while the journal's socket is full: some 16,000 bans."""
AGAIN = 0.01
"""Seconds until a full socket is tried again; it takes some hundred lines at a time (net.unix.max_dgram_qlen)."""
PATIENCE = 0.5
"""Seconds that the last lines of a guard that stops may take."""

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class Page(logging.Formatter):
    """Writes a line of the log as people read it, whatever its arguments hold: one line, and a traceback indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        text = super().format(record)
        if record.exc_info is None and record.stack_info is None:
            return printable(text, FIELD_LIMIT)
        return readable(text).replace("\n", "\n  ")


class Prefixed(Page):
    """Puts the priority of a line before it, as systemd reads it on stderr (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        prefix = f"<{_priority(record)}>"
        return prefix + super().format(record).replace("\n", f"\n{prefix}")


class Journal(logging.Handler):
    """Sends records to the journal's socket at `path`. `lost` counts those that it did not take.

    Before `attach` and after `close` there is no event loop to try again on.
    """

    def __init__(self, path: str = SOCKET) -> None:
        super().__init__()
        self.lost = 0
        self._path = path
        self._untold = 0
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.setFormatter(Page())

    @property
    def waiting(self) -> int:
        """How many bytes wait for a full socket."""
        return self._bytes

    def attach(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Try again on this loop what a full socket does not take; on none when it is over."""
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, or queue it behind those that wait."""
        try:
            about = getattr(record, "about", None)
            line = write_line({
                "MESSAGE": self.format(record),
                "PRIORITY": str(_priority(record)),
                "SYSLOG_IDENTIFIER": NAME,
                "ASTGUARD_LOGGER": record.name,
                **({} if about is None else about.named()),
            })  # fmt: skip
        except Exception:  # noqa: BLE001 - a line that cannot be written may not end what it tells of
            self._lose()
            return
        self._hand_on(line)

    def close(self) -> None:
        """Send what waits, for at most a moment, and give the socket up."""
        self.acquire()
        try:
            self._loop = None
            if self._queue:
                self._socket.settimeout(PATIENCE)
                self._empty()
            for _ in self._queue:
                self._lose()
            self._queue.clear()
            self._bytes = 0
            self._socket.close()
        finally:
            self.release()
        super().close()

    def _hand_on(self, line: bytes) -> None:
        try:
            taken = not self._queue and self._send(line)
        except OSError:
            self._lose()
        else:
            if taken:
                self._tell()
            elif self._loop is None or self._bytes + len(line) > QUEUE_BYTES:
                self._lose()
            else:
                self._queue.append(line)
                self._bytes += len(line)
                self._drain_later()

    def _send(self, line: bytes) -> bool:
        """Send a line; False if the socket is full, OSError if nobody takes any."""
        try:
            self._socket.sendto(line, self._path)
        except (BlockingIOError, TimeoutError):
            return False
        return True

    def _lose(self) -> None:
        self.lost += 1
        self._untold += 1

    def _tell(self) -> None:
        """Tell how many lines were lost, now that lines are taken again."""
        if self._untold:
            text = f"{self._untold} lines of astguard are missing here: the journal did not take them"
            line = write_line({"MESSAGE": text, "PRIORITY": "4", "SYSLOG_IDENTIFIER": NAME})
            with suppress(OSError):
                if self._send(line):
                    self._untold = 0

    def _drain_later(self) -> None:
        if not self._draining and self._loop is not None:
            self._draining = True
            self._loop.call_soon_threadsafe(self._loop.call_later, AGAIN, self._drain)

    def _drain(self) -> None:
        self.acquire()
        try:
            self._draining = False
            if self._loop is not None and not self._empty():
                self._drain_later()
        finally:
            self.release()

    def _empty(self) -> bool:
        """Send what waits as far as it is taken; False if the socket is full again."""
        while self._queue:
            try:
                if not self._send(self._queue[0]):
                    return False
            except OSError:
                self._lose()
            self._bytes -= len(self._queue.popleft())
        self._tell()
        return True


def set_up(environment: Mapping[str, str], path: str = SOCKET) -> Journal | None:
    """Let the root logger write where our lines belong; return the journal's handler if it is there."""
    handler: logging.Handler
    # Nobody asks these of a record, and they are half of what a line costs.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if not _is_ours(environment.get("JOURNAL_STREAM", "")):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Page("%(asctime)s %(levelname)s %(message)s"))
    elif os.access(path, os.W_OK):
        handler = Journal(path)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Prefixed())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    return handler if isinstance(handler, Journal) else None


def _is_ours(stream: str) -> bool:
    """Tell whether the stream that systemd connected to the journal is our stderr, and not that of a parent."""
    try:
        there = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return stream == f"{there.st_dev}:{there.st_ino}"


def _priority(record: logging.LogRecord) -> int:
    return _PRIORITY.get(record.levelno, 6)
