r"""The lines of Asterisk's `messages` log that tell of an attempt: a table of them, an expression for each.

Read in the source of Asterisk 16 to 22, and recorded (docs/asterisk.md). Both ends of such a line can hold the
sender's text, and that text can look like the rest of a line. So an expression goes over its own words and over
values of a known syntax until it has the address, and only then over text of any kind. Where chan_sip writes the
sender's header first, as it came, the line ends in Asterisk's own words, and the address is read from that end.

What can be read in two ways is not read. All expressions take time linear in the line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from guard.core.event import Kind, SecurityEvent, Sensor, Service, Transport
from guard.wire.messagevalues import IP, PEER, read_account, read_host, read_peer, read_session, read_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard.core.address import Source
    from guard.core.units import Wall

    Matcher = Callable[[bytes, int], re.Match[bytes] | None]
    Builder = Callable[[re.Match[bytes], Wall], SecurityEvent | None]

SIP_PORT = 5060
IAX2_PORT = 4569
"""No line names the port of ours that was spoken to; these are the usual ones."""


class Message(NamedTuple):
    """One message: `begins` tells it, `matches` wants all of it, `build` makes its event, or None: nobody's attempt."""

    begins: Matcher
    matches: Matcher
    build: Builder


def _message(begin: bytes, rest: bytes, build: Builder) -> Message:
    return Message(re.compile(begin).match, re.compile(begin + rest, re.DOTALL).fullmatch, build)


def _any(texts: dict[bytes, tuple[Kind, str]]) -> bytes:
    return b"(" + b"|".join(map(re.escape, texts)) + b")"


def _event(
    at: Wall, kind: Kind, service: Service, account: str, session: str, source: Source | None, port: int, acl: str = ""
) -> SecurityEvent | None:
    if source is None:
        return None
    return SecurityEvent(at, kind, service, account, session, source, _UNNAMED, port, acl, sensor=_MESSAGES)


_UNNAMED, _MESSAGES = Transport.UNNAMED, Sensor.MESSAGES


def _nothing(_match: re.Match[bytes], _at: Wall) -> SecurityEvent | None:
    """Make no event: the message is in the table so that it is noticed when it breaks off."""
    return None


# What log_failed_request() of res/res_pjsip/pjsip_distributor.c gives as the reason.
_REQUEST = {
    b"No matching endpoint found": (Kind.INVALID_ACCOUNT_ID, ""),
    b"Failed to authenticate": (Kind.CHALLENGE_RESPONSE_FAILED, ""),
    b"Error to authenticate": (Kind.CHALLENGE_RESPONSE_FAILED, ""),  # the event that the bus has of it
    b"Not match Endpoint ACL": (Kind.FAILED_ACL, "not_match_endpoint_acl"),
    b"Not match Endpoint Contact ACL": (Kind.FAILED_ACL, "not_match_endpoint_contact_acl"),
}
_METHOD = rb"Request '[\w.!%*`'~+-]{1,511}' from '"
_FAILED_FOR = b"' failed for '"
_FAILED = rb"' failed for '%b' \(callid: (.*)\) - %b(?: after \d{1,10} tries in \d{1,12}\.\d{3} ms)?"
_NAME_ADDR = rb'(?:"([^"\\]*(?:\\.[^"\\]*)*)" )?<([^<> ]*)>'
_UNREADABLE = rb"()()[^']*(?:'(?! failed for ')[^']*)*"
_BY_NAME_ADDR, _BY_WORDS = (
    re.compile(_METHOD + sender + _FAILED % (PEER, _any(_REQUEST)), re.DOTALL).fullmatch
    for sender in (_NAME_ADDR, _UNREADABLE)
)


def _match_request(line: bytes, start: int) -> re.Match[bytes] | None:
    """Match a failed request.

    pjproject writes the name of From between quotes even if it came without, so one whose own quotes are no pairs
    can end in two places: it is refused. And a From longer than the buffer is printed as anything. But where the
    words before the address stand once in the line, they are Asterisk's own, whatever From is.
    """
    match = _BY_NAME_ADDR(line, start)
    if match is not None and (match[1] is None or b'" <' not in match[1]):
        return match
    return _BY_WORDS(line, start) if line.count(_FAILED_FOR) == 1 else None


def _request(match: re.Match[bytes], at: Wall) -> SecurityEvent | None:
    _, uri, peer, call_id, reason = match.groups()
    kind, acl = _REQUEST[reason]
    return _event(at, kind, Service.PJSIP, read_user(uri), read_session(call_id), read_peer(peer), SIP_PORT, acl)


# A call to what does not exist, of res/res_pjsip_session.c; before version 18 in the second form.
_CALL = rb" ?(?:(?:([^:]{1,80}): )?Call \((\w{1,8}):%b\)|Call from '([^']{1,80})' \((\w{1,8}):%b\)) to extension '"
_NOT_THERE = rb"(.*)' rejected because extension not found in context '[^']{1,80}'\."
_TRANSPORTS = {str(transport).encode(): transport for transport in Transport}


def _call(match: re.Match[bytes], at: Wall) -> SecurityEvent | None:
    """Tell what an anonymous caller dialled; whoever has an endpoint of his own has only misdialled."""
    endpoint, transport, peer = match.groups()[:3] if match[3] else match.groups()[3:6]
    if endpoint is None or endpoint.partition(b"@")[0] != b"anonymous":
        return None
    event = _event(
        at, Kind.UNKNOWN_EXTENSION, Service.PJSIP, read_account(match[7]), peer.decode(), read_peer(peer), SIP_PORT
    )
    return event and event._replace(transport=_TRANSPORTS.get(transport.rstrip(b"6"), Transport.UNNAMED))


# Of handle_request_register() in channels/chan_sip.c: what it prints first is the header To, as it came.
_REGISTRATION = {
    b"Wrong password": (Kind.INVALID_PASSWORD, ""),
    b"No matching peer found": (Kind.INVALID_ACCOUNT_ID, ""),
    b"Username/auth name mismatch": (Kind.CHALLENGE_RESPONSE_FAILED, ""),
    b"Device does not match ACL": (Kind.FAILED_ACL, "device_must_match_acl"),
    b"Not a local domain": (Kind.FAILED_ACL, "domain_must_match"),
    b"Peer is not supposed to register": (Kind.FAILED_ACL, "peer_not_dynamic"),
}
_FAULTS = rb"(?:Device not configured to use this transport type|RTP initialization failed|Unknown failure)"
_TO = re.compile(_NAME_ADDR, re.DOTALL).match


def _registration(match: re.Match[bytes], at: Wall) -> SecurityEvent | None:
    header, peer, reason = match.groups()
    if reason is None:
        return None
    kind, acl = _REGISTRATION[reason]
    to = _TO(header)
    account = read_user(to[2] if to else header.strip(b"<>"))
    return _event(at, kind, Service.SIP, account, peer.decode(), read_peer(peer), SIP_PORT, acl)


# Of channels/chan_iax2.c, and of main/acl.c for it. A registration's name is the sender's: only a plain one is read.
def _iax2(kind: Kind) -> Builder:
    def build(match: re.Match[bytes], at: Wall) -> SecurityEvent | None:
        found = match.groupdict()
        address, source = found.get("ip"), read_host(found.get("ip") or b"")
        if address is None:
            address, source = found["peer"].rpartition(b":")[0].strip(b"[]"), read_peer(found["peer"])
        account = read_account(found.get("name") or b"")
        return _event(at, kind, Service.IAX2, account, address.decode(), source, IAX2_PORT)

    return build


_WRONG, _UNKNOWN, _REFUSED = map(_iax2, (Kind.CHALLENGE_RESPONSE_FAILED, Kind.INVALID_ACCOUNT_ID, Kind.FAILED_ACL))
_BY_IP, _BY_PEER = rb"(?P<ip>" + IP[1:], rb"(?P<peer>" + PEER[1:]
_PLAIN, _QUOTED = rb"'(?P<name>[\w.@+-]{1,80})'", rb"'(?P<name>[^']{1,255})'"
_IAX2 = (
    _message(rb"Host %b failed to authenticate as " % _BY_PEER, rb"(?P<name>.*)", _WRONG),
    _message(rb"Host %b failed MD5 authentication for " % _BY_IP, _QUOTED + rb" \([0-9a-f]{32} != .*\)", _WRONG),
    _message(rb"Host %b did not provide proper plaintext password for " % _BY_IP, _QUOTED, _WRONG),
    _message(rb"No registration for peer '", rb"(?<=')" + _PLAIN[1:] + rb" \(from %b\)" % _BY_IP, _UNKNOWN),
    _message(rb"Empty registration from ", _BY_IP, _UNKNOWN),
    _message(rb"Rejected connect attempt from %b, who was trying to reach '" % _BY_PEER, rb".*'", _UNKNOWN),
)

TABLE: dict[tuple[bytes, bytes], tuple[Message, ...]] = {
    (b"NOTICE", b"res_pjsip/pjsip_distributor.c"): (
        Message(re.compile(rb"Request '").match, _match_request, _request),
    ),
    (b"NOTICE", b"res_pjsip_session.c"): (_message(_CALL % (PEER, PEER), _NOT_THERE, _call),),
    (b"NOTICE", b"chan_sip.c"): (
        _message(
            rb"Registration from '",
            rb"(.*)' failed for '%b' - (?:%b|%b)" % (PEER, _any(_REGISTRATION), _FAULTS),
            _registration,
        ),
        _message(rb"Call from '", rb".*' rejected because extension not found in context '[^']{1,80}'\.", _nothing),
    ),
    (b"NOTICE", b"acl.c"): (
        _message(
            rb"IAX2 (?:user|Peer) ACL: Rejecting '%b' due to " % _BY_IP,
            rb"a failure to pass ACL '[^']{1,80}'",
            _REFUSED,
        ),
    ),
    (b"WARNING", b"chan_iax2.c"): _IAX2[:1],
    (b"NOTICE", b"chan_iax2.c"): _IAX2[1:],
    (b"ERROR", b"security_events.c"): (
        _message(rb"Failed to issue security event of type ", rb"\w{1,64}\.", _nothing),
    ),
}
"""By level and source file. Lines of main/manager.c are not in it, and never will be: a stranger writes them."""

MUTED = TABLE[b"ERROR", b"security_events.c"][0]
"""An event was lost on Asterisk's own bus: neither AMI nor the security log has it."""
