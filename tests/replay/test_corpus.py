"""Every recording of real Asterisk is read, and only what the header table refuses is tampered."""

from __future__ import annotations

import lzma
import random
from pathlib import Path

import pytest

from guard.core.address import show
from guard.core.event import Kind, Sensor, Service, Transport
from guard.core.rule import Rule
from guard.core.text import printable
from guard.core.units import HOUR
from guard.recordings import AmiCapture
from guard.replay import replay
from guard.wire.securitylog import SecurityLogReader

CORPUS = Path(__file__).parents[1] / "corpus"
CAPTURES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*.ami*"))
SMALL = [name for name in CAPTURES if not name.endswith(".xz")]
MIXED = "22.10.1/mixed-20k.ami.xz"

# File: numbers of the tampered blocks, the banner's line not counted, the login's reply being 0.
TAMPERED = {
    "16.28.0/hostile-28.ami": [2, 3, 4],
    "16.28.0/hostile-29.ami": [2, 3],
    "22.10.1/hostile-28.ami": [2, 3, 4],
    "22.10.1/hostile-29.ami": [2, 3],
}

COMMON = "EventTV Severity Service EventVersion AccountID SessionID LocalAddress RemoteAddress"
TAILS = {  # docs/asterisk.md, written a second time on purpose: this is the oracle
    ("ChallengeSent", "PJSIP"): "Challenge",
    ("ChallengeSent", "SIP"): "Challenge",
    ("SuccessfulAuth", "PJSIP"): "UsingPassword",
    ("SuccessfulAuth", "SIP"): "UsingPassword",
    ("SuccessfulAuth", "AMI"): "UsingPassword SessionTV",
    ("InvalidAccountID", "PJSIP"): "",
    ("InvalidAccountID", "SIP"): "",
    ("InvalidAccountID", "AMI"): "SessionTV",
    ("ChallengeResponseFailed", "PJSIP"): "Challenge Response ExpectedResponse",
    ("ChallengeResponseFailed", "SIP"): "Challenge Response ExpectedResponse",
    ("ChallengeResponseFailed", "AMI"): "Challenge Response ExpectedResponse SessionTV",
    ("InvalidPassword", "SIP"): "Challenge ReceivedChallenge ReceivedHash",
    ("InvalidPassword", "AMI"): "SessionTV",
    ("FailedACL", "PJSIP"): "ACLName",
    ("FailedACL", "SIP"): "ACLName",
    ("FailedACL", "AMI"): "SessionTV",
    ("RequestNotSupported", "PJSIP"): "RequestType",
    ("RequestNotAllowed", "AMI"): "RequestType SessionTV",
    ("SessionLimit", "SIP"): "",
    ("SessionLimit", "AMI"): "SessionTV",
    ("InvalidTransport", "SIP"): "AttemptedTransport",
}
BAD_FORMAT = COMMON.replace("AccountID ", "") + " RequestType SessionTV AccountID"
OPTIONAL = {"Timestamp", "SequenceNumber", "File", "Line", "Func", "SystemName"}


def contents(name):
    data = (CORPUS / name).read_bytes()
    return lzma.decompress(data) if name.endswith(".xz") else data


def read(pieces):
    reader = AmiCapture()
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.finish()
    return events, reader.tampered


def whole(name):
    return read([contents(name)])


def oracle(data):
    """Judge a capture the slow way: numbers of accepted and of tampered security blocks."""
    if data.startswith(b"Asterisk Call Manager/"):
        data = data.partition(b"\r\n")[2]
    accepted, tampered, clean = [], [], True
    for number, block in enumerate(data.split(b"\r\n\r\n")[:-1]):
        lines = [line.partition(b": ") for line in block.split(b"\r\n")]
        names = [name.decode("latin-1") for name, _, _ in lines]
        values = {name.decode("latin-1"): value.decode("latin-1") for name, _, value in lines}
        if names[0] == "Response" or (clean and names[0] == "Event" and values.get("Privilege") != "security,all"):
            continue
        kind, service = values.get("Event"), values.get("Service")
        expected = BAD_FORMAT if kind == "RequestBadFormat" else f"{COMMON} {TAILS.get((kind, service), '?')}".rstrip()
        matches = [name for name in names[2:] if name not in OPTIONAL] == expected.split()
        (accepted if matches and clean else tampered).append(number)
        clean = matches
    return accepted, tampered


@pytest.mark.parametrize("name", [name for name in CAPTURES if not name.startswith("adversarial")])
def test_what_the_header_table_refuses_is_tampered_and_nothing_else(name):
    accepted, tampered = oracle(contents(name))
    events, count = whole(name)
    assert (len(events), count) == (len(accepted), len(tampered))
    assert tampered == TAMPERED.get(name, [])


def test_the_corpus_is_there():
    assert len(CAPTURES) > 250
    assert set(TAMPERED) <= set(CAPTURES)
    assert sum(len(whole(name)[0]) for name in CAPTURES) > 28_500


@pytest.mark.parametrize("name", SMALL)
def test_byte_by_byte_gives_the_same(name):
    data = contents(name)
    assert read(data[i : i + 1] for i in range(len(data))) == whole(name)


@pytest.mark.parametrize("name", [*SMALL, MIXED])
def test_cut_at_random_gives_the_same(name):
    data = contents(name)
    dice = random.Random(name)
    for longest in (7, 1_500) if name != MIXED else (1_500, 70_000):
        cuts, at = [], 0
        while at < len(data):
            size = dice.randint(1, longest)
            cuts.append(data[at : at + size])
            at += size
        assert read(cuts) == whole(name)


@pytest.mark.parametrize("name", CAPTURES)
def test_trailing_bytes_change_nothing_before_them(name):
    events, tampered = whole(name)
    more, more_tampered = read([contents(name), b"Event: ChallengeSent\r\nPrivilege: security,all\r\nEventTV: 20"])
    assert (more, more_tampered) == (events, tampered)


def test_the_security_log_tells_the_same_as_ami():
    compared = 0
    for path in sorted(CORPUS.glob("*/*.log*")):
        name = path.relative_to(CORPUS).as_posix()
        log, ami = contents(name), name.replace(".log", ".ami")
        if "hostile" in name or "quote" in name or not log or ami not in CAPTURES:
            continue  # hostile text breaks lines of the log where AMI still tells true
        reader = SecurityLogReader()
        logged = reader.feed(log) + reader.finish()
        events, _ = whole(ami)
        missing = set(events) - {event._replace(sensor=Sensor.AMI) for event in logged}
        # The recorders ran side by side, so the ends may differ by an event or two.
        assert len(missing) <= 2, (name, sorted(missing)[:3])
        assert reader.tampered == 0, name
        compared += len(logged)
    assert compared > 28_000


def test_odd_text_is_accepted_and_shown_harmless():
    odd = []
    for name in CAPTURES:
        for event in whole(name)[0]:
            for text in (event.account, event.session, event.challenge, event.response, event.request):
                shown = printable(text)
                assert shown.isprintable()
                assert len(shown) <= 200
                if shown != text:
                    odd.append(text)
    assert any("\x1b" in text for text in odd)
    assert any("\r" in text for text in odd)
    assert any("\u2028" in text for text in odd)


@pytest.mark.parametrize("version", ["16.28.0", "22.10.1"])
def test_whole_forgeries_through_http_ami_cannot_be_told_from_the_truth(version):
    """No parser can: they are perfect bytes. docs/asterisk.md says to keep HTTP AMI off or on loopback."""
    events, tampered = whole(f"{version}/hostile-39.ami")
    assert tampered == 0
    forged = [event for event in events if event.session == "forged@x"]
    assert [(event.kind, show(event.source)) for event in forged] == [(Kind.CHALLENGE_RESPONSE_FAILED, "192.0.2.21/32")]


HAIR_TRIGGER = Rule(
    name="hair-trigger",
    weights=dict.fromkeys(Kind, 1),
    threshold=1,
    window=HOUR,
    ban=(HOUR,),
)


@pytest.mark.parametrize("name", [name for name in CAPTURES if name.startswith("adversarial")])
def test_nobody_is_banned_by_what_hostile_streams_claim(name):
    report = replay([CORPUS / name], [HAIR_TRIGGER])
    banned = {show(ban.source) for ban in report.bans}
    assert report.tampered >= 80
    assert not banned & {"8.8.8.8/32", "8.8.4.4/32"}
    assert banned  # the rule does bite: the stream's clean events are judged


def test_a_torn_block_costs_its_neighbour_and_no_more():
    name = "22.10.1/hostile-28.ami"
    again = contents("22.10.1/pjsip-svcrack.ami").partition(b"\r\n\r\n")[2]
    events, tampered = read([contents(name) + again])
    assert tampered == len(TAMPERED[name])
    assert events[1:] == read([contents("22.10.1/pjsip-svcrack.ami")])[0]


def test_every_service_and_transport_is_in_the_recordings():
    seen = {(event.service, event.transport) for name in CAPTURES for event in whole(name)[0]}
    assert {service for service, _ in seen} == set(Service) - {Service.IAX2}, "IAX2 is only logged"
    assert {transport for _, transport in seen} >= {Transport.UDP, Transport.TCP, Transport.TLS, Transport.WS}
