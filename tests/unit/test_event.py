"""What each event proves about its sender."""

from __future__ import annotations

import pytest

from guard.core.event import Kind, Service, Transport
from tests.events import event


@pytest.mark.parametrize(
    "kind", [Kind.INVALID_ACCOUNT_ID, Kind.CHALLENGE_SENT, Kind.FAILED_ACL, Kind.CHALLENGE_RESPONSE_FAILED]
)
def test_a_failure_over_udp_proves_nothing(kind):
    assert not event(kind=kind, transport=Transport.UDP).proven


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS, Transport.WS, Transport.WSS])
def test_a_handshake_proves_the_address(transport):
    assert event(transport=transport).proven
    assert event(transport=transport, service=Service.AMI).proven


def test_a_success_with_a_password_proves_the_address_even_over_udp():
    assert event(kind=Kind.SUCCESSFUL_AUTH, password=True).proven
    assert not event(kind=Kind.SUCCESSFUL_AUTH, password=False).proven


@pytest.mark.parametrize("transport", list(Transport))
def test_chan_sip_proves_nothing(transport):
    assert not event(service=Service.SIP, transport=transport, kind=Kind.SUCCESSFUL_AUTH, password=True).proven
