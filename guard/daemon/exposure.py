"""The door through which anybody can forge whole events: AMI over HTTP, open to other hosts. No grammar tells them.

Asterisk's files are read once more for each status, so that the warning ends when the door is shut.
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
        return lambda: ""  # the files of another host are not here
    etc = config.logs.logger_conf.parent

    def exposed() -> str:
        return exposure(etc)

    if text := exposed():
        log.error("%s; %s", text, REMEDY)
    return exposed


def exposure(etc: Path) -> str:
    """Say which doors are open by the files of this folder; nothing if none is."""
    manager = read_manager(read_folder_conf(etc / "manager.conf"))
    doors = open_web(manager, read_http(read_folder_conf(etc / "http.conf")))
    if not doors:
        return ""
    return (
        f"asterisk: AMI over HTTP is on and reachable from other hosts ({', '.join(map(str, doors))}): "
        "anybody there can forge events, and have whomever he likes banned"
    )
