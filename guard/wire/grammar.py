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
from typing import Any, NamedTuple

from guard.core.address import Source, parse_host
from guard.core.event import Kind, SecurityEvent, Service, Transport
from guard.core.units import MILLISECOND, SECOND, Wall
from guard.errors import AddressError


class Dialect(NamedTuple):
    """How headers are written: `opening` captures the kind, `header` takes a name and a value, `text` is any value."""

    opening: str
    header: str
    text: str


class Row(NamedTuple):
    """One line of the table: a kind as one service reports it. `tail` is the headers after RemoteAddress."""

    kind: Kind
    service: Service
    version: int
    tail: str = ""


# Header syntaxes in the tails. A named group is a field of SecurityEvent; TEXT stands for the dialect's own.
_EMPTY, _TEXT, _WORD, _HEX = "", "TEXT", r"\w+", r"[0-9a-f]*"
_TV = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}"
_ADDRESS = r"IPV[46]/(?:UDP|TCP|TLS|WSS?)/[0-9a-fA-F.:]{2,45}(?:%[\w.-]{1,15})?"
_POINTER = re.compile(r"0x[0-9a-f]{1,16}", re.ASCII)
_SESSION = {Service.PJSIP: None, Service.SIP: _POINTER, Service.AMI: _POINTER}  # PJSIP: the sender's Call-ID
_TRANSPORTS = {
    Service.PJSIP: frozenset(Transport),
    Service.SIP: frozenset(Transport),
    Service.AMI: frozenset({Transport.TCP, Transport.TLS}),
}
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
    """The table in one dialect: one compiled expression for what all events share, and one for each row's tail."""

    def __init__(self, dialect: Dialect) -> None:
        def header(name: str, value: str) -> str:
            return dialect.header.format(name=name, value=value.replace(_TEXT, dialect.text))

        self._envelope = re.compile(
            dialect.opening
            + header("EventTV", f"({_TV})")
            + header("Severity", "(Error|Informational)")
            + header("Service", "(PJSIP|SIP|AMI)")
            + header("EventVersion", "([12])")
            + "(?:" + header("AccountID", f"({_TEXT})") + ")?"
            + header("SessionID", f"({_TEXT})")
            + header("LocalAddress", _ADDRESS + r"/(\d{1,5})")
            + header("RemoteAddress", f"({_ADDRESS})" + r"/(\d{1,5})")
            + "(.*)",
            re.ASCII | re.DOTALL,
        )  # fmt: skip
        # What the envelope says about kind, severity, service and version, as one key, finds the row.
        self._rows = {
            (
                str(row.kind),
                "Informational" if row.kind in _PEACEFUL else "Error",
                str(row.service),
                str(row.version),
            ): (
                row.kind,
                row.service,
                re.compile("".join(header(*_SYNTAX[name]) for name in row.tail.split()), re.ASCII),
                _SESSION[row.service],
                _TRANSPORTS[row.service],
            )
            for row in ROWS
        }

    def read(self, text: str) -> SecurityEvent | None:
        """Return the event if `text` is exactly one row, else None."""
        envelope = self._envelope.fullmatch(text)
        if envelope is None:
            return None
        kind_, tv, severity, service_, version, account, session, local_port, remote, port, rest = envelope.groups()
        row = self._rows.get((kind_, severity, service_, version))
        if row is None:
            return None
        kind, service, tail, session_syntax, transports = row
        at, sender, match = read_time(tv), read_remote(remote), tail.fullmatch(rest)
        if at is None or sender is None or match is None or sender[1] not in transports:
            return None
        if int(port) > 65535 or int(local_port) > 65535 or (session_syntax and not session_syntax.fullmatch(session)):
            return None
        fields: dict[str, Any] = match.groupdict() if tail.groups else {}
        if (account is None) == ("account" not in fields):  # RequestBadFormat alone has AccountID at its end
            return None
        if "password" in fields:
            fields["password"] = fields["password"] == "1"  # noqa: S105 - UsingPassword, a flag
        account = fields.pop("account", account)
        return SecurityEvent(at, kind, service, account, session, sender[0], sender[1], int(local_port), **fields)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_time(tv: str) -> Wall | None:
    """Read an EventTV such as `2026-11-22T13:41:14.347+0000`; None if there is no such time."""
    second = _read_second(tv[:19], tv[23:])
    return None if second is None else Wall(second + int(tv[20:23]) * MILLISECOND)


@lru_cache(maxsize=1024)
def _read_second(second: str, zone: str) -> int | None:
    try:
        return (datetime.fromisoformat(second + zone) - _EPOCH) // timedelta(seconds=1) * SECOND
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
