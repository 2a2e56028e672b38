"""A running call with its sound: RTP to Asterisk's echo, and back."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from typing import TYPE_CHECKING

from tests.asterisk.sip import Session
from tests.asterisk.worker import Worker

if TYPE_CHECKING:
    from tests.asterisk.person import Person

PACKET = 0.02
"""Seconds of sound in a packet."""


class Call(Worker):
    """Somebody talks to the echo, fifty packets a second, until he hangs up."""

    def __init__(self, person: Person, account: str) -> None:
        self.sent = 0
        self._came: set[int] = set()
        self._line, self._session, self._account = person.line(), Session(), account
        with person.host.entered():
            self._sound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sound.bind((person.host.address, 0))
        self._sound.settimeout(PACKET)
        status = self._line.call(account, f"right-{account}", "600", self._session, media=self._sound.getsockname()[1])
        assert status == 200, f"no call: {status}"
        port = re.search(r"^m=audio (\d+) ", self._line.heard, re.MULTILINE)
        assert port, self._line.heard
        self._sound.connect((person.pbx.address, int(port[1])))
        super().__init__()

    def leave(self) -> None:
        """Hang up."""
        self._line.ask("BYE", self._account, self._session, to="600", tail=self._line.tail)
        self._line.__exit__()
        self._sound.close()

    def lost(self) -> int:
        """Tell how many packets never came back, from the first that did: Asterisk has to learn first where we are."""
        time.sleep(5 * PACKET)
        return len(set(range(min(self._came, default=0), self.sent - 10)) - self._came)

    def work(self) -> None:
        """Talk, and note what comes back."""
        due = time.monotonic()
        while not self.over.is_set():
            self._sound.send(
                struct.pack("!BBHII", 0x80, 0, self.sent & 0xFFFF, self.sent * 160, 7)
                + self.sent.to_bytes(4)
                + bytes(156)
            )
            self.sent += 1
            due += PACKET
            while (left := due - time.monotonic()) > 0:
                self._sound.settimeout(left)
                with contextlib.suppress(OSError):
                    self._came.add(int.from_bytes(self._sound.recv(2048)[12:16]))
