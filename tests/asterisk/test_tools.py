"""The tools that attackers use: SIPVicious and sipp, as they come, against the stock rules."""

from __future__ import annotations

import pytest

from tests.asterisk.attackers import sipp, sipvicious
from tests.asterisk.guard import eventually
from tests.asterisk.lab import assert_banned, assert_free

pytestmark = pytest.mark.both

FEW = 200


def test_a_scan_for_servers_finds_us_and_bans_nobody(lab):
    """One question is no attack: a provider's probe looks the same."""
    with lab.astguard() as guard:
        assert lab.pbx.address in sipvicious(lab.attacker, "svmap")
        assert_free(guard, lab.attacker, lab.phone)


def test_a_scan_for_accounts_learns_nothing(lab):
    """PJSIP gives nothing away, and svwar stops after two probes; who comes again for other names is banned."""
    with lab.astguard() as guard:
        for first in range(3000, 3100, 10):
            said = sipvicious(lab.attacker, "svwar", "-e", f"{first}-{first + 9}")
            assert "found nothing" in said
            if guard.bans():
                break
        ban = assert_banned(guard, lab.attacker, by="pjsip-enumeration")
        assert ban["offences"] == 4
        assert_free(guard, lab.phone)


def test_svcrack_is_banned_and_stays_without_answers(lab):
    """It uses one Call-ID for all guesses, as a phone with an old password does, but does not stop."""
    with lab.astguard() as guard:
        sipvicious(lab.attacker, "svcrack", "-u", "101", "-r", "1000-9999", "-n", seconds=4)
        ban = assert_banned(guard, lab.attacker, by="pjsip-guessing")
        assert ban["events"] < FEW
        assert_free(guard, lab.phone)


def test_a_flood_of_calls_is_banned_and_the_phone_registers_on(lab):
    with lab.astguard() as guard, lab.phone.line() as phone:
        sipp(lab.attacker, calls=500, rate=250, seconds=4)
        assert_banned(guard, lab.attacker, by="pjsip-")
        assert phone.register("100", "right-100") is True
        assert guard.json("status")["firewall"]["dropped"] > 100


def test_a_flood_without_answers_is_banned(lab):
    """Requests that Asterisk challenges and nobody answers: they cost it as much as guesses."""
    with lab.astguard() as guard, lab.attacker.line() as line:
        for _ in range(300):
            line.shout("REGISTER", "101")
        eventually(lambda: lab.attacker.source() in guard.bans(), 8, about=guard.log)
        assert_banned(guard, lab.attacker, by="pjsip-flood")
        assert_free(guard, lab.phone)
