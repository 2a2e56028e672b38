"""The section `logs` of astguard.yaml: which logs of Asterisk are read, and the time zone they are written in.

A log line without a zone says only what some clock showed. Nothing given means: what Asterisk's own logger.conf names,
in the zone that lines learn from AMI, else in the system's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard.settings.table import Table

LOGS_KEYS = ("messages", "security", "logger_conf", "timezone")

_OFFSET = re.compile(r"([+-])([01][0-9]|2[0-3]):([0-5][0-9])")
_WORDS = {"no": False, "false": False, "yes": True, "true": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Where Asterisk's logs are. `messages` and `security`: None as `logger_conf` says, an empty tuple for none.

    `timezone` is a name or an offset that `zone` reads; None is the system's.
    """

    messages: tuple[Path, ...] | None = None
    security: tuple[Path, ...] | None = None
    logger_conf: Path = Path("/etc/asterisk/logger.conf")
    timezone: str | None = None


def read_logs(table: Table, file_path: Callable[[str], Path]) -> Logs:
    """Read the section; `file_path` makes a path of a text."""
    usual = Logs()
    return Logs(
        messages=_files(table, "messages", file_path),
        security=_files(table, "security", file_path),
        logger_conf=table.one("logger_conf", file_path, usual.logger_conf),
        timezone=table.one("timezone", _zone_name, usual.timezone),
    )


def zone(text: str) -> tzinfo:
    """Return the time zone of a name such as Europe/Berlin or an offset such as +01:00; ValueError if it is none."""
    if offset := _OFFSET.fullmatch(text):
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(ahead if offset[1] == "+" else -ahead)
    if text == "UTC":
        return UTC  # a system that is small enough has no tzdata, and none is needed for this
    try:
        return ZoneInfo(text)
    except (LookupError, OSError, ValueError):  # unknown, a folder of zones, a path that leads out of them
        raise ValueError(f"{text!r} is no time zone; write it like Europe/Berlin, UTC or +01:00") from None


def _zone_name(text: str) -> str:
    zone(text)
    return text


def _files(table: Table, key: str, file_path: Callable[[str], Path]) -> tuple[Path, ...] | None:
    def path_or_word(text: str) -> Path | bool:
        return _WORDS[text] if text in _WORDS else file_path(text)

    found = table.many(key, path_or_word)
    if [value for value, _ in found] == [False]:
        return ()
    for value, place in found:
        if value is True:
            table.wrong(place, f"to read what logger.conf names, leave {key!r} out; else name the files")
        elif value is False:
            table.wrong(place, f"'no' stands alone: {key!r} names files, or it is 'no'")
    return tuple(value for value, _ in found if isinstance(value, Path)) or None
