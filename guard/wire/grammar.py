"""The strict grammar of a security event, for both dialects in which Asterisk writes it.

Asterisk copies text of the sender raw into AccountID, SessionID, Challenge and Response, on AMI and in the security
log, and that text can hold what ends a header or starts another. So an event is believed only if it is, header for
header, one row of the table below: every header once, in Asterisk's own order (main/security_events.c), each value in
its own syntax. The order is what makes this safe: RemoteAddress stands behind the sender's text, and nothing that
text adds can stand there without breaking the row. Recordings of Asterisk 16 and 22 prove the table in
tests/replay/test_corpus.py; docs/asterisk.md says which header stands where.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from guard.core.address import Source, parse_host
from guard.core.event import Kind, SecurityEvent, Service, Transport
from guard.core.units import MILLISECOND, SECOND, Wall
from guard.errors import AddressError


class Dialect(NamedTuple):
    """How events are written: the kind stands between `start` and `stop`; all else is regular expressions.

    `framing` is what stands between the kind and the first header, `header` takes a name and a value, `text` is any
    value.
    """

    start: str
    stop: str
    framing: str
    header: str
    text: str


class Row(NamedTuple):
    """One line of the table: a kind as one service reports it. `tail` is the headers after RemoteAddress."""

    kind: Kind
    service: Service
    version: int
    tail: str = ""


# What an event is made of: the groups of the expressions, in the order in which _Reader.build() takes them.
_GROUPS = (
    "second", "milli", "zone", "account", "session", "port", "remote", "far",
    "acl", "request", "challenge", "response", "password",
)  # fmt: skip
# Header syntaxes in the tails. TEXT stands for the dialect's own.
_EMPTY, _TEXT, _WORD, _HEX = "", "TEXT", r"\w+", r"[0-9a-f]*"
_SECOND, _ZONE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", r"[+-]\d{4}"
_TV = rf"{_SECOND}\.\d{{3}}{_ZONE}"
_ADDRESS = r"IPV[46]/(?:UDP|TCP|TLS|WSS?)/[0-9a-fA-F.:]{2,45}(?:%[\w.-]{1,15})?"
_POINTER = r"0x[0-9a-f]{1,16}"
_SESSION = {Service.PJSIP: _TEXT, Service.SIP: _POINTER, Service.AMI: _POINTER}  # PJSIP: the sender's Call-ID
_REMOTE = {Service.PJSIP: _ADDRESS, Service.SIP: _ADDRESS, Service.AMI: _ADDRESS.replace("UDP|TCP|TLS|WSS?", "TCP|TLS")}
_SYNTAX = {
    "Challenge=": ("Challenge", _EMPTY),
    "challenge": ("Challenge", f"(?P<challenge>{_TEXT})"),
    "nonce": ("Challenge", _HEX),
    "received": ("ReceivedChallenge", f"(?P<challenge>{_TEXT})"),
    "hash": ("ReceivedHash", f"(?P<response>{_TEXT})"),
    "response": ("Response", f"(?P<response>{_TEXT})"),
    "expected=": ("ExpectedResponse", _EMPTY),
    "expected": ("ExpectedResponse", _HEX),
    "acl": ("ACLName", rf"(?P<acl>{_WORD})"),
    "request": ("RequestType", f"(?P<request>{_TEXT})"),
    "account": ("AccountID", f"(?P<account>{_TEXT})"),
    "password": ("UsingPassword", r"(?P<password>[01])"),
    "password=0": ("UsingPassword", "0"),
    "transport": ("AttemptedTransport", r"[A-Z]+"),
    "tv": ("SessionTV", _TV),
}

ROWS = (
    Row(Kind.CHALLENGE_SENT, Service.PJSIP, 1, "Challenge="),
    Row(Kind.CHALLENGE_SENT, Service.SIP, 1, "nonce"),
    Row(Kind.SUCCESSFUL_AUTH, Service.PJSIP, 1, "password"),
    Row(Kind.SUCCESSFUL_AUTH, Service.SIP, 1, "password"),
    Row(Kind.SUCCESSFUL_AUTH, Service.AMI, 1, "password=0 tv"),
    Row(Kind.INVALID_ACCOUNT_ID, Service.PJSIP, 1),
    Row(Kind.INVALID_ACCOUNT_ID, Service.SIP, 1),
    Row(Kind.INVALID_ACCOUNT_ID, Service.AMI, 1, "tv"),
    Row(Kind.CHALLENGE_RESPONSE_FAILED, Service.PJSIP, 1, "challenge response expected="),
    Row(Kind.CHALLENGE_RESPONSE_FAILED, Service.SIP, 1, "challenge response expected"),
    Row(Kind.CHALLENGE_RESPONSE_FAILED, Service.AMI, 1, "challenge response expected tv"),
    Row(Kind.INVALID_PASSWORD, Service.SIP, 2, "nonce received hash"),
    Row(Kind.INVALID_PASSWORD, Service.AMI, 2, "tv"),
    Row(Kind.FAILED_ACL, Service.PJSIP, 1, "acl"),
    Row(Kind.FAILED_ACL, Service.SIP, 1, "acl"),
    Row(Kind.FAILED_ACL, Service.AMI, 1, "tv"),
    Row(Kind.REQUEST_NOT_SUPPORTED, Service.PJSIP, 1, "request"),
    Row(Kind.REQUEST_NOT_ALLOWED, Service.AMI, 1, "request tv"),
    Row(Kind.REQUEST_BAD_FORMAT, Service.AMI, 1, "request tv account"),
    Row(Kind.SESSION_LIMIT, Service.SIP, 1),
    Row(Kind.SESSION_LIMIT, Service.AMI, 1, "tv"),
    Row(Kind.INVALID_TRANSPORT, Service.SIP, 1, "transport"),
)
"""MemoryLimit, LoadAverageLimit, AuthMethodNotAllowed and UnexpectedAddress have no caller in Asterisk 16 to 22."""

_PEACEFUL = frozenset({Kind.CHALLENGE_SENT, Kind.SUCCESSFUL_AUTH})
"""These two have the severity Informational, all others Error."""


class Grammar:
    """The table in one dialect: one compiled expression for each row, which is both the check and the fast path."""

    def __init__(self, dialect: Dialect) -> None:
        self._start, self._stop = dialect.start, dialect.stop
        self._rows: dict[str, list[_Reader]] = {}
        for row in ROWS:
            self._rows.setdefault(str(row.kind), []).append(_Reader(row, dialect))

    def read(self, text: str) -> SecurityEvent | None:
        """Return the event if `text` is exactly one row, else None."""
        begin = len(self._start)
        for reader in self._rows.get(text[begin : text.find(self._stop, begin)], ()):
            match = reader.match(text)
            if match is not None:
                return reader.build(match)
        return None


class _Reader:
    """One row as an expression; `_order` has the numbers of its groups, that of an empty one where it has none."""

    __slots__ = ("_kind", "_order", "_service", "match")

    def __init__(self, row: Row, dialect: Dialect) -> None:
        def header(name: str, value: str) -> str:
            return dialect.header.format(name=name, value=value.replace(_TEXT, dialect.text))

        names = row.tail.split()
        headers = (
            ("EventTV", rf"(?P<second>{_SECOND})\.(?P<milli>\d{{3}})(?P<zone>{_ZONE})"),
            ("Severity", "Informational" if row.kind in _PEACEFUL else "Error"),
            ("Service", str(row.service)),
            ("EventVersion", str(row.version)),
            *([] if "account" in names else [_SYNTAX["account"]]),  # RequestBadFormat has AccountID at its end
            ("SessionID", f"(?P<session>{_SESSION[row.service]})"),
            ("LocalAddress", _ADDRESS + r"/(?P<port>\d{1,5})"),
            ("RemoteAddress", f"(?P<remote>{_REMOTE[row.service]})" + r"/(?P<far>\d{1,5})"),
            *(_SYNTAX[name] for name in names),
        )
        start = re.escape(f"{dialect.start}{row.kind}") + dialect.framing
        written = "".join(header(*pair) for pair in headers)
        expression = re.compile(f"{start}{written}(?P<none>)", re.ASCII)
        self.match = expression.fullmatch
        self._kind, self._service = row.kind, row.service
        number = expression.groupindex
        self._order = tuple(number.get(name, number["none"]) for name in _GROUPS)

    def build(self, match: re.Match[str]) -> SecurityEvent | None:
        """Make the event; None if what looks like a number or an address is none: a 13th month, port 70000."""
        (second, milli, zone, account, session, port, remote, far, acl, request, challenge, response, password) = (
            match.group(*self._order)
        )
        at, sender = read_second(second, zone), read_remote(remote)
        if at is None or sender is None or (port > "65535" and len(port) == 5) or (far > "65535" and len(far) == 5):
            return None
        source, transport = sender
        return SecurityEvent(
            Wall(at + int(milli) * MILLISECOND), self._kind, self._service, account, session, source, transport,
            int(port), acl, request, challenge, response, password == "1",  # noqa: S105 - UsingPassword, a flag
        )  # fmt: skip


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1024)
def read_second(second: str, zone: str) -> Wall | None:
    """Read the seconds of an EventTV, `2026-11-22T13:41:14` and `+0000`; None if there is no such time."""
    try:
        return Wall((datetime.fromisoformat(second + zone) - _EPOCH) // timedelta(seconds=1) * SECOND)
    except ValueError:
        return None


@lru_cache(maxsize=32_768)
def read_remote(text: str) -> tuple[Source, Transport] | None:
    """Read a RemoteAddress without its port, `IPV4/UDP/198.51.100.7`; None if it is no address of that family."""
    family, transport, address = text.split("/", 2)
    try:
        source = parse_host(address)
    except AddressError:
        return None
    # An IPv4 peer of a dual-stack socket is shown as IPV4 (docs/asterisk.md), so the family must agree as written.
    return (source, Transport(transport)) if (":" in address) == (family == "IPV6") else None
