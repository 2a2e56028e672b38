"""A SIP client that registers, calls, guesses and asks: digest authentication (RFC 3261, RFC 2617)."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from tests.asterisk.connection import PORTS, connect

if TYPE_CHECKING:
    from tests.asterisk.network import Host

PATIENCE = 1.3
"""Seconds without an answer after which a client knows itself cut off. The PBX is a millisecond away, but PJSIP lets only
five wait at its door: of many who connect at once, some have to knock again, which TCP does after a second."""

SHORT_PATIENCE = 0.5
"""For who has been cut off already, or asks again."""

_STATUS = re.compile(rb"SIP/2\.0 (\d{3}) ")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_ECHOED = re.compile(r"^(?:Via|From|To|Call-ID|CSeq):.*$", re.MULTILINE | re.IGNORECASE)
_OFFER = (
    "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)


@dataclass
class Wire:
    """What becomes of datagrams, in both directions; who sees none come back sends the same bytes again (T1, T2)."""

    lost: float = 0.0
    copies: int = 1
    """A datagram that is not lost arrives up to so many times."""
    pauses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0)
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    def arrivals(self) -> int:
        """Tell how often the next datagram arrives."""
        return 0 if self.dice.random() < self.lost else self.dice.randint(1, self.copies)


@dataclass
class Session:
    """One Call-ID, with its tag, its count of requests and the last challenge."""

    call: str = field(default_factory=lambda: secrets.token_hex(8))
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    number: int = 0
    uses: int = 0
    challenge: dict[str, str] = field(default_factory=dict)


@dataclass
class Spelling:
    """How a request names its ends; what a forged one needs as well as a true one."""

    me: str
    pbx: str
    transport: str = "UDP"

    def request(
        self, session: Session, method: str, account: str, to: str = "", authorization: str = "",
        body: str = "", branch: str = "", tail: str = "",
    ) -> str:  # fmt: skip
        """Write the session's next request; an ACK belongs to the one before."""
        session.number += method != "ACK"
        branch = branch or f"z9hG4bK{secrets.token_hex(6)}"
        uri = f"sip:{self.pbx}" if method == "REGISTER" else f"sip:{to}@{self.pbx}"
        callee = tail or f"<sip:{account if method == 'REGISTER' else to}@{self.pbx}>"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{self.transport} {self.me};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:{account}@{self.pbx}>;tag={session.tag}",
            f"To: {callee}",
            f"Call-ID: {session.call}",
            f"CSeq: {session.number} {method}",
            f"Contact: <sip:{account}@{self.me};transport={self.transport.lower()}>",
            *(["Expires: {expires}"] if method == "REGISTER" else []),
            *([f"Authorization: {authorization}"] if authorization else []),
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*lines, "", body])

    def uri(self, method: str, to: str) -> str:
        """Give the address a request asks for, which its digest covers."""
        return f"sip:{self.pbx}" if method == "REGISTER" else f"sip:{to}@{self.pbx}"


class Caller:
    """Someone with a SIP client on a host; one connection for all that is said."""

    def __init__(
        self,
        host: Host,
        pbx: Host,
        transport: str = "udp",
        port: int = 0,
        wire: Wire | None = None,
        service: int | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """`port` is the caller's own, `service` the one to call, if not the transport's usual one."""
        self._wire, self._patience = wire, patience
        self._connection = connect(host, pbx, transport, service or PORTS[transport], port, patience)
        form = "[{}]:{}" if ":" in pbx.address else "{}:{}"
        name = f"[{pbx.address}]" if ":" in pbx.address else pbx.address
        self._address = host.address
        self.heard, self.tail = "", ""  # the last answer, and who gave it
        self._spelling = Spelling(form.format(*self._connection.me), name, transport.upper())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def register(
        self, account: str, password: str, session: Session | None = None, login: str = "", expires: int = 60
    ) -> bool | None:
        """Register with a password: True when let in, False when refused, None when nobody answers."""
        session = session or Session()
        status = self.ask("REGISTER", account, session, expires=expires)
        if status == 401:
            status = self.answer(session, account, password, login=login, expires=expires)
        return None if status is None else status == 200

    def guess(self, account: str, times: int, session: Session | None = None) -> int:
        """Try wrong passwords, each in a session of its own or all in one; tell how many were refused before silence."""
        for refused in range(times):
            answer = self.register(account, f"wrong-{secrets.token_hex(4)}", session)
            assert answer is not True, "a made-up password was right"
            if answer is None:
                return refused
        return times

    def burst(self, account: str, password: str, answers: int = 15, session: Session | None = None) -> int | None:
        """Answer one challenge after the other as long as it is refused, as real phones do: one Call-ID, no pause."""
        session = session or Session()
        status = self.ask("REGISTER", account, session)
        for _ in range(answers):
            if status == 401:
                status = self.answer(session, account, password)
        return status

    def call(
        self,
        account: str,
        password: str,
        extension: str,
        session: Session | None = None,
        login: str = "",
        media: int = 0,
    ) -> int | None:
        """Call an extension and tell the last status; without a port for the sound, one that hangs up by itself."""
        session, offer = session or Session(), _OFFER.format(self._address, media or 4000)
        status = self.ask("INVITE", account, session, to=extension, body=offer)
        if status == 401:
            status = self.answer(session, account, password, "INVITE", login, to=extension, body=offer)
        if status == 200 and not media:
            self.listen(4.0, until=b"BYE ")
        return status

    def ask(self, method: str, account: str, session: Session | None = None, **more: str | int) -> int | None:
        """Send one request without a password and give the status of its final answer, None when there is none."""
        return self._ask(session or Session(), method, account, **more)

    def answer(
        self,
        session: Session,
        account: str,
        password: str,
        method: str = "REGISTER",
        login: str = "",
        **more: str | int,
    ) -> int | None:
        """Answer the session's last challenge."""
        to = str(more.get("to", ""))
        proof = digest(session, method, self._spelling.uri(method, to), login or account, password)
        return self._ask(session, method, account, authorization=proof, **more)

    def shout(self, method: str, account: str, session: Session | None = None, **more: str | int) -> None:
        """Send one request and wait for nothing."""
        self._send(self._spelled(session or Session(), method, account, **more))

    def listen(self, seconds: float, until: bytes = b"") -> None:
        """Be a good peer for a while: say yes to what the PBX asks."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            while (left := deadline - time.monotonic()) > 0:
                heard = self._receive(left)
                self._agree(heard)
                if not heard or (until and heard.startswith(until)):
                    return

    def _spelled(self, session: Session, method: str, account: str, expires: int = 60, **more: str) -> bytes:
        return self._spelling.request(session, method, account, **more).replace("{expires}", str(expires)).encode()

    def _ask(self, session: Session, method: str, account: str, **more: str | int) -> int | None:
        """Send one request until somebody answers; acknowledge what an INVITE got."""
        branch = f"z9hG4bK{secrets.token_hex(6)}"
        message = self._spelled(session, method, account, branch=branch, **more)
        for pause in self._wire.pauses if self._wire else (self._patience,):
            status, answer = self._try(message, session, pause)
            if status is None:
                continue
            if status == 401:
                session.challenge = challenge_of(answer)
                session.uses = 0
            self.heard = answer
            if method == "INVITE":
                callee = re.search(r"^To: (.*?)\r?$", answer, re.MULTILINE)
                self.tail = callee[1] if callee else ""
                branch = "" if status == 200 else branch
                self._send(self._spelled(session, "ACK", account, to=more["to"], branch=branch, tail=self.tail))
            return status
        return None

    def _try(self, message: bytes, session: Session, pause: float) -> tuple[int | None, str]:
        """Send once, and hear what comes within the pause."""
        # A socket that refuses, breaks or stays silent all mean one thing to a caller: nobody answers.
        with contextlib.suppress(OSError):
            self._send(message)
            deadline = time.monotonic() + pause
            while (left := deadline - time.monotonic()) > 0:
                answer = self._receive(left)
                if not answer:
                    break
                status = _STATUS.match(answer)
                self._agree(answer)
                # Older answers, provisional ones and Asterisk's own requests are not what was asked for.
                asked_for = (
                    f"Call-ID: {session.call}".encode() in answer and f"CSeq: {session.number} ".encode() in answer
                )
                if asked_for and status and int(status[1]) >= 200:
                    return int(status[1]), answer.decode()
        return None, ""

    def _agree(self, message: bytes) -> None:
        """Say 200 to a request of the PBX: a BYE at the end of a call, an OPTIONS."""
        if message and not message.startswith((b"SIP/2.0", b"ACK")):
            echoed = [line.rstrip("\r") for line in _ECHOED.findall(message.decode(errors="replace"))]
            self._send("\r\n".join(["SIP/2.0 200 OK", *echoed, "Content-Length: 0", "", ""]).encode())

    def _send(self, message: bytes) -> None:
        for _ in range(self._wire.arrivals() if self._wire else 1):
            self._connection.send(message)

    def _receive(self, seconds: float) -> bytes:
        heard = self._connection.receive(seconds)
        while self._wire and not self._wire.arrivals():
            heard = self._connection.receive(seconds)
        return heard


def challenge_of(answer: str) -> dict[str, str]:
    """Read the challenge of a 401."""
    return dict(_CHALLENGE.findall(answer.partition("WWW-Authenticate: Digest")[2].partition("\r\n")[0]))


def digest(session: Session, method: str, uri: str, login: str, password: str, cnonce: str = "") -> str:
    """Answer a challenge: with qop=auth where that is asked for, as PJSIP does, else as RFC 2069 has it."""
    field, cnonce = session.challenge, cnonce or secrets.token_hex(8)
    session.uses += 1
    count = f"{session.uses:08x}"
    middle, tail = f"{field['nonce']}", ""
    if "qop" in field:
        middle = f"{field['nonce']}:{count}:{cnonce}:auth"
        tail = f', opaque="{field.get("opaque", "")}", qop=auth, nc={count}, cnonce="{cnonce}"'
    who = _md5(f"{login}:{field['realm']}:{password}")
    response = _md5(f"{who}:{middle}:{_md5(f'{method}:{uri}')}")
    return (
        f'Digest username="{login}", realm="{field["realm"]}", nonce="{field["nonce"]}", uri="{uri}",'
        f' response="{response}", algorithm=MD5{tail}'
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
