"""The strict grammar: one event is one exact list of headers, in both dialects; everything else is refused."""

from __future__ import annotations

import pytest

from guard.core.address import parse_host
from guard.core.event import Kind, Service, Transport
from guard.core.units import MILLISECOND, SECOND
from guard.wire.amievent import Framing, grammar
from guard.wire.grammar import ROWS, read_remote
from guard.wire.securitylog import _GRAMMAR as LOG
from tests.blocks import IDS, TV, ami, headers, log, row_of

AMI = grammar(Framing(timestamp=False, debug=False, system=None))
DIALECTS = [pytest.param(AMI, ami, id="ami"), pytest.param(LOG, log, id="log")]
rows = pytest.mark.parametrize("row", ROWS, ids=IDS)
dialects = pytest.mark.parametrize(("grammar", "write"), DIALECTS)

NO_ADDRESS = [
    "IPV4/UDP/198.51.100.7", "IPV4/UDP/198.51.100.7/", "IPV4/UDP/198.51.100.7/65536", "IPV4/UDP/198.51.100.7/5060 ",
    "IPV4/UDP/198.51.100.7/-1", "IPV4/UDP/198.51.100.256/5060", "IPV4/UDP/198.51.100.07/5060", "IPV4/UDP/1.2.3/5060",
    "IPV6/UDP/198.51.100.7/5060", "IPV4/UDP/2001:db8::7/5060", "IPV6/UDP/[2001:db8::7]/5060", "IPV6/UDP/2001:db8:::7/1",
    "IPV5/UDP/198.51.100.7/5060", "ipv4/UDP/198.51.100.7/5060", "IPV4/SCTP/198.51.100.7/5060", "IPV4/Undefined/1.2.3.4/5",
    "IPV4/UDP/\u0661.2.3.4/5060", "IPV4/UDP/1.2.3.4/\u0665", "1.2.3.4", "", "IPV4/UDP//5060", "IPV4/UDP/pbx.example/5060",
    "IPV6/UDP/fe80::1%" + "x" * 16 + "/5060", "IPV4/UDP/1.2.3.4/5/6",
]  # fmt: skip
NO_TIME = [
    "", "yesterday", "2026-11-22T13:36:17+0000", "2026-11-22 13:36:17.588+0000", "2026-11-22T13:36:17.588",
    "2026-13-22T13:36:17.588+0000", "2026-02-30T13:36:17.588+0000", "2026-11-22T24:36:17.588+0000",
    "2026-11-22T13:36:60.588+0000", "2026-11-22T13:36:17.588Z", "2026-11-22T13:36:17.588+00:00",
    "2026-11-22T13:36:17.588+9900", "\u0662026-11-22T13:36:17.588+0000", "2026-11-22T13:36:17.588+0000 ",
    "0000-11-22T13:36:17.588+0000",
]  # fmt: skip
WRONG = {
    "EventTV": NO_TIME,
    "Severity": ["error", "Warning", "", "Error "],
    "Service": ["IAX2", "pjsip", "", "PJSIP "],
    "EventVersion": ["0", "3", "", "11", "1 "],
    "LocalAddress": [text for text in NO_ADDRESS if text not in {
        "IPV4/UDP/198.51.100.256/5060", "IPV4/UDP/198.51.100.07/5060", "IPV4/UDP/1.2.3/5060", "IPV6/UDP/2001:db8:::7/1",
        "IPV6/UDP/198.51.100.7/5060", "IPV4/UDP/2001:db8::7/5060",
    }],  # ours, and never believed to be anybody: its syntax is checked, its meaning is not
    "RemoteAddress": NO_ADDRESS,
    "ACLName": ["", "a b", "a-b", "a.b"],
    "AttemptedTransport": ["", "udp", "UDP,TCP"],
    "SessionTV": ["", "yesterday", "2026-11-22T13:36:17+0000"],
    "ExpectedResponse": ["xyz", "A136"],
    "UsingPassword": ["", "2", "yes", "01"],
}  # fmt: skip


@rows
@dialects
def test_each_row_is_read(row, grammar, write):
    event = grammar.read(write(row))
    assert (event.kind, event.service, event.source) == (row.kind, row.service, parse_host("198.51.100.7"))
    assert event.account == ("" if row.kind == "RequestBadFormat" else "101")
    assert event.at == 1_795_354_577 * SECOND + 588 * MILLISECOND


@rows
@dialects
def test_a_missing_header_is_refused(row, grammar, write):
    lines = headers(row)
    for at in range(len(lines)):
        assert grammar.read(write(row, lines[:at] + lines[at + 1 :])) is None, lines[at]


@rows
@dialects
def test_a_header_twice_is_refused(row, grammar, write):
    lines = headers(row)
    for line in lines:
        for at in range(len(lines) + 1):
            assert grammar.read(write(row, [*lines[:at], line, *lines[at:]])) is None, (line, at)


@rows
@dialects
def test_headers_in_another_order_are_refused(row, grammar, write):
    lines = headers(row)
    for one in range(len(lines)):
        for other in range(one):
            mixed = lines[:]
            mixed[one], mixed[other] = mixed[other], mixed[one]
            assert grammar.read(write(row, mixed)) is None, (lines[one], lines[other])


@rows
@dialects
def test_a_header_more_is_refused(row, grammar, write):
    lines = headers(row)
    for at in range(len(lines) + 1):
        for name in ("Module", "X-More", "Challenge", "RemoteAddress"):
            assert grammar.read(write(row, [*lines[:at], (name, "1"), *lines[at:]])) is None


@rows
@dialects
def test_a_header_in_another_spelling_is_refused(row, grammar, write):
    lines = headers(row)
    for at, (name, value) in enumerate(lines):
        for other in (name.lower(), name + "s", " " + name, name + " "):
            assert grammar.read(write(row, [*lines[:at], (other, value), *lines[at + 1 :]])) is None


@rows
@dialects
def test_a_value_in_another_syntax_is_refused(row, grammar, write):
    lines = headers(row)
    tried = 0
    for name, value in lines:
        for wrong in WRONG.get(name, ()):
            assert wrong != value
            assert grammar.read(write(row, headers(row, **{name: wrong}))) is None, (name, wrong)
            tried += 1
    assert tried > 60


@rows
@dialects
def test_another_rows_severity_or_version_is_refused(row, grammar, write):
    severity = "Error" if dict(headers(row))["Severity"] == "Informational" else "Informational"
    assert grammar.read(write(row, headers(row, Severity=severity))) is None
    assert grammar.read(write(row, headers(row, EventVersion=str(3 - row.version)))) is None


@dialects
def test_a_value_belongs_to_its_service(grammar, write):
    cases = [
        ("ChallengeSent", "PJSIP", {"Challenge": "5f3b2a1c"}),  # chan_pjsip leaves it empty
        ("ChallengeSent", "SIP", {"Challenge": "not hex"}),
        ("ChallengeResponseFailed", "PJSIP", {"ExpectedResponse": "aed489d1"}),
        ("SuccessfulAuth", "AMI", {"UsingPassword": "1"}),
        ("SuccessfulAuth", "AMI", {"SessionID": "a-call-id"}),
        ("SuccessfulAuth", "AMI", {"SessionID": "0x"}),
        ("SuccessfulAuth", "SIP", {"SessionID": "0xZZ"}),
        ("InvalidAccountID", "AMI", {"RemoteAddress": "IPV4/UDP/198.51.100.7/5060"}),
        ("InvalidAccountID", "AMI", {"RemoteAddress": "IPV4/WS/198.51.100.7/5060"}),
    ]
    for kind, service, other in cases:
        row = row_of(kind, service)
        assert grammar.read(write(row, headers(row, **other))) is None, (kind, other)


@dialects
@pytest.mark.parametrize("kind", ["MemoryLimit", "LoadAverageLimit", "AuthMethodNotAllowed", "UnexpectedAddress"])
def test_a_kind_that_asterisk_never_raises_is_refused(kind, grammar, write):
    for service in Service:
        row = row_of("SessionLimit", "SIP")._replace(kind=Kind(kind), service=service)
        assert grammar.read(write(row)) is None


@dialects
@pytest.mark.parametrize("kind", ["", "Nonsense", "challengesent", "ChallengeSent ", "Challenge\u0130Sent"])
def test_a_kind_that_does_not_exist_is_refused(kind, grammar, write):
    assert grammar.read(write(row_of("ChallengeSent")._replace(kind=kind))) is None


@pytest.mark.parametrize(
    "text",
    ["", " ", "x" * 65_200, "\r", "a\rb", "a\nb", "\x0b\x0c\x1b[2J\x1c\x07\x7f", "\u0085\u2028\u202e", "Event: x", ": ",
     "a\r\rb", "\r\r", "\nRemoteAddress: IPV4/UDP/8.8.8.8/5", "\rRemoteAddress: IPV4/UDP/8.8.8.8/5"],
)  # fmt: skip
def test_the_senders_text_may_be_odd_and_stays_as_it_is(text):
    row = row_of("ChallengeResponseFailed")
    names = {"AccountID": "account", "SessionID": "session", "Challenge": "challenge", "Response": "response"}
    for name, attribute in names.items():
        event = AMI.read(ami(row, headers(row, **{name: text})))
        assert event.source == parse_host("198.51.100.7")
        assert getattr(event, attribute) == text


@pytest.mark.parametrize("end", ["\r\n", "\r\nX: 1", "\r\n: ", "\r\n\r\n", "\r\nRemoteAddress: IPV4/UDP/8.8.8.8/5"])
def test_a_line_break_in_a_value_breaks_the_block(end):
    row = row_of("ChallengeResponseFailed")
    for name, value in headers(row):
        assert AMI.read(ami(row, headers(row, **{name: value + end}))) is None


def test_a_quote_in_a_value_breaks_a_line_of_the_log():
    row = row_of("ChallengeResponseFailed")
    for name, value in headers(row):
        for quoted in (value + '"', value + '\\"', value + '",RemoteAddress="IPV4/UDP/8.8.8.8/5'):
            assert LOG.read(log(row, headers(row, **{name: quoted}))) is None


def test_one_dialect_is_not_read_as_the_other():
    row = row_of("ChallengeSent")
    assert AMI.read(log(row)) is None
    assert LOG.read(ami(row)) is None


def test_what_is_expected_of_a_login_is_not_kept():
    row = row_of("ChallengeResponseFailed", "AMI")
    event = AMI.read(ami(row, headers(row, ExpectedResponse="aed489d1b08615c1e1fb889cb1cf4e63")))
    assert "aed489d1b08615c1e1fb889cb1cf4e63" not in repr(event)


def test_fields_are_those_of_their_headers():
    row = row_of("ChallengeResponseFailed")
    event = AMI.read(ami(row))
    assert (event.session, event.challenge, event.response) == ("2102227696", "1795354577/ddc01744", "a13697eb64d5")
    assert (event.transport, event.local_port, event.password) == (Transport.UDP, 5060, False)
    assert AMI.read(ami(row_of("SuccessfulAuth"))).password is True
    assert AMI.read(ami(row_of("FailedACL"))).acl == "not_match_endpoint_acl"
    assert AMI.read(ami(row_of("RequestNotAllowed", "AMI"))).request == "Action: Ping"
    row = row_of("RequestBadFormat", "AMI")
    assert AMI.read(ami(row, headers(row, AccountID="x"))).account == "x"


@pytest.mark.parametrize(
    ("remote", "source", "transport"),
    [
        ("IPV4/UDP/198.51.100.7", "198.51.100.7", Transport.UDP),
        ("IPV6/WSS/2001:db8::7", "2001:db8::7", Transport.WSS),
        ("IPV6/TCP/fe80::1%eth0", "fe80::1", Transport.TCP),
        ("IPV6/TLS/::ffff:198.51.100.7", "198.51.100.7", Transport.TLS),
    ],
)
def test_an_address_is_read(remote, source, transport):
    assert read_remote(remote) == (parse_host(source), transport)


@dialects
@pytest.mark.parametrize(
    ("tv", "seconds", "milliseconds"),
    [
        ("1970-01-01T00:00:00.000+0000", 0, 0),
        ("1970-01-01T01:30:00.007+0130", 0, 7),
        ("1969-12-31T23:59:59.999-0000", -1, 999),
        ("2026-11-22T13:36:17.588+0000", 1_795_354_577, 588),
        ("2026-11-22T08:36:17.588-0500", 1_795_354_577, 588),
    ],
)
def test_a_time_is_read(grammar, write, tv, seconds, milliseconds):
    event = grammar.read(write(ROWS[0]).replace(TV, tv))
    assert event.at == seconds * SECOND + milliseconds * MILLISECOND
