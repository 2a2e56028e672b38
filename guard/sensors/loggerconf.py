"""Which files Asterisk logs to, as its own logger.conf says.

Read as Asterisk reads it (main/config.c): `;` begins a comment, `;--` one of many lines, `#include` names further
files, a channel is `NAME => [formatter]levels`. Nothing here is a mistake of ours to report: what cannot be read is
left out, and what follows is said in `notes`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

INCLUDE_DEPTH = 8
FILE_LIMIT = 1_048_576
"""Files in files, and bytes of one file, that are read."""

LOG_FOLDER = Path("/var/log/asterisk")
"""Where logs are if asterisk.conf does not say."""

_BLOCK_COMMENT = re.compile(r";--.*?(?:--;|\Z)", re.DOTALL)
_COMMENT = re.compile(r"(?<!\\);.*")
_INCLUDE = re.compile(r"#(?:try)?include\s+[\"<]?([^\">]+)[\">]?\s*")
_SECTION = re.compile(r"\[([^]]+)\].*")
_ENTRY = re.compile(r"([^=]*?)\s*=>?\s*(.*)")
_CHATTY = {"debug", "trace", "verbose", "dtmf", "fax"}


class Channel(NamedTuple):
    """A file that Asterisk logs to, its formatter and its levels; `*` is all of them."""

    path: Path
    formatter: str
    levels: frozenset[str]

    def has(self, level: str) -> bool:
        """Tell whether messages of a level are written to it."""
        return level in self.levels or "*" in self.levels

    @property
    def noise(self) -> int:
        """Return how many chatty levels are in it, of which a text can look like lines of the others."""
        return len(_CHATTY) if "*" in self.levels else len(self.levels & _CHATTY)


class Found(NamedTuple):
    """The one file to read for each sensor, None if there is none, and what to tell the administrator.

    `absent`: there is no logger.conf, so no Asterisk on this host.
    """

    messages: Path | None
    security: Path | None
    notes: tuple[str, ...] = ()
    absent: bool = False


def find_logs(logger_conf: Path) -> Found:
    """Choose the files. One each: another with the same lines in it would tell of every attempt twice."""
    try:
        with logger_conf.open("rb"):
            pass
    except FileNotFoundError:
        return Found(None, None, (f"there is no {logger_conf}",), absent=True)
    except OSError as error:
        return Found(None, None, (f"{logger_conf} cannot be read: {error.strerror}",))
    channels = list(_channels(logger_conf))
    readable = [channel for channel in channels if channel.formatter != "json"]
    notes = [f"{channel.path} is written as JSON, which is not read" for channel in channels if channel not in readable]
    written = [channel for channel in readable if channel.has("notice")]
    events = [channel for channel in readable if channel.has("security")]
    messages = min(written, key=lambda channel: (not channel.has("error"), channel.noise), default=None)
    security = min(events, key=lambda channel: len(channel.levels) + channel.noise, default=None)
    if messages is None:
        notes.append(f"{logger_conf} names no file for the level 'notice'; add 'messages.log => notice,warning,error'")
    elif messages.noise:
        notes.append(
            f"{messages.path} holds more than notices: packets printed into it can look like lines of it; "
            f"add 'messages.log => notice,warning,error' to {logger_conf}"
        )
    return Found(messages and messages.path, security and security.path, tuple(notes))


def _channels(logger_conf: Path) -> Iterator[Channel]:
    folder, ending = LOG_FOLDER, ""
    for section, name, value in _entries(logger_conf.with_name("asterisk.conf")):
        if (section, name) == ("directories", "astlogdir"):
            folder = Path(value)
    entries = list(_entries(logger_conf))
    for section, name, value in entries:
        if (section, name) == ("general", "appendhostname") and value.lower() in {"yes", "true", "on", "y", "t", "1"}:
            ending = "." + os.uname().nodename
    for section, name, value in entries:
        if section == "logfiles" and name and name.lower() != "console" and not name.lower().startswith("syslog"):
            formatter, levels = re.fullmatch(r"(?:\[([^]]*)\])?(.*)", value, re.DOTALL).groups()  # type: ignore[union-attr]
            words = frozenset(level.strip().partition("(")[0].lower() for level in levels.split(","))
            yield Channel(folder / (name + ending), (formatter or "").strip().lower(), words - {""})


def _entries(path: Path, depth: int = 0) -> Iterator[tuple[str, str, str]]:
    """Give (section, name, value) in order, of a file and of those that it includes; nothing of what cannot be read."""
    section = ""
    for line in _lines(path):
        if (include := _INCLUDE.fullmatch(line)) and depth < INCLUDE_DEPTH:
            for file in sorted(path.parent.glob(include[1])) if not include[1].startswith("/") else [Path(include[1])]:
                for inner, name, value in _entries(file, depth + 1):
                    section = inner or section
                    yield section, name, value
        elif match := _SECTION.fullmatch(line):
            section = match[1].strip().lower()
        elif match := _ENTRY.fullmatch(line):
            yield section, match[1].strip(), match[2].strip()


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(FILE_LIMIT)
    except OSError:
        return
    for line in _BLOCK_COMMENT.sub("", text).split("\n"):
        yield _COMMENT.sub("", line).strip()
