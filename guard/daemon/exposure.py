"""The door through which anybody can forge whole events: AMI over HTTP, open to other hosts. No grammar tells them.

For each status it is looked whether Asterisk's files have changed, and only then are they read again: the warning ends
when the door is shut, and a status costs a few questions to the file system.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from guard.asterisk.folder import read_folder_conf
from guard.asterisk.manager import Listener, open_web, read_http, read_manager

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from guard.settings.config import Config

log = logging.getLogger("astguard")

REMEDY = "'webenabled = no' in manager.conf, or 'bindaddr = 127.0.0.1' in http.conf, then reload both"


def watch_exposure(config: Config) -> Callable[[], str]:
    """Say loudly at the start if the door is open, and return what tells it for the status."""
    if not Listener("AMI", config.ami.host, "", "").is_loopback:
        return str  # the files of another host are not here
    watch = Exposure(config.logs.logger_conf.parent)
    if text := watch.now():
        log.error("%s; %s", text, REMEDY)
    return watch.now


class Exposure:
    """What the files of a folder open, read again when one of them changes."""

    def __init__(self, etc: Path) -> None:
        self._main = (etc / "manager.conf", etc / "http.conf")
        self._seen: dict[Path, tuple[int, int] | None] = {}
        self._text = ""

    def now(self) -> str:
        """Say which doors are open; nothing if none is."""
        if not self._seen or any(_stamp(path) != stamp for path, stamp in self._seen.items()):
            self._read()
        return self._text

    def _read(self) -> None:
        manager_conf, http_conf = (read_folder_conf(path) for path in self._main)
        named = [
            (path.parent / name).parent for conf in (manager_conf, http_conf) for name, path in conf.includes
        ]  # a folder whose files are included changes with each of them
        self._seen = {path: _stamp(path) for path in (*self._main, *manager_conf.files, *http_conf.files, *named)}
        doors = open_web(read_manager(manager_conf), read_http(http_conf))
        self._text = (
            f"asterisk: AMI over HTTP is on and reachable from other hosts ({', '.join(map(str, doors))}): "
            "anybody there can forge events, and have whomever he likes banned"
            if doors
            else ""
        )


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size
