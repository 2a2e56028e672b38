"""The live stream: clients that hear what happens, as server-sent events, for as long as they like.

News is gathered for a twentieth of a second, written once for each different filter, and the same bytes go to all who
share it. A client that reads too slowly is dropped, never waited for: what waits for it is bounded in bytes, and what
it shares with others is in memory once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import ClientError, web

from guard.wire.control import TooMany
from guard.wire.stream import BEAT, HELLO, write_event, write_news

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guard.wire.stream import Filter, News

CLIENTS = 64
"""Clients at a time; those that are being dropped are among them."""
WAITING = 4 * 1024 * 1024
"""Bytes that may wait for one client: three seconds of 5,000 events a second. Clients of one filter share them."""
NEWS_LIMIT = 1_000
"""What happened since the last writing; at so many it is written at once, so a backlog does not pile up."""
GATHERED = 0.05
"""Seconds that news is gathered, to be written at once."""
BEAT_SECONDS = 15.0
"""Seconds between two signs of life, by which both sides find out that the other is gone."""
GRACE = 2.0
"""Seconds that a client has to take what still waits for it, once it is dropped or the guard stops."""

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events back
}


class Client:
    """Somebody who listens. `last` is the event that ends his stream, once it shall end."""

    def __init__(self, http: web.BaseRequest, wanted: Filter) -> None:
        self.wanted = wanted
        self.last: bytes | None = None
        self._http = http
        self._pieces: list[bytes] = []
        self._size = 0
        self._wake = asyncio.Event()

    @property
    def gone(self) -> bool:
        """Whether the connection has ended; the task that serves it learns that when it writes next."""
        transport = self._http.transport
        return transport is None or transport.is_closing()

    def offer(self, piece: bytes) -> bool:
        """Let a piece wait for the client; False if too much waits already."""
        if self._size + len(piece) > WAITING:
            return False
        self._pieces.append(piece)
        self._size += len(piece)
        self._wake.set()
        return True

    def end(self, last: bytes, *, forget: bool) -> None:
        """End the stream with this event; what waits is told before, unless it is to be forgotten."""
        if self.last is not None:
            return
        self.last = last
        if forget:
            self._pieces, self._size = [], 0
        self._wake.set()
        asyncio.get_running_loop().call_later(GRACE, self._cut)

    async def serve(self) -> web.StreamResponse:
        """Write until the end, or until the client is gone."""
        response = web.StreamResponse(headers=_HEADERS)
        try:
            await response.prepare(self._http)
            await response.write(HELLO)
            while True:
                await self._wake.wait()
                self._wake.clear()
                pieces, self._pieces, self._size = self._pieces, [], 0
                for piece in pieces:
                    await response.write(piece)
                if self.last is not None and not self._pieces:
                    await response.write(self.last)
                    await response.write_eof()
                    break
        except (ConnectionError, ClientError):  # gone, or cut off
            pass
        return response

    def _cut(self) -> None:
        transport = self._http.transport
        if transport is not None:
            transport.abort()


class Stream:
    """All who listen. `count` is told by name what becomes of clients; see guard.core.tally."""

    def __init__(self, count: Callable[[str], None]) -> None:
        self.clients: set[Client] = set()
        self._count = count
        self._news: list[News] = []
        self._gathering: asyncio.TimerHandle | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._closed = False

    def tell(self, news: Sequence[News]) -> None:
        """Take what happened; it is written later. Who has nobody to tell need not call."""
        self._news += news
        if len(self._news) >= NEWS_LIMIT:
            self._write()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHERED, self._write)

    async def serve(self, http: web.BaseRequest, wanted: Filter) -> web.StreamResponse:
        """Tell one client what it wants until it leaves; TooMany if there are enough already, or the guard stops."""
        for client in self.clients:
            if client.gone:
                client.end(b"", forget=True)  # wakes its task, which finds out
        if self._closed or sum(not client.gone for client in self.clients) >= CLIENTS:
            self._count("stream.refused")
            why = "astguard stops" if self._closed else f"{CLIENTS} clients follow the stream, which is all it serves"
            raise TooMany(f"{why}; try again later")
        client = Client(http, wanted)
        self.clients.add(client)
        if self._beating is None:
            self._beating = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)
        try:
            return await client.serve()
        finally:
            self.clients.discard(client)

    def close(self) -> None:
        """Say good-bye to all and take nobody any more."""
        self._closed = True
        self._write()
        for timer in (self._gathering, self._beating):
            if timer is not None:
                timer.cancel()
        for client in self.clients:
            client.end(write_event("end", {"kind": "end", "text": "astguard stops"}), forget=False)

    def _write(self) -> None:
        """Write what was gathered, for each filter once, and let it wait for the clients."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        news, self._news = self._news, []
        listening = [client for client in self.clients if client.last is None]
        wanted: dict[Filter, list[bytes]] = {client.wanted: [] for client in listening}
        for one in news:
            written = b""
            for wish, pieces in wanted.items():
                if wish.passes(one):
                    written = written or write_news(one)
                    pieces.append(written)
        joined = {wish: b"".join(pieces) for wish, pieces in wanted.items() if pieces}
        for client in listening:
            if client.wanted in joined and not client.offer(joined[client.wanted]):
                self._drop(client)

    def _drop(self, client: Client) -> None:
        self._count("stream.dropped")
        text = f"more than {WAITING} bytes waited to be read, so the rest is not told; read faster, or ask for less"
        client.end(write_event("dropped", {"kind": "dropped", "text": text}), forget=True)

    def _beat(self) -> None:
        self._beating = None
        for client in self.clients:
            if client.last is None and not client.offer(BEAT):
                self._drop(client)
        if self.clients:
            self._beating = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)
