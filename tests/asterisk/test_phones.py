"""Real phones beside an attack, and with an old password."""

from __future__ import annotations

import pytest

from tests.asterisk.lab import assert_banned, assert_free
from tests.asterisk.phones import baresip, jssip

GUESSES = 2000


@pytest.mark.both
def test_real_phones_register_on_through_an_attack(lab, tmp_path):
    desk, browser = lab.honest(61), lab.honest(62)
    with lab.astguard() as guard, baresip(desk, "103", tmp_path) as one, jssip(browser, "104", tmp_path) as two:
        one.says("200 OK")
        two.says("registered")
        lab.attacker.guess("103", GUESSES)
        assert_banned(guard, lab.attacker)
        assert_free(guard, desk, browser)
        assert "disconnected" not in two.said()


def test_jssip_over_a_secured_websocket(lab, tmp_path):
    with lab.astguard() as guard, jssip(lab.honest(62), "104", tmp_path, url="wss:8089") as phone:
        phone.says("registered")
        assert_free(guard, lab.honest(62))


@pytest.mark.long
def test_baresip_with_an_old_password_in_an_office_is_an_alarm(lab, tmp_path):
    """It answers until it has fifteen refusals, and that again 40 to 77 s later, when it is told of."""
    with lab.astguard() as guard:
        for number in range(9):
            assert lab.colleague(number).register(str(100 + number)) is True
        with baresip(lab.colleague(9), "109", tmp_path, password="old") as phone:
            phone.says("401", "Unauthorized", "failed")
            guard.says("alarm broken-phone", "109", seconds=120)
        assert guard.bans() == {}
        assert_free(guard, lab.colleague(0))


def test_jssip_with_an_old_password_alone_is_let_try(lab, tmp_path):
    """One wrong answer at a time, all in one session: a burst of a phone's, however long it takes."""
    with lab.astguard() as guard, jssip(lab.honest(63), "105", tmp_path, password="old") as phone:
        phone.says("failed", times=6)
        assert_free(guard, lab.honest(63))
