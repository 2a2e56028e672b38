"""The whole daemon with `backend: iptables`: guesses, a ban, real packets dropped, healed damage, the end on time."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest

from tests.daemon.linking import SECRET
from tests.daemon.test_service import ATTACKER, SVCRACK, TREE, guarding
from tests.netns import add_address
from tests.scripted_asterisk import ScriptedAsterisk

RULE = """
service: PJSIP
events: [ChallengeResponseFailed]
threshold: 2
window: 1m
ban: [3s]
"""


def configure(folder, port, *, rules=TREE / "rules"):
    config = folder / "astguard.yaml"
    config.write_text(
        f"ami: {{port: {port}, secret: {SECRET}}}\nfirewall: {{backend: iptables}}\nrules: [{rules}]\n"
        f"control: {folder / 'control.sock'}\nstate: {folder / 'state.db'}\nlogs: {{messages: no, security: no}}\n"
    )
    return config


@pytest.fixture
def wired(place, wire):
    """Give the wire, with the attacker's address at its far end."""
    add_address(wire, ATTACKER)
    return wire


class Line:
    """The attacker's packets to the PBX's SIP port."""

    def __init__(self, place, far):
        with place.inside():
            self.ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.ear.bind(("192.0.2.1", 5060))
        with far.inside():
            self.mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.mouth.bind((ATTACKER.partition("/")[0], 0))
        self.ear.setblocking(False)

    def passes(self):
        """Send one packet and tell whether it came; over a veth pair it has when send() returns."""
        self.mouth.sendto(b"knock", ("192.0.2.1", 5060))
        try:
            return self.ear.recv(100) == b"knock"
        except BlockingIOError:
            return False

    def close(self):
        self.ear.close()
        self.mouth.close()


def tell(place, far, story, config_of):
    async def whole():
        line = Line(place, far)
        try:
            async with (
                asyncio.timeout(60),
                ScriptedAsterisk(secret=SECRET) as pbx,
                guarding(config_of(pbx.port)) as guard,
            ):
                await story(pbx, guard, line)
        finally:
            line.close()

    asyncio.run(whole())


def test_an_attack_is_banned_dropped_counted_healed_and_lifted(place, wired, tmp_path):
    async def story(pbx, guard, line):
        assert line.passes()
        await pbx.play(SVCRACK)
        await guard.says("WARNING ban 198.51.100.11/32 for 10m")
        assert [line.passes() for _ in range(3)] == [False] * 3
        status = await guard.ask("status")
        assert status["firewall"]["backend"] == "iptables"
        assert status["firewall"]["why"] == "configured"
        assert status["firewall"]["dropped_by_scope"] == {"all": 0, "sip": 3, "slow": 0}

        for damage in ("ipset flush", "iptables-legacy -t raw -F", "ipset flush astguard_ports"):
            place.run(*damage.split())
            while line.passes():  # noqa: ASYNC110 - until the daemon looks, which nobody asks it to
                await asyncio.sleep(0.05)
        assert "198.51.100.11" in place.run("ipset", "list", "astguard_sip4_32")

        await guard.ask("bans", "remove", "198.51.100.11")
        assert line.passes()

    tell(place, wired, story, lambda port: configure(tmp_path, port))


def test_a_ban_of_three_seconds_is_over_on_time_also_when_nobody_runs(place, wired, tmp_path):
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "short.yaml").write_text("about: Short.\n" + RULE)

    async def story(pbx, guard, line):
        await pbx.play(SVCRACK)
        await guard.says("WARNING ban 198.51.100.11/32 for 3s")
        assert not line.passes()
        await guard.stop()
        assert not line.passes()
        waited = 0.0
        while not line.passes():
            await asyncio.sleep(0.05)
            waited += 0.05
            assert waited < 5
        assert waited > 1

    tell(place, wired, story, lambda port: configure(tmp_path, port, rules=rules))
    names = place.run("ipset", "list", "-n").split()
    assert "astguard_sip4_32" in names, "a stop leaves the sets to the kernel"


def test_bans_are_back_after_a_stop_and_a_reboot(place, wired, tmp_path):
    async def before(pbx, guard, line):
        await pbx.play(SVCRACK)
        await guard.says("WARNING ban 198.51.100.11/32 for 10m")

    tell(place, wired, before, lambda port: configure(tmp_path, port))
    for command in ("iptables-legacy -t raw -F", "ip6tables-legacy -t raw -F", "ipset destroy"):
        place.run(*command.split())

    async def after(_pbx, guard, line):
        assert not line.passes()
        (ban,) = await guard.ask("bans", "list")
        assert (ban["source"], ban["scope"], ban["rule"]) == (ATTACKER, "sip", "pjsip-guessing")
        left = re.search(r"198\.51\.100\.11 timeout (\d+)", place.run("ipset", "list", "astguard_sip4_32"))
        assert 500 < int(left[1]) <= 600

    tell(place, wired, after, lambda port: configure(tmp_path, port))
