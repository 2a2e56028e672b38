"""What real Asterisk has said in a run: which events, of which services, over which transports, in which headers."""

from __future__ import annotations

import contextlib
import re
import socket
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from tests.asterisk.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.asterisk.network import Host

TYPES = (
    "AuthMethodNotAllowed", "ChallengeResponseFailed", "ChallengeSent", "FailedACL", "InvalidAccountID",
    "InvalidPassword", "InvalidTransport", "LoadAverageLimit", "MemoryLimit", "RequestBadFormat", "RequestNotAllowed",
    "RequestNotSupported", "SessionLimit", "SuccessfulAuth", "UnexpectedAddress",
)  # fmt: skip
NEVER = dict.fromkeys(
    ("AuthMethodNotAllowed", "LoadAverageLimit", "MemoryLimit", "UnexpectedAddress"),
    "nothing in Asterisk 16 or 22 raises it",
)
"""What cannot be provoked, and why."""

SERVICES = {
    "PJSIP": "ChallengeSent SuccessfulAuth ChallengeResponseFailed InvalidAccountID FailedACL RequestNotSupported",
    "AMI": "SuccessfulAuth InvalidAccountID InvalidPassword ChallengeResponseFailed FailedACL RequestNotAllowed"
    " RequestBadFormat SessionLimit",
    "SIP": "ChallengeSent SuccessfulAuth InvalidPassword ChallengeResponseFailed FailedACL InvalidAccountID"
    " InvalidTransport SessionLimit",
}
"""Who raises what; SIP is chan_sip, which 22 does not have."""

_EVENT = re.compile(rb"(?:\A|\r\n\r\n)(Event: (?:(?!\r\n\r\n).)*)(?=\r\n\r\n)", re.DOTALL)


class Seen(NamedTuple):
    """A kind of event, as a witness tells them apart."""

    event: str
    service: str
    transport: str  # udp6 is UDP over IPv6
    headers: tuple[str, ...]


class Witness(Worker):
    """Listens from the first moment to the last, comes back when Asterisk does, and keeps every byte."""

    def __init__(self, pbx: Host, record: Path) -> None:
        self.seen: Counter[Seen] = Counter()
        self._pbx, self._record, self._read = pbx, record, 0
        super().__init__()

    def look(self) -> set[tuple[str, str]]:
        """Count what is new, and tell which events of which services were seen so far."""
        with self._record.open("rb") as record:
            record.seek(self._read)
            data = record.read()
        self._read += max(0, data.rfind(b"\r\n\r\n"))  # the next look begins with this blank line
        for match in _EVENT.finditer(data):
            fields = dict(line.split(b": ", 1) for line in match[1].split(b"\r\n") if b": " in line)
            family, transport, *_ = (fields.get(b"RemoteAddress", b"?/?").decode(errors="replace")).split("/")
            name = transport.lower() + ("6" if family == "IPV6" else "")
            kinds = (fields[b"Event"].decode(), fields.get(b"Service", b"?").decode(), name)
            self.seen[Seen(*kinds, tuple(key.decode(errors="replace") for key in fields))] += 1
        return {(seen.event, seen.service) for seen in self.seen}

    def report(self, version: str) -> str:
        """Write the table: each type by service, its transports, and the rows of headers it came in."""
        self.look()
        transports, rows, counts = defaultdict(set), defaultdict(set), Counter()
        for seen, count in self.seen.items():
            key = (seen.event, seen.service)
            transports[key].add(seen.transport)
            rows[key].add(seen.headers)
            counts[key] += count
        expected = {
            (event, service)
            for service in SERVICES
            if service != "SIP" or version == "16"
            for event in SERVICES[service].split()
        }
        lines = [
            f"Seen of Asterisk {version}: {sum(counts.values())} events, {len({e for e, _ in counts})} of {len(TYPES)} types"
        ]
        for event in TYPES:
            for service in sorted({service for kind, service in counts.keys() | expected if kind == event}):
                key = (event, service)
                words = f"{counts[key]:>8}  {len(rows[key])} rows of headers  {' '.join(sorted(transports[key]))}"
                lines.append(f"  {event:<24} {service:<6} {words if counts[key] else '  not seen'}")
            if event in NEVER:
                lines.append(f"  {event:<24} {'-':<6}   cannot be provoked: {NEVER[event]}")
        return "\n".join(lines)

    def work(self) -> None:
        """Keep what comes, on one connection after the other."""
        login = b"Action: Login\r\nUsername: monitor\r\nSecret: right-monitor\r\n\r\n"
        with self._record.open("ab", buffering=0) as record:
            while not self.over.is_set():
                with contextlib.suppress(OSError), self._pbx.entered():
                    ami = socket.create_connection(("127.0.0.1", 5038), timeout=0.5)
                    with ami:
                        ami.sendall(login)
                        self._keep(ami, record)
                self.over.wait(0.05)

    def _keep(self, ami: socket.socket, record) -> None:
        rest = b""
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                piece = ami.recv(1 << 18)
                if not piece:
                    return  # in the middle of an event: what is left of it is dropped
                whole = (rest + piece).rpartition(b"\r\n\r\n")
                record.write(whole[0] + whole[1])
                rest = whole[2]
