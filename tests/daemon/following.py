"""A client of the live stream, for tests: reads server-sent events from a control socket."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager


class Follower:
    """One connection. `status` is HTTP's; `next` gives what happened, one thing after the other."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.body = b""

    async def begin(self, query=""):
        self.writer.write(f"GET /v1/events{query} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.status = int(head.split(b" ")[1])
        if self.status != 200:
            self.body = await self.reader.read()
        else:
            await self.reader.readuntil(b"\n\n")  # the greeting: from here on nothing is missed

    async def next(self):
        """Return what happened next."""
        block = b":"
        while block.startswith(b":"):  # signs of life
            block = await self.reader.readuntil(b"\n\n")
        name, data = block.removesuffix(b"\n\n").split(b"\n")
        value = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + value["kind"].encode()
        return value

    async def take(self, count):
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def following(path, query=""):
    """Follow the stream of a control socket for as long as the block."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        follower = Follower(reader, writer)
        await follower.begin(query)
        yield follower
    finally:
        writer.close()
