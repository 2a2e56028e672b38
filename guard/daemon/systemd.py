"""What systemd is told: that the guard is up, how it goes, and again and again that its event loop still turns.

The protocol is sd_notify(3): a datagram of NAME=VALUE lines to the socket in NOTIFY_SOCKET. The watchdog's line is sent
from the event loop itself, so a loop that hangs is killed and started anew. Without systemd nothing is told.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from guard.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from guard.core.units import Instant

PATIENCE = 1.0
"""Seconds that a line which must arrive waits for a systemd with a full queue; a hung systemd never stops a guard."""
USUAL = 10.0
"""Seconds from one status line to the next where no watchdog asks for them more often."""
STATUS_LIMIT = 200
"""Characters of a status line."""


class Systemd:
    """Tells systemd; the variables it gives are taken out of `environment`, so that no child speaks in our name.

    `lost` counts what could not be told.
    """

    def __init__(self, environment: MutableMapping[str, str], pid: int) -> None:
        self.lost = 0
        path = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", str(pid)) == str(pid)
        self._watched = meant and microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
        # A third: two may be late before systemd loses its patience (sd_watchdog_enabled(3) says at least half).
        self.every = min(USUAL, int(microseconds) / 3e6) if self._watched else USUAL
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if path else None

    def ready(self) -> None:
        """Tell that the guard is up, or that a reload is over."""
        self._tell("READY=1", patience=PATIENCE)

    def reloading(self, now: Instant) -> None:
        """Tell that a reload begins, at this instant of the monotonic clock; `ready` ends it."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={now // 1000}", patience=PATIENCE)

    def stopping(self) -> None:
        """Tell that the guard stops."""
        self._tell("STOPPING=1", patience=PATIENCE)

    async def run(self, status: Callable[[], str]) -> None:
        """Feed the watchdog, and tell in a line how it goes, until cancelled."""
        while self._socket is not None:
            line = f"STATUS={printable(status(), STATUS_LIMIT)}"
            self._tell(line + ("\nWATCHDOG=1" if self._watched else ""))
            await asyncio.sleep(self.every)

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, lines: str, patience: float = 0.0) -> None:
        if self._socket is None:
            return
        self._socket.settimeout(patience)
        try:
            self._socket.sendto(lines.encode("utf-8", "replace"), self._address)
        except OSError:  # systemd is busy, or gone: it will find out by itself how we are
            self.lost += 1
