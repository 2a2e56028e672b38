"""The Asterisk of the simulation: the other end of the link, on virtual time, and its log files.

It answers Challenge, Login and Ping as Asterisk does, or as it is ordered: refuse, hang, cut, greet like another
server. What it sends arrives in pieces of drawn size, at drawn instants. It notes which blocks have arrived whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

from guard.core.units import MILLISECOND, SECOND
from tests import blocks

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ALLOWED_ACTIONS = {"Challenge", "Login", "Ping"}


def stamp(wall):
    """Write an instant as EventTV does."""
    at = EPOCH + timedelta(milliseconds=wall // MILLISECOND)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}+0000"


def log_stamp(wall):
    """Write an instant as the log does, in UTC."""
    return f"{EPOCH + timedelta(milliseconds=wall // MILLISECOND):%Y-%m-%d %H:%M:%S}"


class Asterisk:
    """Outlives the guard's lives. `wire` is the connection that is open, if one is."""

    def __init__(self, world, folder, secret):
        self.world = world
        self.clock, self.chance = world.clock, world.chance
        self.secret = secret
        self.messages = folder / "messages.log"
        self.security = folder / "security.log"
        self.wire = None
        self.down_until = 0  # nobody listens
        self.refusing_until = 0
        self.hanging_until = 0
        self.mute_until = 0  # logs in and tells no security events, as for a user without `read = security`
        self.greeting = b"Asterisk Call Manager/11.0.0\r\n"
        self.asked = set()

    async def connect(self, loop, factory):
        """Give a connection to whoever asks, or not."""
        now = self.clock.mono
        if now < self.down_until:
            raise self.chance.choice((ConnectionRefusedError(111, "refused"), OSError(113, "no route to host")))
        if now < self.hanging_until and self.chance.random() < 0.5:
            await loop.create_future()
        await asyncio.sleep(self.chance.choice((0.0001, 0.01, 0.2)))
        protocol = factory()
        self.wire = Wire(self, loop, protocol)
        protocol.connection_made(self.wire)
        self.wire.say(self.greeting)
        return self.wire, protocol

    def is_hanging(self):
        return self.clock.mono < self.hanging_until

    def say(self, text, *, genuine=True):
        """Raise a security event on AMI: a block without its empty line. It is lost where nobody is logged in."""
        if self.wire is None or not self.wire.online or self.clock.mono < self.mute_until:
            return None
        return self.wire.say(text.encode(errors="surrogateescape") + b"\r\n\r\n", genuine=genuine)

    def log(self, text):
        """Write a line into `messages`."""
        with self.messages.open("ab") as file:
            file.write(f"[{log_stamp(self.clock.wall)}] {text}\n".encode(errors="surrogateescape"))

    def log_event(self, text):
        """Write a line into the security log."""
        with self.security.open("ab") as file:
            file.write(f"[{log_stamp(self.clock.wall)}] SECURITY[4711] res_security_log.c: {text}\n".encode())

    def rotate(self):
        """Rename the logs; new ones come with the next line, or are there at once and empty."""
        for file in (self.messages, self.security):
            if file.exists():
                file.replace(file.with_suffix(".1"))


class Wire(asyncio.Transport):
    """One connection, seen from Asterisk. `heard` is what the engine was handed of it."""

    def __init__(self, asterisk, loop, protocol):
        super().__init__()
        self.asterisk = asterisk
        self.loop = loop
        self.protocol = protocol
        self.online = False
        self.open = True
        self.clean = True  # nothing but what Asterisk would say was sent
        self.sent = self.delivered = 0
        self.whole = []  # where each genuine event ends in the stream
        self.heard = 0
        self._out = bytearray()
        self._in = b""
        self._challenge = ""
        self._pump = None
        self._cut_behind = False

    def say(self, data, *, genuine=None):
        """Send bytes; return where they end in the stream."""
        self._out += data
        self.sent += len(data)
        if genuine is True:
            self.whole.append(self.sent)
        elif genuine is False:
            self.clean = False
        self._plan()
        return self.sent

    def cut(self):
        """Close the connection when what was sent has arrived, or before that."""
        if self.asterisk.chance.random() < 0.5:
            self._out.clear()
        self._cut_behind = True
        self._plan()

    def arrived(self):
        """Count the genuine events that have arrived whole."""
        return sum(end <= self.delivered for end in self.whole)

    def _plan(self):
        if self._pump is None and self.open:
            wait = self.asterisk.chance.choice((0, 0, 0.0003, 0.004, 0.05))
            self._pump = self.loop.call_later(wait, self._deliver)

    def _deliver(self):
        self._pump = None
        if not self.open:
            return
        if self.asterisk.is_hanging():
            self._pump = self.loop.call_later(0.5, self._deliver)
            return
        if self._out:
            size = self.asterisk.chance.choice((1, 2, 7, 60, 400, 1_500, 65_536, 65_536))
            data = bytes(self._out[:size])
            del self._out[: len(data)]
            self.delivered += len(data)
            self.protocol.data_received(data)
        if self._out:
            self._plan()
        elif self._cut_behind:
            self._lose()

    def _lose(self):
        if self.open:
            self.open = self.online = False
            self.protocol.connection_lost(None)

    # The client's side of it.

    def write(self, data):
        if not self.open:
            return
        self._in += data
        *actions, self._in = self._in.split(b"\r\n\r\n")
        for action in actions:
            headers = dict(line.split(": ", 1) for line in action.decode().split("\r\n"))
            self.asterisk.asked.add(headers["Action"])
            if not self.asterisk.is_hanging():
                self.loop.call_later(self.asterisk.chance.choice((0, 0.002, 0.4)), self._answer, headers)

    def abort(self):
        if self.open:
            self.open = self.online = False
            self.loop.call_soon(self.protocol.connection_lost, None)

    close = abort

    def is_closing(self):
        return not self.open

    def pause_reading(self):
        raise AssertionError("Asterisk cuts off who stops reading")

    def _answer(self, asked):
        asterisk = self.asterisk
        if not self.open:
            return
        match asked["Action"]:
            case "Challenge":
                self._challenge = str(asterisk.chance.randrange(10**8, 10**9))
                self._reply(asked, "Success", f"Challenge: {self._challenge}")
            case "Login":
                key = hashlib.md5((self._challenge + asterisk.secret).encode(), usedforsecurity=False).hexdigest()
                if asked.get("Key") != key or asterisk.clock.mono < asterisk.refusing_until:
                    self._reply(asked, "Error", "Message: Authentication failed")
                    self._cut_behind = True
                    return
                mute = asterisk.clock.mono < asterisk.mute_until
                first = asterisk.chance.random() < 0.3 and not mute
                if first:
                    self._own_login()
                self._reply(asked, "Success", "Message: Authentication accepted")
                if not first and not mute:
                    self._own_login()
                self.online = True
            case "Ping":
                at = asterisk.clock.wall / SECOND
                self._reply(asked, "Success", f"Ping: Pong\r\nTimestamp: {at:.6f}")
            case other:
                raise AssertionError(f"astguard asked for {other}")

    def _own_login(self):
        row = blocks.row_of("SuccessfulAuth", "AMI")
        tv = stamp(self.asterisk.clock.wall)
        lines = blocks.headers(
            row, AccountID="astguard", EventTV=tv, SessionTV=tv, RemoteAddress="IPV4/TCP/127.0.0.1/50862"
        )
        self.say(blocks.ami(row, lines).encode() + b"\r\n\r\n", genuine=True)

    def _reply(self, asked, response, rest):
        self.say(f"Response: {response}\r\nActionID: {asked['ActionID']}\r\n{rest}\r\n\r\n".encode())
