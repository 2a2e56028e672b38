"""An office of ten phones behind one address, and what honest people do wrong there."""

from __future__ import annotations

import contextlib

import pytest

from tests.asterisk.calls import Call
from tests.asterisk.guard import eventually
from tests.asterisk.lab import assert_banned, assert_free
from tests.asterisk.sip import Session

pytestmark = pytest.mark.both

GUESSES = 2000
A_MINUTE_OF_BURSTS = 5
"""What the most impatient phone does in a minute: its answers are given here at once."""


@contextlib.contextmanager
def office(lab, but: str = ""):
    """Ten phones have registered; give their lines by account."""
    with contextlib.ExitStack() as lines:
        phones = {str(100 + n): lines.enter_context(lab.colleague(n).line()) for n in range(10) if str(100 + n) != but}
        for account, phone in phones.items():
            assert phone.register(account, f"right-{account}") is True
        yield phones


def work_goes_on(phones) -> None:
    for account, phone in phones.items():
        assert phone.register(account, f"right-{account}") is True, f"{account} is cut off"


def test_one_old_password_in_an_office_is_an_alarm_and_nothing_else(lab):
    """The phone tries it again and again; nine others share its address."""
    with lab.astguard() as guard, office(lab, but="107") as phones, lab.colleague(7).line() as broken:
        for _ in range(A_MINUTE_OF_BURSTS):
            broken.burst("107", "old-107", answers=15)
        guard.says("alarm broken-phone", "107")
        work_goes_on(phones)
        assert guard.bans() == {}


def test_the_phone_with_the_old_password_comes_back_with_the_new_one(lab):
    with lab.astguard() as guard, office(lab, but="107") as phones, lab.colleague(7).line() as broken:
        for _ in range(A_MINUTE_OF_BURSTS):
            broken.burst("107", "old-107", answers=15)
        assert broken.register("107", "right-107") is True
        work_goes_on(phones)
        assert guard.bans() == {}


def test_a_typo_is_forgiven(lab):
    """Fifteen wrong answers in one burst, as a real phone gives them, and then the right one."""
    with lab.astguard() as guard, lab.phone.line() as phone:
        assert phone.burst("100", "mistyped") == 401
        assert phone.register("100", "right-100") is True
        # Nobody types faster; on a busy machine a line of `messages` is read before AMI's success.
        eventually(lambda: guard.json("explain", "192.0.2.21")["trusted"], 5, about=guard.log)
        assert phone.burst("100", "mistyped again") == 401
        assert phone.register("100", "right-100") is True
        assert_free(guard, lab.phone)


def test_an_attacker_in_the_office_is_slowed_and_the_office_works_on(lab):
    """He shares the address of nine phones: a ban would be theirs."""
    with lab.astguard() as guard, office(lab) as phones, lab.colleague(12).line() as attacker:
        for turn in range(400):
            if attacker.register(str(100 + turn % 20), "guess") is None:
                break
        else:
            pytest.fail(f"nobody slowed him:\n{guard.log()}")
        scopes = {ban["scope"] for ban in guard.bans().values()}
        assert scopes == {"slow"}, guard.bans()
        for account, phone in phones.items():  # at their own pace, they get through
            registered = any(phone.register(account, f"right-{account}") for _ in range(4))
            assert registered, f"{account} is cut off"


def test_a_running_call_keeps_its_sound_while_others_are_banned(lab):
    with lab.astguard() as guard, Call(lab.phone, "100") as call, Call(lab.colleague(1), "101") as another:
        lab.stranger(31).guess("102", GUESSES, "udp")
        lab.stranger(32).guess("103", GUESSES, "tcp")
        assert_banned(guard, lab.stranger(31))
        assert_banned(guard, lab.stranger(32), "tcp")
        assert (call.lost(), another.lost()) == (0, 0)
        assert call.sent > 100


def test_stale_nonces_after_a_restart_are_no_offence(lab):
    """All phones answer with nonces of the Asterisk before: they are asked again, and right."""
    with lab.astguard() as guard, office(lab) as phones:
        sessions = {account: Session() for account in phones}
        for account, phone in phones.items():
            phone.register(account, f"right-{account}", sessions[account])
        lab.restart_asterisk()
        for account, phone in phones.items():
            assert phone.answer(sessions[account], account, f"right-{account}") == 401
            assert phone.answer(sessions[account], account, f"right-{account}") == 200
        assert guard.bans() == {}
