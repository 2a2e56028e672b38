"""Guessing passwords over each transport and family, and what the ban does to lines that were open before it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.asterisk.lab import assert_banned, assert_fair, assert_free
from tests.asterisk.person import BOTH_FAMILIES

pytestmark = pytest.mark.both

GUESSES = 2000
FEW = 200
"""What Asterisk answers in a tenth of a second."""


@pytest.mark.parametrize("transport", BOTH_FAMILIES)
def test_a_guesser_is_banned_over_every_transport(lab, transport):
    """The line was open when the ban came: a flow the kernel knows, or a connection that Asterisk has accepted."""
    with lab.astguard() as guard, lab.phone.line(transport) as phone, lab.attacker.line(transport) as line:
        assert phone.register("100", "right-100") is True

        refused = line.guess("101", GUESSES)

        assert 4 <= refused < FEW, f"{refused} guesses were answered:\n{guard.log()}"
        ban = assert_banned(guard, lab.attacker, transport, by="guessing")
        assert_fair(ban, transport)
        assert line.ask("OPTIONS", "100", to="600") is None
        assert any(phone.register("100", "right-100") for _ in range(3)), guard.log()


def test_a_ban_for_one_family_leaves_the_other_alone(lab):
    with lab.astguard() as guard:
        lab.attacker.guess("101", GUESSES, "tcp6")
        assert_banned(guard, lab.attacker, "tcp6")
        assert_free(guard, lab.attacker, transport="tcp")


def test_a_neighbour_of_a_guesser_works_on(lab):
    """IPv4 is judged by address: the next one in the same street is somebody else."""
    with lab.astguard() as guard:
        lab.attacker.guess("101", GUESSES, "tcp")
        assert_banned(guard, lab.attacker, "tcp")
        assert_free(guard, lab.stranger(12), lab.phone)


def test_ten_guessers_at_once(lab):
    """A small botnet, on one account, over UDP: over TCP all of their network would be banned for it."""
    guessers = [lab.stranger(20 + number) for number in range(10)]
    with lab.astguard() as guard:
        with ThreadPoolExecutor(10) as botnet:
            refused = list(botnet.map(lambda bot: bot.guess("101", GUESSES), guessers))
        assert max(refused) < FEW, f"{refused}\n{guard.log()}"
        assert guard.bans().keys() == {guesser.source() for guesser in guessers}
        assert_banned(guard, guessers[9], by="guessing")
        assert_free(guard, lab.phone)
