"""chan_sip, the SIP channel of Asterisk 16: banned by its log, because over AMI it repeats what the sender claims."""

from __future__ import annotations

import pytest

from tests.asterisk.attackers import sipvicious
from tests.asterisk.connection import CHAN_SIP_PORTS
from tests.asterisk.lab import assert_banned, assert_free

pytestmark = pytest.mark.only("16")

GUESSES = 2000
PORTS = {"sip_ports": [5060, 5061, 5070]}
"""Where this PBX listens."""


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls", "udp6", "tcp6"])
def test_a_guesser_is_banned_by_the_log(lab, transport):
    port = CHAN_SIP_PORTS[transport.removesuffix("6")]
    with lab.astguard(firewall={"sip_ports": [5060, 5070, 5071]}) as guard:
        assert lab.phone.register("300", service=port, transport=transport) is True
        assert lab.attacker.guess("301", GUESSES, transport, service=port) < GUESSES
        ban = assert_banned(guard, lab.attacker, transport, by="chan-sip", service=port)
        # A line of the log does not tell the transport, so it proves nothing.
        assert (ban["scope"], ban["evidence"]) == ("sip", "unproven")
        assert lab.phone.register("300", service=port, transport=transport) is True


def test_svcrack_is_banned(lab):
    with lab.astguard(firewall=PORTS) as guard:
        sipvicious(lab.attacker, "svcrack", "-u", "301", "-r", "1000-9999", port=5070, seconds=4)
        assert_banned(guard, lab.attacker, by="chan-sip", service=5070)


def test_without_the_log_nobody_is_banned(lab):
    """The address that chan_sip gives over AMI and in the security log is the sender's own word."""
    with lab.astguard(firewall=PORTS, logs={"messages": "no"}) as guard:
        assert lab.attacker.guess("301", 100, service=5070) == 100
        guard.says("no 'messages' log is read")
        assert guard.bans() == {}


def test_a_phone_with_a_typo_works_on(lab):
    with lab.astguard(firewall=PORTS) as guard, lab.phone.line(service=5070) as phone:
        for _ in range(3):
            assert phone.register("300", "mistyped") is False
        assert phone.register("300", "right-300") is True
        assert_free(guard, lab.phone)


def test_a_misdialling_phone_is_no_attacker(lab):
    """Asterisk reports it as a failed ACL."""
    with lab.astguard(firewall=PORTS) as guard, lab.phone.line(service=5070) as phone:
        assert phone.register("300", "right-300") is True
        for number in range(4):
            assert phone.call("300", "right-300", f"99{number}") == 404
        assert_free(guard, lab.phone)


def test_a_ban_of_pjsip_closes_chan_sip_too(lab):
    with lab.astguard(firewall=PORTS) as guard:
        lab.attacker.guess("101", GUESSES)
        assert_banned(guard, lab.attacker)
        assert not lab.attacker.gets_through(service=5070)
