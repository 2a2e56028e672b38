"""The lab itself: a real Asterisk says what astguard's reading of it rests on, here without any of astguard's code."""

from __future__ import annotations

import contextlib

import pytest

from tests.asterisk.pbx import Ami

pytestmark = pytest.mark.both

TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp"])


@TRANSPORTS
def test_a_phone_with_the_right_password_registers(lab, transport):
    with lab.ami() as ami:
        assert lab.phone.register(transport=transport) is True
        sender = f"IPV4/{transport.upper()}/{lab.phone.address}/"
        event = {"RemoteAddress": ""}
        while not event["RemoteAddress"].startswith(sender):  # the lab itself registered over TCP when it came up
            event = ami.wait_for(Event="SuccessfulAuth", Service="PJSIP")
    assert event["AccountID"] == "100"
    assert event["UsingPassword"] == "1"


@TRANSPORTS
def test_every_wrong_password_is_one_event_with_the_true_address(lab, transport):
    with lab.ami() as ami, lab.attacker.line(transport) as line:
        assert line.guess("101", 5) == 5
        events = [ami.wait_for(Event="ChallengeResponseFailed") for _ in range(5)]
    assert {event["AccountID"] for event in events} == {"101"}
    assert len({event["SessionID"] for event in events}) == 5
    assert all(
        event["RemoteAddress"].startswith(f"IPV4/{transport.upper()}/{lab.attacker.address}/") for event in events
    )


def test_the_ami_user_hears_its_own_login(lab):
    """The self-test of astguard rests on it."""
    with lab.ami() as ami:
        event = ami.wait_for(Event="SuccessfulAuth", Service="AMI")
    assert event["AccountID"] == "astguard"
    assert event["RemoteAddress"].startswith("IPV4/TCP/127.0.0.1/")


def test_an_outsider_cannot_be_the_guard(lab):
    """Its user may log in from the PBX itself alone, whoever knows the secret."""
    with lab.ami() as ami, contextlib.closing(Ami(lab.attacker.host, lab.pbx.address)) as outsider:
        assert ami.wait_for(Event="FailedACL", Service="AMI")["AccountID"] == "astguard"
        outsider.wait_for(Message="Authentication failed")
