"""Whoever forges addresses: over UDP anybody can write anybody's, and no phone may lose its PBX for it."""

from __future__ import annotations

import contextlib

import pytest

from tests.asterisk.attackers import Forger
from tests.asterisk.guard import eventually
from tests.asterisk.lab import assert_banned, assert_free
from tests.asterisk.person import Person

pytestmark = pytest.mark.both

FRAMED = 300


@pytest.fixture
def forger(lab):
    with contextlib.closing(Forger(lab.stranger(66).host, lab.pbx)) as forger:
        yield forger


def test_a_framed_phone_is_slowed_at_most(lab, forger):
    """It has authenticated lately, which a forger cannot: it sees no nonce."""
    with lab.astguard() as guard, lab.phone.line() as phone:
        assert phone.register("100", "right-100") is True
        forger.frame(lab.phone.address, FRAMED)
        eventually(guard.bans)
        assert {ban["scope"] for ban in guard.bans().values()} == {"slow"}, guard.bans()
        # At a phone's pace it works on.
        assert any(phone.register("100", "right-100") for _ in range(3)), guard.log()


def test_a_framed_office_is_slowed_at_most(lab, forger):
    with lab.astguard() as guard, contextlib.ExitStack() as lines:
        phones = {str(100 + n): lines.enter_context(lab.colleague(n).line()) for n in range(10)}
        for account, phone in phones.items():
            assert phone.register(account, f"right-{account}") is True
        forger.frame("192.0.2.50", FRAMED)
        assert {ban["scope"] for ban in guard.bans().values()} <= {"slow"}, guard.bans()
        for account, phone in phones.items():
            assert any(phone.register(account, f"right-{account}") for _ in range(4)), f"{account}\n{guard.log()}"


def test_a_framed_trunk_on_the_allowlist_is_not_touched(lab, forger):
    with lab.astguard(lab.trunk.address) as guard, lab.trunk.line() as trunk:
        assert trunk.call("provider", "", "700") == 200
        forger.frame(lab.trunk.address, FRAMED)
        assert guard.bans() == {}
        assert trunk.call("provider", "", "700") == 200


def test_a_framed_stranger_loses_no_more_than_sip_for_a_while(lab, forger):
    """Nothing speaks for him; and what he can prove over TCP nobody has said of him."""
    with lab.astguard() as guard:
        forger.frame("192.0.2.77", FRAMED)
        ban = assert_banned(guard, lab.honest(77))
        assert (ban["scope"], ban["evidence"]) == ("sip", "unproven")
        assert ban["left_seconds"] <= 600


def test_many_framed_addresses_do_not_push_out_who_is_guilty(lab, forger):
    """Unproven bans are rationed; a proven one waits for nobody."""
    with lab.astguard() as guard:
        for number in range(100, 200):
            forger.frame(f"192.0.2.{number}", 12, every=0)
        lab.attacker.guess("101", 2000, "tcp")
        assert_banned(guard, lab.attacker, "tcp", by="pjsip-guessing")
        assert_free(guard, lab.phone)


@pytest.mark.parametrize("transport", ["tcp", "tcp6"])
def test_our_own_address_is_never_banned(lab, transport):
    """A program on the PBX itself has an old password."""
    with lab.astguard() as guard, Person(lab.pbx, lab.pbx, "2001:db8:a::10").line(transport) as line:
        assert line.guess("101", 100) == 100
        assert guard.bans() == {}
