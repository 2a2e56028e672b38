"""Somebody who can call the PBX: a phone, an attacker, a colleague in an office."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from tests.asterisk.sip import PATIENCE, SHORT_PATIENCE, Caller

if TYPE_CHECKING:
    from tests.asterisk.network import Host

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
BOTH_FAMILIES = (*TRANSPORTS, *(f"{transport}6" for transport in TRANSPORTS))


@dataclass(frozen=True)
class Person:
    """A host, by an address of IPv4 and one of IPv6; `tcp6` is TCP over IPv6.

    `seen_as` is what the PBX sees instead of the address, for who sits behind a router that lends its own.
    """

    host: Host
    pbx: Host
    six: str = ""
    seen_as: str = ""

    @property
    def address(self) -> str:
        """Tell from where the PBX hears this person over IPv4."""
        return self.seen_as or self.host.address

    def source(self, transport: str = "udp") -> str:
        """Tell what is banned when this person is."""
        return str(ip_network(f"{self.six}/64", strict=False)) if transport.endswith("6") else f"{self.address}/32"

    def line(
        self, transport: str = "udp", port: int = 0, service: int | None = None, patience: float = PATIENCE
    ) -> Caller:
        """Open a line to the PBX, kept open; `service` is a port that is not the transport's usual one."""
        if transport.endswith("6"):
            there = self.pbx.at("2001:db8:a::10")
            return Caller(self.host.at(self.six), there, transport[:-1], port, service=service, patience=patience)
        return Caller(self.host, self.pbx, transport, port, service=service, patience=patience)

    def register(
        self, account: str = "100", password: str = "", transport: str = "udp", service: int | None = None
    ) -> bool | None:
        """Register on a line of its own, as a phone does that was just switched on; with the right password if none."""
        with self.line(transport, service=service) as line:
            return line.register(account, password or f"right-{account}")

    def guess(self, account: str, times: int, transport: str = "udp", service: int | None = None) -> int:
        """Guess passwords on one line, and tell how many were refused before silence."""
        with self.line(transport, service=service) as line:
            return line.guess(account, times)

    def gets_through(self, transport: str = "udp", service: int | None = None) -> bool:
        """Tell whether the PBX answers at all, and at once."""
        try:
            with self.line(transport, service=service, patience=SHORT_PATIENCE) as line:
                return line.ask("OPTIONS", "100", to="600") is not None
        except OSError:  # not even a connection
            return False
