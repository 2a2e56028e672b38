"""How a SIP client's bytes get to the PBX: datagrams, a stream with or without TLS, or a WebSocket on either."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import ssl
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.asterisk.network import Host

PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 8088, "wss": 8089}
CHAN_SIP_PORTS = {"udp": 5070, "tcp": 5070, "tls": 5071}

_LENGTH = re.compile(rb"\r\nContent-Length:\s*(\d+)", re.IGNORECASE)


def connect(host: Host, pbx: Host, transport: str, port: int, own_port: int, patience: float) -> Datagrams | Stream:
    """Open a connection from a host; OSError when nobody answers in time."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    six = ":" in pbx.address
    with host.entered():
        line = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind)
    try:
        # A host that is a whole network has its addresses by a route alone (IP_FREEBIND, IPV6_FREEBIND).
        line.setsockopt(*((socket.IPPROTO_IPV6, 78, 1) if six else (socket.IPPROTO_IP, 15, 1)))
        line.settimeout(patience)
        line.bind((host.address, own_port))
        line.connect((pbx.address, port))
        if transport == "udp":
            return Datagrams(line)
        if transport in {"tls", "wss"}:
            line = _secured(line)
        return WebSocket(line) if transport in {"ws", "wss"} else Stream(line)
    except OSError:
        line.close()
        raise


def _secured(line: socket.socket) -> socket.socket:
    """Speak TLS; phones seldom check who the PBX is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(line)


class Datagrams:
    """UDP: what is sent arrives whole, or not at all."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.me = line.getsockname()[:2]

    def send(self, message: bytes) -> None:
        """Send a message."""
        self.line.send(message)

    def receive(self, seconds: float) -> bytes:
        """Wait for a message; nothing at the end of a stream, TimeoutError when none comes."""
        self.line.settimeout(seconds)
        return self.line.recv(65_535)

    def close(self) -> None:
        """Hang up."""
        self.line.close()


class Stream(Datagrams):
    """TCP or TLS, where messages follow each other without a gap."""

    def __init__(self, line: socket.socket) -> None:
        super().__init__(line)
        self._unread = b""

    def send(self, message: bytes) -> None:
        """Send a message."""
        self.line.sendall(message)

    def receive(self, seconds: float) -> bytes:
        """Read one message, less its body; the blank lines between them only keep the connection alive (RFC 5626)."""
        self.line.settimeout(seconds)
        while b"\r\n\r\n" not in (unread := self._unread.lstrip(b"\r\n")):
            if not self._more():
                return b""
        self._unread = unread
        head, _, rest = self._unread.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        self._unread = rest[int(length[1]) if length else 0 :]
        return head

    def _more(self) -> bool:
        piece = self.line.recv(65_535)
        self._unread += piece
        return bool(piece)


class WebSocket(Stream):
    """SIP in the frames of a WebSocket (RFC 6455, RFC 7118): one message in one frame."""

    def __init__(self, line: socket.socket) -> None:
        super().__init__(line)
        key = base64.b64encode(os.urandom(16)).decode()
        line.sendall(
            f"GET /ws HTTP/1.1\r\nHost: pbx\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._unread:
            if not self._more():
                raise ConnectionError("the PBX hung up during the WebSocket's handshake")
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(f"no WebSocket: {head.splitlines()[0].decode()}")

    def send(self, message: bytes) -> None:
        """Send a message in a masked text frame."""
        self._frame(0x1, message)

    def receive(self, seconds: float) -> bytes:
        """Read frames until one holds a message; answer pings."""
        self.line.settimeout(seconds)
        while True:
            first, second = self._take(2)
            kind, length = first & 0x0F, second & 0x7F
            if length >= 126:
                form = "!H" if length == 126 else "!Q"
                (length,) = struct.unpack(form, self._take(struct.calcsize(form)))
            data = self._take(length)
            if kind == 0x9:
                self._frame(0xA, data)
            elif kind == 0x8:
                return b""
            elif data.strip():
                return data.partition(b"\r\n\r\n")[0]

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            if not self._more():
                raise ConnectionError("the PBX hung up")
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def _frame(self, kind: int, data: bytes) -> None:
        mask, length = os.urandom(4), len(data)
        size = bytes([0x80 | length]) if length < 126 else struct.pack("!BH", 0x80 | 126, length)
        masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(data))
        with contextlib.suppress(BrokenPipeError):
            self.line.sendall(bytes([0x80 | kind]) + size + mask + masked)
