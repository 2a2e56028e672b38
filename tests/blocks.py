"""Security events as Asterisk writes them, made from the grammar's own table: what tests of the codec share."""

from __future__ import annotations

from guard.core.event import Kind
from guard.wire.grammar import _SYNTAX, ROWS

TV = "2026-11-22T13:36:17.588+0000"
PEACEFUL = {Kind.CHALLENGE_SENT, Kind.SUCCESSFUL_AUTH}
VALUES = {
    "Challenge=": "", "challenge": "1795354577/ddc01744", "nonce": "5f3b2a1c", "received": "5f3b2a1c",
    "hash": "9e107d9d", "response": "a13697eb64d5", "expected=": "", "expected": "aed489d1",
    "acl": "not_match_endpoint_acl", "request": "Action: Ping", "account": "", "password": "1", "password=0": "0",
    "transport": "UDP", "tv": TV,
}  # fmt: skip
IDS = [f"{row.kind}-{row.service}" for row in ROWS]


def headers(row, **other):
    """Return the headers of a row as (name, value), in order; `other` replaces values by name."""
    ami = row.service == "AMI"
    lines = [
        ("EventTV", TV),
        ("Severity", "Informational" if row.kind in PEACEFUL else "Error"),
        ("Service", str(row.service)),
        ("EventVersion", str(row.version)),
        ("AccountID", "101"),
        ("SessionID", "2102227696" if row.service == "PJSIP" else "0x7f40880018d0"),
        ("LocalAddress", "IPV6/TCP/::/5038" if ami else "IPV4/UDP/203.0.113.10/5060"),
        ("RemoteAddress", "IPV4/TCP/198.51.100.7/51780" if ami else "IPV4/UDP/198.51.100.7/5060"),
    ]
    tail = [(_SYNTAX[key][0], VALUES[key]) for key in row.tail.split()]
    if "account" in row.tail.split():
        del lines[4]
    return [(name, other.get(name, value)) for name, value in lines + tail]


def ami(row, lines=None, framing=""):
    """Write one event as AMI does, without its empty line."""
    lines = headers(row) if lines is None else lines
    return f"Event: {row.kind}\r\nPrivilege: security,all\r\n{framing}" + "\r\n".join(": ".join(h) for h in lines)


def log(row, lines=None):
    """Write one event as the security log does, without the log's own prefix."""
    lines = headers(row) if lines is None else lines
    return ",".join([f'SecurityEvent="{row.kind}"', *(f'{name}="{value}"' for name, value in lines)])


def row_of(kind, service="PJSIP"):
    """Find a row of the table."""
    return next(row for row in ROWS if (row.kind, row.service) == (kind, service))


def own_login(username="astguard", framing=""):
    """Write the event of our own login."""
    row = row_of("SuccessfulAuth", "AMI")
    return ami(row, headers(row, AccountID=username, RemoteAddress="IPV4/TCP/127.0.0.1/50862"), framing)


def failure(account="101", framing="", **other):
    """Write a wrong answer."""
    row = row_of("ChallengeResponseFailed")
    return ami(row, headers(row, AccountID=account, **other), framing)
