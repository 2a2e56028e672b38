"""Where a value stands, and the mistakes of all files, collected to be reported at once."""

from __future__ import annotations

from typing import NamedTuple

from guard.errors import ConfigError

MAX_MISTAKES = 100  # more than anybody reads in one go; reading stops there
MAX_MESSAGE = 300  # characters of one mistake, since it may quote the file


class Place(NamedTuple):
    """Where a value stands: line and column count from 1, in characters. `str` gives `file:line:column`."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        # A file name may hold anything but NUL and a slash, a line break and half a character included.
        file = self.file if self.file.isprintable() else ascii(self.file)[1:-1]
        return f"{file}:{self.line}:{self.column}"


class Mistakes:
    """Collects the mistakes of one or several files, to report them all at once."""

    def __init__(self) -> None:
        self._found: list[tuple[Place, str]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: Place, text: str) -> None:
        """Note a mistake; the hundredth ends the reading with ConfigError."""
        text = text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + " ..."
        self._found.append((place, text))
        if len(self._found) == MAX_MISTAKES:
            self.check()

    def check(self) -> None:
        """Raise ConfigError with every mistake in the order of files and lines; return if there is none."""
        if self._found:
            raise ConfigError([f"{place}: {text}" for place, text in sorted(self._found)])
