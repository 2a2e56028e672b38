"""Trunks: one that the PBX knows by its address, and a provider with which it registers."""

from __future__ import annotations

import pytest

from tests.asterisk.company import PROVIDER
from tests.asterisk.lab import assert_banned, assert_free
from tests.asterisk.provider import Provider

pytestmark = pytest.mark.both


def test_a_trunk_by_address_calls_and_is_not_bothered(lab):
    """It never authenticates, and is on the allowlist, as the documentation asks."""
    with lab.astguard(lab.trunk.address) as guard, lab.trunk.line() as trunk:
        for _ in range(3):
            assert trunk.call("provider", "", "700") == 200
        assert trunk.call("provider", "", "999") == 404
        assert_free(guard, lab.trunk)


def test_a_trunk_by_registration_calls_through_an_attack(lab):
    provider = lab.honest(int(PROVIDER.rpartition(".")[2]))
    with lab.astguard() as guard, Provider(provider) as registrar:
        assert registrar.registered.wait(20), lab.asterisk.say("pjsip show registrations")
        lab.attacker.guess("101", 2000)
        assert_banned(guard, lab.attacker)
        with provider.line() as line:
            assert line.call("provider", "", "700") == 200
        assert_free(guard, provider)
