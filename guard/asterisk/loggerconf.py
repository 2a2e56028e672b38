"""Which files Asterisk logs to, and how it writes times there, as its own logger.conf says.

A channel is `NAME => [formatter]levels`. Nothing here is a mistake of ours to report: what cannot be read is left out,
and what follows is said in `notes`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from guard.asterisk.conffile import is_true
from guard.asterisk.folder import read_folder_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guard.asterisk.conffile import Conf

LOG_FOLDER = Path("/var/log/asterisk")
"""Where logs are if asterisk.conf does not say."""

_CHANNEL = re.compile(r"(?:\[([^]]*)\])?(.*)", re.DOTALL)
_SECONDS = re.compile(r"%[-_0^#]*[EO]?[STscrX+]")
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
    channels = log_channels(read_folder_conf(logger_conf), log_folder(logger_conf.with_name("asterisk.conf")))
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


def log_folder(asterisk_conf: Path) -> Path:
    """Return where logs are by asterisk.conf."""
    return Path(read_folder_conf(asterisk_conf).section("directories").get("astlogdir") or LOG_FOLDER)


def date_format(logger_conf: Path) -> str:
    """Return how times are written there; empty if nothing says so, and then they have seconds."""
    return read_folder_conf(logger_conf).section("general").get("dateformat")


def has_seconds(date_format: str) -> bool:
    """Tell whether a format of strftime(3) writes seconds; the usual one, of no words, does."""
    return not date_format or bool(_SECONDS.search(date_format.replace("%%", "")))


def log_channels(conf: Conf, folder: Path) -> list[Channel]:
    """List the files that a logger.conf names, in its order; `folder` is where those without a path are."""
    return list(_channels(conf, folder))


def _channels(conf: Conf, folder: Path) -> Iterator[Channel]:
    ending = "." + os.uname().nodename if is_true(conf.section("general").get("appendhostname")) else ""
    for name, value, _ in conf.section("logfiles").entries:
        if name and name.lower() != "console" and not name.lower().startswith("syslog"):
            formatter, levels = _CHANNEL.fullmatch(value).groups()  # type: ignore[union-attr]
            words = frozenset(level.strip().partition("(")[0].lower() for level in levels.split(","))
            yield Channel(folder / (name + ending), (formatter or "").strip().lower(), words - {""})
