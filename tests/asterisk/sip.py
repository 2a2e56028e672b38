"""A SIP client that can do one thing: REGISTER with digest authentication, over UDP or TCP (RFC 3261, RFC 2617)."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.asterisk.network import Host

PATIENCE = 1.5
"""Seconds without an answer after which a client knows itself cut off; the PBX is a millisecond away."""

_STATUS = re.compile(rb"SIP/2\.0 (\d{3}) ")
_LENGTH = re.compile(rb"\r\nContent-Length:\s*(\d+)", re.IGNORECASE)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Caller:
    """Someone with a SIP client on a host; one socket for all that is said."""

    def __init__(self, host: Host, pbx: Host, transport: str = "udp") -> None:
        self._pbx = pbx.address
        self._transport = transport.upper()
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        with host.entered():
            self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.settimeout(PATIENCE)
        try:
            self._socket.connect((pbx.address, 5060))
        except OSError:
            self._socket.close()
            raise
        self._me = "{}:{}".format(*self._socket.getsockname())
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def register(self, account: str, password: str) -> bool | None:
        """Register with a password: True when let in, False when refused, None when nobody answers."""
        call = secrets.token_hex(8)
        status, challenge = self._ask(account, call, 1)
        if status == 401:
            status, _ = self._ask(account, call, 2, self._answer(challenge, account, password))
        return None if status is None else status == 200

    def guess(self, account: str, times: int) -> int:
        """Try wrong passwords, each in a session of its own; tell how many were refused before silence."""
        for refused in range(times):
            answer = self.register(account, f"wrong-{secrets.token_hex(4)}")
            assert answer is not True, "a made-up password was right"
            if answer is None:
                return refused
        return times

    def _ask(self, account: str, call: str, number: int, authorization: str = "") -> tuple[int | None, str]:
        """Send one REGISTER; give the status of its final answer and the answer itself."""
        lines = [
            f"REGISTER sip:{self._pbx} SIP/2.0",
            f"Via: SIP/2.0/{self._transport} {self._me};branch=z9hG4bK{secrets.token_hex(6)};rport",
            "Max-Forwards: 70",
            f"From: <sip:{account}@{self._pbx}>;tag={secrets.token_hex(4)}",
            f"To: <sip:{account}@{self._pbx}>",
            f"Call-ID: {call}",
            f"CSeq: {number} REGISTER",
            f"Contact: <sip:{account}@{self._me};transport={self._transport.lower()}>",
            "Expires: 60",
            *([f"Authorization: {authorization}"] if authorization else []),
            "Content-Length: 0",
        ]
        # A socket that refuses, breaks or stays silent all mean one thing to a caller: nobody answers.
        with contextlib.suppress(OSError):
            self._socket.send("\r\n".join([*lines, "", ""]).encode())
            while answer := self._receive():
                status = _STATUS.match(answer)
                # Older answers, provisional ones and Asterisk's own requests are not what was asked for.
                asked_for = f"Call-ID: {call}".encode() in answer and f"CSeq: {number} ".encode() in answer
                if asked_for and status and int(status[1]) >= 200:
                    return int(status[1]), answer.decode()
        return None, ""

    def _receive(self) -> bytes:
        """Read one message; on TCP they follow each other without a gap."""
        if self._transport == "UDP":
            return self._socket.recv(65_535)
        while b"\r\n\r\n" not in self._unread:
            piece = self._socket.recv(65_535)
            if not piece:
                return b""
            self._unread += piece
        head, _, rest = self._unread.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        self._unread = rest[int(length[1]) if length else 0 :]
        return head

    def _answer(self, challenge: str, account: str, password: str) -> str:
        """Answer a challenge (RFC 2617 with qop=auth)."""
        field = dict(_CHALLENGE.findall(challenge.partition("WWW-Authenticate: Digest")[2].partition("\r\n")[0]))
        uri, cnonce = f"sip:{self._pbx}", secrets.token_hex(8)
        who = _md5(f"{account}:{field['realm']}:{password}")
        response = _md5(f"{who}:{field['nonce']}:00000001:{cnonce}:auth:{_md5(f'REGISTER:{uri}')}")
        return (
            f'Digest username="{account}", realm="{field["realm"]}", nonce="{field["nonce"]}", uri="{uri}",'
            f' response="{response}", algorithm=MD5, opaque="{field.get("opaque", "")}", qop=auth,'
            f' nc=00000001, cnonce="{cnonce}"'
        )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
