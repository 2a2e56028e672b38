"""What breaks on a PBX, in the middle of an attack: Asterisk, its AMI, its logs, the guard, the ruleset."""

from __future__ import annotations

import pytest

from tests.asterisk.company import manager
from tests.asterisk.guard import eventually
from tests.asterisk.lab import assert_banned, assert_free

pytestmark = pytest.mark.both

GUESSES = 2000
FEW = 4
"""One guess less than the stock rule lets pass."""

LINK_LOST = 15.0
"""Two Pings and some: a hung Asterisk is found out by then."""


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_asterisk_goes_and_comes_back_in_the_middle_of_an_attack(lab, end):
    """What was counted before the end counts after it, whether the link is back by then or only the log tells."""
    with lab.astguard() as guard:
        assert lab.attacker.guess("101", FEW) == FEW
        getattr(lab.asterisk, end)()
        guard.says("no link to Asterisk")
        lab.asterisk.start()
        assert lab.attacker.guess("101", GUESSES) < GUESSES
        assert_banned(guard, lab.attacker, by="pjsip-guessing")
        eventually(guard.is_up, 20, about=guard.log)
        assert_free(guard, lab.phone)


def test_asterisk_hangs_and_comes_back(lab):
    """Its sockets stay open, and nothing answers: an unanswered Ping tells. What it then says stands in the log."""
    with lab.astguard() as guard, lab.attacker.line() as line:
        with lab.asterisk.frozen():
            for _ in range(20):
                line.shout("REGISTER", "nobody")
            guard.says("did not answer a Ping", seconds=LINK_LOST)
        assert_banned(guard, lab.attacker)
        eventually(guard.is_up, 20, about=guard.log)
        assert_free(guard, lab.phone)


def test_the_log_fills_in_while_ami_cannot_be_reached(lab):
    """Somebody's firewall drops the way to AMI; the security log tells the same."""
    with lab.ami_unreachable(), lab.astguard(wait=False) as guard:
        guard.says("reading")
        guard.says("no link to Asterisk", seconds=LINK_LOST)
        assert guard.json("status")["link"]["state"] != "up"
        assert lab.attacker.guess("101", GUESSES, "tcp") < GUESSES
        assert_banned(guard, lab.attacker, "tcp", by="pjsip-guessing")
        assert_free(guard, lab.phone)


def test_messages_alone_are_enough(lab):
    """No AMI, and no security log, as on most PBXs: the notices tell who failed."""
    with lab.ami_unreachable(), lab.astguard(wait=False, logs={"security": "no"}) as guard:
        guard.says("reading")
        lab.attacker.guess("101", GUESSES)
        assert_banned(guard, lab.attacker, by="pjsip-guessing")
        assert_free(guard, lab.phone)


def test_the_log_is_rotated_during_an_attack(lab):
    """logrotate renames the file, and Asterisk opens a new one: what stands in both counts."""
    messages = lab.log("messages")
    with lab.ami_unreachable(), lab.astguard(wait=False, logs={"security": "no"}) as guard:
        guard.says("reading")
        assert lab.attacker.guess("101", FEW) == FEW
        messages.rename(messages.with_name("messages.1"))
        lab.asterisk.say("logger reload")
        lab.attacker.guess("101", GUESSES)
        assert messages.exists()
        assert_banned(guard, lab.attacker, by="pjsip-guessing")


def test_the_log_is_copied_and_emptied_during_an_attack(lab):
    """logrotate's `copytruncate`: the file stays the same, and begins again."""
    messages = lab.log("messages")
    with lab.ami_unreachable(), lab.astguard(wait=False, logs={"security": "no"}) as guard:
        guard.says("reading")
        assert lab.attacker.guess("101", FEW) == FEW
        eventually(lambda: guard.json("status")["counts"].get("attempts.counted", 0) >= FEW)
        with messages.open("r+") as log:
            log.truncate(0)
        lab.attacker.guess("101", GUESSES)
        assert_banned(guard, lab.attacker, by="pjsip-guessing")


def test_the_guard_without_rights_says_so_and_reads_the_log(lab):
    """A login without `read = security` is accepted, and hears nothing for ever."""
    with (
        lab.asterisk.configured("manager reload", manager_conf=manager(rights="call")),
        lab.astguard(wait=False) as guard,
    ):
        guard.says("did not come back as a security event", "read = security")
        lab.attacker.guess("101", GUESSES, "tcp")
        assert_banned(guard, lab.attacker, "tcp", by="pjsip-guessing")


def test_the_ami_user_is_removed_while_the_guard_is_connected(lab):
    """The session hears on; the next login is refused, which is told, and the log fills in."""
    without = manager().replace("[astguard]", "[somebody-else]")
    with lab.astguard() as guard:
        with lab.asterisk.configured("manager reload", manager_conf=without):
            lab.attacker.guess("101", GUESSES)
            assert_banned(guard, lab.attacker, by="pjsip-guessing")
            lab.asterisk.kill()
            lab.asterisk.start(wait=False)
            guard.says("no link to Asterisk", "refused", seconds=20)
            eventually(lab.phone.gets_through, 20)
            lab.stranger(12).guess("102", GUESSES)
            assert_banned(guard, lab.stranger(12), by="pjsip-guessing")
        assert_free(guard, lab.phone)


def test_the_guard_is_killed_and_comes_back(lab):
    """The kernel goes on without it, and it goes on where the kernel is."""
    with lab.astguard() as guard:
        lab.attacker.guess("101", GUESSES)
        before = guard.bans()
        guard.kill()
        assert not lab.attacker.gets_through()
        assert lab.phone.register() is True
        guard.start()
        assert guard.bans().keys() == before.keys()
        assert_banned(guard, lab.attacker)
        lab.stranger(12).guess("101", GUESSES)
        assert_banned(guard, lab.stranger(12), by="pjsip-guessing")


def test_a_flushed_ruleset_is_made_again(lab):
    """`nft flush ruleset`, as a reloaded firewall does: made again at once, whether the banned source is heard or not."""
    with lab.astguard() as guard:
        lab.attacker.guess("101", GUESSES)
        assert_banned(guard, lab.attacker)
        lab.pbx.run("nft", "flush", "ruleset", check=True)
        guard.says("table is gone")
        assert_banned(guard, lab.attacker)
        assert_free(guard, lab.phone)
