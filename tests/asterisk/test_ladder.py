"""A ban's end: who has learnt gets in, who has not is out for longer each time."""

from __future__ import annotations

import pytest

from tests.asterisk.guard import eventually
from tests.asterisk.lab import assert_banned, assert_free

GUESSES = 2000
RULE = """\
about: The stock rule with bans that a test can wait for.
service: PJSIP
events: [ChallengeResponseFailed]
threshold: 5
window: 1m
ban: [2s, 4s, 30m]
"""


@pytest.fixture
def short(tmp_path):
    """Give a folder of rules, with one rule of short bans."""
    (tmp_path / "short.yaml").write_text(RULE)
    return [str(tmp_path)]


def test_the_repentant_gets_in_when_his_ban_ends(lab, short):
    """The kernel ends it, on time."""
    with lab.astguard(rules=short) as guard:
        lab.attacker.guess("101", GUESSES, "tcp")
        guard.says("ban 198.51.100.11/32 for 2s")
        assert not lab.attacker.gets_through("tcp")
        eventually(lambda: lab.attacker.register("101", transport="tcp"), 8, about=guard.log)
        guard.says("expire 198.51.100.11/32")
        assert_free(guard, lab.attacker, transport="tcp")


def test_the_ladder_grows(lab, short):
    with lab.astguard(rules=short) as guard:
        for strike, span in enumerate(["2s", "4s", "30m"], 1):
            eventually(lambda: lab.attacker.gets_through("tcp"), 10, about=guard.log)
            lab.attacker.guess("101", GUESSES, "tcp")
            guard.says(f"for {span} ", f"strike={strike}")
        assert_banned(guard, lab.attacker, "tcp")


def test_unproven_bans_stay_short(lab, tmp_path):
    """A forger could send somebody else up the ladder: over UDP it ends where `unproven_max` says."""
    (tmp_path / "steep.yaml").write_text(RULE.replace("[2s, 4s, 30m]", "[7d]"))
    with lab.astguard(rules=[str(tmp_path)]) as guard:
        lab.attacker.guess("101", GUESSES)
        assert assert_banned(guard, lab.attacker)["left_seconds"] <= 600
        lab.stranger(12).guess("101", GUESSES, "tcp")
        assert assert_banned(guard, lab.stranger(12), "tcp")["left_seconds"] > 6 * 86_400
