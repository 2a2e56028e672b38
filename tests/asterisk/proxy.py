"""A proxy on the PBX that keeps the senders' addresses, as a transparent load balancer does: Asterisk sees who sends,
but what it sees comes from the proxy, by loopback.
"""

from __future__ import annotations

import contextlib
import select
import socket
from typing import TYPE_CHECKING

from tests.asterisk.worker import Worker

if TYPE_CHECKING:
    from tests.asterisk.network import Host

_IP_TRANSPARENT = 19  # linux/in.h: bind to an address that is somebody else's
_MARK, _TABLE = "7", "107"
# Asterisk's answers to a client of the proxy are the proxy's to deliver.
BACK = (
    "add table ip front; add chain ip front out {{ type route hook output priority 0; }}; "
    "add rule ip front out udp sport {port} ip daddr {clients} meta mark set {mark}"
)


class Proxy(Worker):
    """Hands on datagrams from one port of the PBX to SIP's own."""

    def __init__(self, pbx: Host, port: int, clients: str, service: int = 5060) -> None:
        self._pbx, self._service = pbx, service
        pbx.run("nft", BACK.format(port=service, clients=clients, mark=_MARK), check=True)
        pbx.run("ip", "rule", "add", "fwmark", _MARK, "lookup", _TABLE, check=True)
        pbx.run("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", _TABLE, check=True)
        self._front = self._socket((pbx.address, port))
        self._behind: dict[tuple[str, int], socket.socket] = {}
        super().__init__()

    def leave(self) -> None:
        """Give everything back."""
        for line in (self._front, *self._behind.values()):
            line.close()
        self._pbx.run("ip", "rule", "del", "fwmark", _MARK, check=True)
        self._pbx.run("ip", "route", "flush", "table", _TABLE, check=True)

    def work(self) -> None:
        """Hand on both ways; a client is known by its address and port."""
        while not self.over.is_set():
            clients = {line: client for client, line in self._behind.items()}
            for line in select.select([self._front, *clients], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    data, peer = line.recvfrom(65_535)
                    if line is self._front:
                        self._line(peer).sendto(data, (self._pbx.address, self._service))
                    else:
                        self._front.sendto(data, clients[line])

    def _line(self, client: tuple[str, int]) -> socket.socket:
        if client not in self._behind:
            self._behind[client] = self._socket(client)
        return self._behind[client]

    def _socket(self, address: tuple[str, int]) -> socket.socket:
        with self._pbx.entered():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
        made.bind(address)
        return made
