"""A SIP provider: the PBX registers with it, with a password, and is called from there."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import TYPE_CHECKING

from tests.asterisk.worker import Worker

if TYPE_CHECKING:
    from tests.asterisk.person import Person

_KEPT = re.compile(r"^(?:Via|From|To|Call-ID|CSeq|Contact):.*$", re.MULTILINE | re.IGNORECASE)


class Provider(Worker):
    """Asks who registers for a password once, and then says yes."""

    def __init__(self, person: Person) -> None:
        self.registered = threading.Event()
        with person.host.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((person.host.address, 5060))
        self._socket.settimeout(0.2)
        super().__init__()

    def leave(self) -> None:
        """Close the port."""
        self._socket.close()

    def work(self) -> None:
        """Answer who registers."""
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                data, peer = self._socket.recvfrom(65_535)
                said = data.decode(errors="replace")
                if said.startswith("REGISTER"):
                    self._socket.sendto(self._answer(said).encode(), peer)

    def _answer(self, said: str) -> str:
        kept = [line.rstrip("\r") for line in _KEPT.findall(said)]
        if "\nAuthorization:" not in said:
            challenge = 'WWW-Authenticate: Digest realm="provider", nonce="1", algorithm=MD5'
            return "\r\n".join(["SIP/2.0 401 Unauthorized", *kept, challenge, "Content-Length: 0", "", ""])
        self.registered.set()
        return "\r\n".join(["SIP/2.0 200 OK", *kept, "Expires: 60", "Content-Length: 0", "", ""])
