"""What Asterisk reports: one SecurityEvent, and what each type proves about its sender.

The 15 types, their services and headers are those of real Asterisk 16 and 22 (main/security_events.c and its three
callers: res_pjsip/security_events.c, chan_sip, manager.c); recordings of both stand in tests/corpus.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from guard.core.address import Source
    from guard.core.units import Wall


class Kind(StrEnum):
    """The type of a security event, in Asterisk's spelling."""

    AUTH_METHOD_NOT_ALLOWED = "AuthMethodNotAllowed"
    CHALLENGE_RESPONSE_FAILED = "ChallengeResponseFailed"
    CHALLENGE_SENT = "ChallengeSent"
    FAILED_ACL = "FailedACL"
    INVALID_ACCOUNT_ID = "InvalidAccountID"
    INVALID_PASSWORD = "InvalidPassword"  # noqa: S105 - Asterisk's name of the event, no secret
    INVALID_TRANSPORT = "InvalidTransport"
    LOAD_AVERAGE_LIMIT = "LoadAverageLimit"
    MEMORY_LIMIT = "MemoryLimit"
    REQUEST_BAD_FORMAT = "RequestBadFormat"
    REQUEST_NOT_ALLOWED = "RequestNotAllowed"
    REQUEST_NOT_SUPPORTED = "RequestNotSupported"
    SESSION_LIMIT = "SessionLimit"
    SUCCESSFUL_AUTH = "SuccessfulAuth"
    UNEXPECTED_ADDRESS = "UnexpectedAddress"
    UNKNOWN_EXTENSION = "UnknownExtension"
    """No security event: an anonymous caller dialled what does not exist. Only the `messages` log tells of it."""


class Service(StrEnum):
    """Who reported: the only three callers of ast_security_event_report(), and IAX2, whose failures are only logged."""

    PJSIP = "PJSIP"
    SIP = "SIP"
    AMI = "AMI"
    IAX2 = "IAX2"


class Sensor(StrEnum):
    """Where an event was read. AMI and the `security` log tell the same events; `messages` tells of most in prose."""

    AMI = "ami"
    SECURITY = "security"
    MESSAGES = "messages"


class Transport(StrEnum):
    """How the sender reached Asterisk (main/netsock2.c ast_transport2str(); its `Undefined` is refused)."""

    UDP = "UDP"
    TCP = "TCP"
    TLS = "TLS"
    WS = "WS"
    WSS = "WSS"
    UNNAMED = "unnamed"
    """A line of `messages` does not name it."""


WEB = frozenset({Transport.WS, Transport.WSS})
"""These come in by a port of Asterisk's web server; Asterisk 16 may report a SIP port for them."""

UNKNOWN_ACCOUNT = "<unknown>"
"""AccountID of a PJSIP event for which no endpoint was found, or whose endpoint's ACL failed."""

FAILURES = frozenset({Kind.INVALID_ACCOUNT_ID, Kind.INVALID_PASSWORD, Kind.CHALLENGE_RESPONSE_FAILED})
"""The three types that res_auth_stats counted; StatsD meters mirror them name for name."""


class SecurityEvent(NamedTuple):
    r"""One security event, checked against the strict grammar. Its text fields are the sender's and hostile.

    `source` is always a single host. `at` is EventTV, Asterisk's wall clock at the event, in nanoseconds; `local_port`
    the port of ours that was spoken to. Fields that a type does not have are empty: `acl` is ACLName, `request`
    RequestType, `challenge` and `response` what the sender answered (never ExpectedResponse, which for AMI is
    md5(challenge + secret) and can be cracked offline), `password` is UsingPassword.

    A line of `messages` makes an event too, with the kind that its words stand for. Its `session` is at most the first
    255 bytes of the Call-ID, what is no UTF-8 in it written as \xNN; for chan_sip, which names none, `IP:port`. Its
    `account` is the user of From, which is not always the name of the endpoint.
    """

    at: Wall
    kind: Kind
    service: Service
    account: str
    session: str
    source: Source
    transport: Transport
    local_port: int
    acl: str = ""
    request: str = ""
    challenge: str = ""
    response: str = ""
    password: bool = False
    sensor: Sensor = Sensor.AMI

    @property
    def proven(self) -> bool:
        """Whether the sender showed that it owns its address (docs/asterisk.md).

        A handshake of TCP, TLS or WebSocket shows it, and so does a PJSIP success with a password, whose nonce is
        bound to the address. A failure over UDP shows nothing: one datagram from anywhere is enough for it. And what
        chan_sip reports as the address is the sender's own word, whatever the transport. A line of `messages` shows
        nothing by itself: it names no transport.
        """
        if self.service is Service.SIP or self.sensor is Sensor.MESSAGES:
            return False
        return self.transport is not Transport.UDP or (self.kind is Kind.SUCCESSFUL_AUTH and self.password)


KEPT = 255
"""Of a text of up to 65 kB, so many bytes of a Call-ID and characters of the rest are kept. The log has no more of a
Call-ID where pjproject is the system's (res_pjsip/pjsip_distributor.c, log_failed_request())."""


def trim(event: SecurityEvent) -> SecurityEvent:
    """Return an event with its texts cut to what is kept, so that memory is bounded in bytes and both sensors agree."""
    _, _, _, account, session, *_ = event
    if len(session) <= 63 and len(account) <= KEPT and len(event.challenge) + len(event.response) <= KEPT:
        return event  # 63 characters are no more than 252 bytes
    return event._replace(
        account=account[:KEPT],
        session=session.encode()[:KEPT].decode(errors="ignore"),
        challenge=event.challenge[:KEPT],
        response=event.response[:KEPT],
        request="",
    )
