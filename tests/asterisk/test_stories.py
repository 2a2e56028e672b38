"""What an administrator sees: a real Asterisk is attacked, astguard cuts the attacker off, and the phone works on.

astguard runs as a user starts it and is asked as a user asks it; the rules are the stock ones.
"""

from __future__ import annotations

import pytest

from tests.asterisk.guard import eventually
from tests.asterisk.lab import assert_fair
from tests.asterisk.pbx import CERTIFICATE

GUESSES = 2000
"""More than Asterisk answers in the time astguard needs, by far: some two thousand a second against a millisecond."""

pytestmark = pytest.mark.both

TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp"])


@TRANSPORTS
def test_a_guesser_is_cut_off_while_the_phone_registers_on(lab, transport):
    with lab.astguard() as guard, lab.phone.line(transport) as phone, lab.attacker.line(transport) as attacker:
        assert phone.register("100", "right-100") is True

        refused = attacker.guess("101", GUESSES)

        assert refused < GUESSES, f"nobody stopped it:\n{guard.log()}"
        assert lab.attacker.address in guard.kernel()
        assert guard.json("status")["firewall"]["dropped"] > 0
        # Not on the line that was open, whose flow the kernel knows, and not on a new one.
        assert attacker.register("101", "still guessing") is None
        assert not lab.attacker.gets_through(transport)
        assert phone.register("100", "right-100") is True
        assert lab.phone.register(transport=transport) is True


@TRANSPORTS
def test_the_list_of_bans_says_who_and_why_and_how_long(lab, transport):
    with lab.astguard() as guard:
        assert guard.json("bans", "list") == []
        with lab.attacker.line(transport) as line:
            line.guess("101", GUESSES)

        ban = guard.bans()[f"{lab.attacker.address}/32"]

        assert set(ban) >= {"source", "rule", "scope", "strike", "since", "until", "left_seconds", "offences"}
        assert ban["rule"].endswith("guessing")
        assert ban["strike"] == 1
        assert ban["offences"] >= 1
        assert 0 < ban["left_seconds"] <= 3600
        assert ban["since"] < ban["until"]
        assert_fair(ban, transport)


@TRANSPORTS
def test_who_is_let_in_again_gets_through_again(lab, transport):
    with lab.astguard() as guard:
        with lab.attacker.line(transport) as line:
            line.guess("101", GUESSES)
        assert not lab.attacker.gets_through(transport)

        assert guard.command("bans", "remove", lab.attacker.address).returncode == 0

        assert guard.json("bans", "list") == []
        assert lab.attacker.address not in guard.kernel()
        assert lab.attacker.gets_through(transport)


def test_who_is_banned_by_hand_stays_out(lab):
    with lab.astguard() as guard:
        assert lab.attacker.gets_through("udp")

        assert guard.command("bans", "add", lab.attacker.address, "--for", "5m").returncode == 0

        assert not lab.attacker.gets_through("udp")
        assert not lab.attacker.gets_through("tcp")
        assert guard.bans()[f"{lab.attacker.address}/32"]["rule"] == "manual"


def test_who_is_allowed_may_guess_for_ever(lab):
    """Nothing on the allowlist is ever banned (law 3)."""
    with lab.astguard("198.51.100.0/24") as guard, lab.attacker.line("tcp") as line:
        assert line.guess("101", 200) == 200
        assert guard.json("bans", "list") == []


def test_a_ban_outlives_the_daemon(lab):
    """The kernel holds the ban with its end (law 1)."""
    with lab.astguard() as guard:
        with lab.attacker.line("tcp") as line:
            line.guess("101", GUESSES)
        guard.stop()

        assert not lab.attacker.gets_through("tcp")
        assert lab.phone.register() is True
        assert "expires" in guard.kernel()


@pytest.mark.parametrize("forgets", [False, True], ids=["by its store", "by the kernel alone"])
def test_a_new_daemon_knows_the_bans_of_the_old_one(lab, forgets):
    """Nothing acknowledged is lost: what was stored comes back as it was; else what the kernel still holds is adopted."""
    with lab.astguard() as guard:
        with lab.attacker.line("tcp") as line:
            line.guess("101", GUESSES)
        before = guard.bans()
        guard.stop()
        if forgets:
            guard.forget()

        guard.start()

        eventually(lambda: guard.bans().keys() == before.keys(), about=guard.log)
        expected = {"adopted"} if forgets else {ban["rule"] for ban in before.values()}
        assert {ban["rule"] for ban in guard.bans().values()} == expected
        assert not lab.attacker.gets_through("tcp")


def test_the_own_login_comes_back(lab):
    """The self-test: what astguard does itself must arrive as an event, or the path is broken somewhere."""
    with lab.astguard() as guard:
        status = guard.json("status")
        assert (status["link"]["state"], status["link"]["self_test"]) == ("up", "ok")
        assert status["bans"] == 0

        lab.restart_asterisk()

        eventually(guard.is_up, 30, about=guard.log)


def test_a_guesser_is_cut_off_when_the_link_is_tls(lab):
    """The certificate is checked, and the login is plain inside."""
    with lab.astguard(ami={"tls": "yes", "tls_ca": str(CERTIFICATE)}) as guard, lab.attacker.line("tcp") as attacker:
        assert guard.json("status")["link"]["asterisk"].endswith("127.0.0.1:5039")
        assert attacker.guess("101", GUESSES) < GUESSES
        assert f"{lab.attacker.address}/32" in guard.bans()
