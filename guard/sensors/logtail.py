"""One log file that somebody else writes, renames, truncates and removes: its new bytes, in order.

A file that was renamed is read on until the new one has something in it: Asterisk goes on writing to the old one
until it is told to reopen its logs. A file that was copied and truncated (logrotate's copytruncate) is shorter than
before, or begins otherwise. Looking a few times a second costs nothing and works on every file system.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from guard.wire.loglines import MESSAGE_LIMIT

if TYPE_CHECKING:
    from pathlib import Path

START = 64
"""Bytes at the beginning by which a file is known again: more than a time."""

_MISSING = "is not there"


class Piece(NamedTuple):
    """New bytes. `fresh`: they begin a file, so what was read before of a line has no end."""

    data: bytes
    fresh: bool


class Mark(NamedTuple):
    """A place in a file."""

    file: tuple[int, int]
    at: int


class LogTail:
    """Follows the file of that name, from its end if it is there at first. `problem` says why nothing is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._fd: int | None = None
        self._file = (0, 0)
        self._at = 0
        self._start = b""
        self._from_end = True

    def read(self, size: int) -> Piece:
        """Return the next bytes, at most `size`; none if there is nothing new, or nothing to read from."""
        fresh = False
        if self._fd is None and not self._open():
            return Piece(b"", fresh)
        try:
            if self._was_truncated():
                self._at, self._start, fresh = 0, b"", True
            data = self._take(size)
            if not data and self._was_replaced():
                data = self._take(size)  # what came between the last reading and the new file's first line
                if not data and self._open():
                    data, fresh = self._take(size), True
        except OSError as error:
            self._fail(error)
            return Piece(b"", fresh)
        return Piece(data, fresh)

    def skip(self) -> Mark | None:
        """Go to the beginning of the last line that is still being written, else to the end; return where that is."""
        if (self._fd is None or self._was_replaced()) and not self._open():
            return None
        assert self._fd is not None
        try:
            end = os.fstat(self._fd).st_size
            back = os.pread(self._fd, MESSAGE_LIMIT, max(0, end - MESSAGE_LIMIT))
        except OSError as error:
            self._fail(error)
            return None
        line_end = back.rfind(b"\n")
        self._at = end if line_end < 0 and len(back) == MESSAGE_LIMIT else end - len(back) + line_end + 1
        self._start = os.pread(self._fd, START, 0)
        return Mark(self._file, self._at)

    def go_back(self, mark: Mark) -> bool:
        """Go back to a place; False if the file it was in is gone."""
        if self._fd is None or mark.file != self._file or os.fstat(self._fd).st_size < mark.at:
            return False
        self._at = mark.at
        return True

    @property
    def is_missing(self) -> bool:
        """Tell whether there is no such file."""
        return self.problem == _MISSING

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _take(self, size: int) -> bytes:
        assert self._fd is not None
        data = os.pread(self._fd, size, self._at)
        self._at += len(data)
        if len(self._start) < START and data:
            self._start = os.pread(self._fd, START, 0)
        return data

    def _open(self) -> bool:
        """Open what has the name now, at its beginning; only what was there at first, at its end."""
        from_end, self._from_end = self._from_end, False
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            self.problem = self.problem if self._fd is not None else _MISSING
            return False
        except OSError as error:
            self._from_end = from_end
            self._fail(error)
            return False
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            self.problem = "is no file"
            return False
        self.close()
        self._fd, self._file, self._at, self._start, self.problem = fd, (found.st_dev, found.st_ino), 0, b"", ""
        if from_end:
            self.skip()
        return True

    def _was_truncated(self) -> bool:
        assert self._fd is not None
        return os.fstat(self._fd).st_size < self._at or not os.pread(self._fd, START, 0).startswith(self._start)

    def _was_replaced(self) -> bool:
        """Tell whether the name stands for another file now, one that has something in it."""
        try:
            found = self.path.stat()
        except OSError:
            return False  # moved away, and the new one is still to come
        return (found.st_dev, found.st_ino) != self._file and found.st_size > 0

    def _fail(self, error: OSError) -> None:
        self.problem = f"cannot be read: {error.strerror or type(error).__name__}"
