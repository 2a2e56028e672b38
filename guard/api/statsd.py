"""The StatsD sender: datagrams to a server that may be away, slow, renamed or moved, which costs only counts.

Nothing here waits except the look-up of the host's name, and that runs beside everything else, one at a time, so that
a stuck resolver holds one thread of the loop's pool at most. Every look-up makes a new socket: a connected UDP socket
keeps the source address that it had at first, and sends into the void once that address is gone.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

DATAGRAMS_PER_FLUSH = 256
"""Datagrams of one send(). A thousand address names and astguard's own counts, at their longest, make about 130."""

REFRESH = 60.0
"""Seconds after which a name is looked up again."""

RETRY = 5.0
"""Seconds between look-ups while something is wrong."""

START_WAIT = 1.0
"""Seconds that start() waits for the first look-up; a slower one goes on without it."""

Peer = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


class StatsdSender:
    """Sends datagrams to `host` (a name or an address of either family), UDP port `port`. Nothing it does raises.

    Of the datagrams given, `sent` were taken by the kernel, `failed` were not (no address known, buffer full, no
    route) and `dropped` were beyond DATAGRAMS_PER_FLUSH. `refused` counts ICMP errors about datagrams sent before:
    nobody listens there. `unresolved` counts look-ups that brought no usable address.
    """

    def __init__(self, host: str, port: int = 8125) -> None:
        assert 0 < port < 65_536, "settings let no other port through"
        self._host = host
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lookup: asyncio.Task[None] | None = None
        self._looked_at = 0.0
        self._socket: socket.socket | None = None
        self._peer: Peer | None = None
        self._wrong = False
        self.sent = self.failed = self.dropped = self.refused = self.unresolved = 0

    async def start(self) -> None:
        """Look the host up, for at most START_WAIT seconds; until it is found, what is sent is counted as failed."""
        self._loop = asyncio.get_running_loop()
        await asyncio.wait((self._look_up(self._loop),), timeout=START_WAIT)

    def send(self, datagrams: Iterable[bytes]) -> None:
        """Send the datagrams of one flush, without ever waiting."""
        for number, datagram in enumerate(datagrams):
            if number < DATAGRAMS_PER_FLUSH:
                self._send_one(datagram)
            else:
                self.dropped += 1
        if self._loop is not None and (self._lookup is None or self._lookup.done()):
            pause = RETRY if self._wrong or self._socket is None else REFRESH
            if self._loop.time() - self._looked_at >= pause:
                self._look_up(self._loop)

    async def close(self) -> None:
        """End a look-up that is under way and close the socket; later datagrams are counted as failed."""
        self._loop = None
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.cancel()
        self._connect(())
        if lookup is not None:
            await asyncio.wait((lookup,))

    def _send_one(self, datagram: bytes) -> None:
        if self._socket is None:
            self.failed += 1
            return
        self._notice_refusal()
        try:
            self._socket.send(datagram)
        except OSError:
            self.failed += 1
            self._wrong = True
        else:
            self.sent += 1

    def _notice_refusal(self) -> None:
        """Take the ICMP error of an earlier datagram, which would otherwise be raised instead of sending the next."""
        if self._socket is not None and self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.refused += 1
            self._wrong = True

    def _look_up(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        self._looked_at = loop.time()
        self._lookup = loop.create_task(self._resolve(loop))
        return self._lookup

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        except (OSError, ValueError):  # ValueError: text that cannot be a name, such as an empty or endless label
            self.unresolved += 1  # the old address, if there is one, goes on being used
            return
        self._notice_refusal()
        peers: list[Peer] = list(dict.fromkeys((entry[0], entry[4]) for entry in found))
        if self._peer in peers:
            # Stay with an address that works. Leave one that does not: `localhost` is ::1 first, and statsd listens
            # on 0.0.0.0 unless told otherwise.
            first = peers.index(self._peer) + self._wrong
            peers = peers[first:] + peers[:first]
        self._connect(peers)
        self.unresolved += self._socket is None

    def _connect(self, peers: Iterable[Peer]) -> None:
        """Replace the socket by one to the first peer that there is a route to, or by none."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._peer = None
        self._wrong = False
        for family, address in peers:
            sock = None
            try:
                sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                sock.connect(address)
            except OSError:
                if sock is not None:
                    sock.close()
                continue
            self._socket, self._peer = sock, (family, address)
            return
