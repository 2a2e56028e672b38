"""The ports that a ban of scope `sip` or `slow` closes: the configured ones, and those at which Asterisk was heard.

A ban that does not cover the port the attacker uses is no ban, and nobody reads a port number in a configuration
until then. So every local port at which a PJSIP or SIP event has arrived is learnt, of a WebSocket too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.event import WEB, Sensor, Service

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from guard.core.event import SecurityEvent

LEARNT_LIMIT = 16
"""More ports than that is no Asterisk; the port of SSH shall not be learnt from a stream that somebody forges."""
NEVER = frozenset({22})


class Ports:
    """Closed ports. `changed` is set when one has been learnt, for the driver to tell the kernel."""

    def __init__(self, configured: Collection[int]) -> None:
        self.changed = False
        self._configured = frozenset(configured)
        self._web_only = dict.fromkeys(self._configured, False)
        self._learnt: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        """Give all of them, in order."""
        return iter(sorted(self._web_only))

    def configure(self, configured: Collection[int]) -> None:
        """Let other ports be the configured ones; those that were learnt stay."""
        wanted = frozenset(configured)
        for port in self._configured - wanted - self._learnt:
            del self._web_only[port]  # if Asterisk is heard there it is learnt, as any other
        for port in wanted - self._configured:
            self._web_only.setdefault(port, False)
        self.changed = self.changed or wanted != self._configured
        self._configured = wanted

    def hear(self, event: SecurityEvent) -> None:
        """Learn the port at which an event arrived."""
        port, web = event.local_port, event.transport in WEB
        known = self._web_only.get(port)
        if known is None:
            room = len(self._learnt) < LEARNT_LIMIT
            if event.service in _SIP and event.sensor is not Sensor.MESSAGES and room and port not in NEVER:
                self._learnt.add(port)
                self._web_only[port] = web
                self.changed = True
        elif known and not web:
            self._web_only[port] = False

    def learnt(self) -> dict[int, bool]:
        """Return the learnt ports, and whether each was heard of over WebSockets alone."""
        return {port: web for port, web in self._web_only.items() if port in self._learnt}

    def restore(self, port: int, web: bool) -> None:
        """Take back a port that was learnt before."""
        if len(self._learnt) < LEARNT_LIMIT and port not in NEVER:
            self._learnt.add(port)
            self._web_only.setdefault(port, web)

    def close(self, event: SecurityEvent) -> bool:
        """Tell whether closing these ports stops such an event.

        Where chan_sip has WebSockets, Asterisk 16 reports a port of SIP for one, which comes in by another: only a port
        that was heard of over WebSockets alone is believed to be theirs.
        """
        web_only = self._web_only.get(event.local_port)
        return web_only is not None and (web_only or event.transport not in WEB)


_SIP = frozenset({Service.PJSIP, Service.SIP})
