"""The AMI client protocol without IO: greeting, login, ping, and the events in between.

    GREETING --banner--> CHALLENGE --challenge--> LOGIN --success--> ONLINE
                    `--- over TLS: plain --------^

`receive` takes what the socket gave and returns security events; `data_to_send` gives what belongs on the socket. Any
error that comes out is a ProtocolError; anything else is a bug. Replies are told by an ActionID that nobody else can
guess, so no text inside an event can pass for one. The secret crosses an unencrypted connection only as
md5(challenge + secret); inside TLS it is sent as it is.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from guard.core.text import printable
from guard.errors import LoginRefused, ProtocolError
from guard.wire.amievent import BlockReader, EventReader

if TYPE_CHECKING:
    from guard.core.event import SecurityEvent

GREETING_LIMIT = 256
"""Bytes of the banner, `Asterisk Call Manager/11.0.0`. A peer that says more before a line end is another server."""

_GREETING = re.compile(rb"Asterisk Call Manager/(\d{1,4}(?:\.\d{1,4}){0,3})")


class State(StrEnum):
    """Where the conversation is."""

    GREETING = "greeting"
    CHALLENGE = "challenge"
    LOGIN = "login"
    ONLINE = "online"


class AmiClient:
    """One connection. `token` is a random word for the ActionIDs; `plain` sends the secret itself (inside TLS)."""

    def __init__(self, username: str, secret: str, token: str, *, plain: bool = False) -> None:
        self.state = State.GREETING
        self.version = ""
        self.reader = EventReader(username)
        self._username = username
        self._secret = secret
        self._token = token
        self._plain = plain
        self._actions = 0
        self._login = ""
        self._ping = ""
        self._out = b""
        self._blocks = BlockReader()
        self._head = b""

    @property
    def ping_open(self) -> bool:
        """Whether a Ping waits for its answer."""
        return bool(self._ping)

    def receive(self, data: bytes) -> list[SecurityEvent]:
        """Take bytes from Asterisk; return the events that are complete and believed."""
        if self.state is State.GREETING:
            data = self._greet(self._head + data)
            if self.state is State.GREETING:
                return []
        blocks = [
            block for block in self._blocks.feed(data) if not (block.startswith("Response: ") and self._answer(block))
        ]
        return self.reader.read(blocks) if blocks else []

    def data_to_send(self) -> bytes:
        """Return what has to be sent now, once."""
        out, self._out = self._out, b""
        return out

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._ping = self._act("Ping")

    def _greet(self, data: bytes) -> bytes:
        line, end, rest = data.partition(b"\r\n")
        if not end and len(data) <= GREETING_LIMIT and _could_greet(data):
            self._head = data
            return b""
        match = _GREETING.fullmatch(line)
        if not match:
            raise ProtocolError(
                f"the peer greeted with {printable(line.decode(errors='backslashreplace'), 60)!r}, "
                "not with 'Asterisk Call Manager/...'; check that ami.host and ami.port name the AMI of Asterisk"
            )
        self._head = b""
        self.version = match[1].decode()
        if self._plain:
            self._log_in(Secret=self._secret)
        else:
            self.state = State.CHALLENGE
            self._login = self._act("Challenge", AuthType="MD5")
        return rest

    def _log_in(self, **proof: str) -> None:
        self.state = State.LOGIN
        self._login = self._act("Login", Username=self._username, **proof, Events="security")

    def _act(self, action: str, **headers: str) -> str:
        self._actions += 1
        action_id = f"{self._token}-{self._actions}"
        lines = {"Action": action, "ActionID": action_id, **headers}
        assert not any("\r" in value or "\n" in value for value in lines.values()), "settings check this"
        self._out += "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\n"
        return action_id

    def _answer(self, block: str) -> bool:
        """Handle a reply to one of our actions; False if it is not one."""
        headers = dict(line.partition(": ")[::2] for line in block.split("\r\n"))
        action_id = headers.get("ActionID")
        if action_id and action_id == self._ping:
            self._ping = ""
        elif action_id and action_id == self._login:
            self._login = ""
            self._log_in_further(headers)
        else:
            return False
        return True

    def _log_in_further(self, headers: dict[str, str]) -> None:
        message = printable(headers.get("Message", "no reason given"), 80)
        if headers["Response"] != "Success":
            raise LoginRefused(
                f"Asterisk refused the login of AMI user {self._username!r}: {message!r}; compare username and secret "
                "with manager.conf, and its deny and permit with this host's address"
            )
        if self.state is State.LOGIN:
            self.state = State.ONLINE
            return
        key = hashlib.md5((headers.get("Challenge", "") + self._secret).encode(), usedforsecurity=False).hexdigest()
        self._log_in(AuthType="MD5", Key=key)


def _could_greet(data: bytes) -> bool:
    start = b"Asterisk Call Manager/"
    return data[: len(start)] == start[: len(data)]
