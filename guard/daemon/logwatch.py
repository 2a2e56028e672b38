"""Makes the log sensor: which files, in which time zone, and where its news goes."""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from guard.asterisk.loggerconf import find_logs
from guard.sensors.logs import LogSensor
from guard.settings.logs import zone

if TYPE_CHECKING:
    from datetime import tzinfo

    from guard.daemon.enforcer import Enforcer
    from guard.sensors.amilink import AmiLink
    from guard.settings.logs import Logs

log = logging.getLogger("astguard.logs")

LOCALTIME = Path("/etc/localtime")


def watch_logs(logs: Logs, enforcer: Enforcer, link: AmiLink) -> LogSensor:
    """Choose the files, by logger.conf where the configuration names none, and make the sensor for them."""
    messages, security, notes, wanted = logs.messages, logs.security, ["logs.messages is off"], False
    if messages is None or security is None:
        found = find_logs(logs.logger_conf)
        if messages is None:
            messages, notes = (found.messages,) if found.messages else (), list(found.notes)
            wanted = not found.absent
        if security is None:
            security = (found.security,) if found.security else ()
    deaf = ""
    if not messages:
        deaf = "; ".join(notes)
        notes = [
            f"no 'messages' log is read, so chan_sip, IAX2 and what Asterisk's message bus loses are not seen: {deaf}"
        ]
    elif logs.messages:
        notes = []
    for note in notes:
        log.info("%s", note)

    def take_muted(count: int) -> None:
        enforcer.engine.muted(count, enforcer.now())
        enforcer.settle()

    sensor = LogSensor(
        messages,
        security,
        zone(logs.timezone) if logs.timezone else system_zone(),
        on_events=enforcer.handle,
        on_muted=take_muted,
        is_up=lambda: link.state == "up",
        tally=enforcer.engine.tally,
        mono_ns=time.monotonic_ns,
        wall_ns=time.time_ns,
    )
    sensor.deaf = deaf if wanted else ""  # it is no news to whoever has switched it off, or has no Asterisk here
    return sensor


def system_zone() -> tzinfo:
    """Return the system's time zone, summer time and all, as Asterisk takes it."""
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError, LookupError):
        return datetime.now().astimezone().tzinfo or UTC
