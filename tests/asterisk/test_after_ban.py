"""A ban that does not bite is noticed: the source is heard on, stamped by Asterisk after the kernel took the ban.

Each cause is staged as it happens to people; the alarm names the port, and what is likely.
"""

from __future__ import annotations

import pytest

from tests.asterisk.company import company
from tests.asterisk.guard import eventually
from tests.asterisk.lab import assert_banned
from tests.asterisk.proxy import Proxy

GUESSES = 2000
"""Most of a second: what is stamped later than a tenth of a second after the ban is a surprise."""
REDIRECT = (
    "add table ip door; add chain ip door in { type nat hook prerouting priority dstnat; }; "
    "add rule ip door in udp dport 5099 redirect to :5060"
)
ODD_PORT = "\n[odd]\ntype=transport\nprotocol=udp\nbind=0.0.0.0:22\n"


def told(guard, person, *words):
    """The ban stands, has no effect, and an alarm says so; what has come is counted as an outcome of its own."""
    guard.says("ban ", person.source())
    guard.says("alarm ban-without-effect", person.address, *words)
    eventually(lambda: guard.json("status")["counts"]["outcome.after_ban"] >= 10, 5, about=guard.log)
    assert person.source() in guard.bans()


def test_a_ban_that_somebody_took_out_of_the_kernel_is_put_back(lab):
    """The kernel tells at once, so it is no cause of an alarm any more."""
    with lab.astguard() as guard, lab.attacker.line("udp") as line:
        line.guess("101", 60)
        assert_banned(guard, lab.attacker)
        lab.pbx.run(
            "nft", "delete", "element", "inet", "astguard", "sip4_32", f"{{ {lab.attacker.address} }}", check=True
        )

        guard.says("taken out of the kernel", "put back", lab.attacker.address)
        assert_banned(guard, lab.attacker)
        assert line.guess("101", 20) == 0
        assert "ban-without-effect" not in guard.log()


def test_a_port_that_is_not_covered_is_told_of(lab):
    """Asterisk listens at the port of SSH, the one that is never learnt; whoever configures it gets what he asks for."""
    odd = {"pjsip_conf": company(lab.version)["pjsip.conf"] + ODD_PORT}
    with lab.asterisk.configured(**odd):
        with lab.astguard() as guard:
            assert lab.attacker.guess("101", GUESSES, service=22) == GUESSES
            told(guard, lab.attacker, "port 22 ", "add it to firewall.sip_ports")
        with lab.astguard(firewall={"sip_ports": [22, 5060]}) as guard:
            assert lab.stranger(12).guess("101", GUESSES, service=22) < GUESSES
            assert_banned(guard, lab.stranger(12), service=22)


def test_a_port_that_is_redirected_is_told_of(lab):
    """The firewall gives another port to Asterisk, which knows its own alone; the ban looks at the packet before that."""
    with lab.astguard() as guard:
        lab.pbx.run("nft", REDIRECT, check=True)
        assert lab.attacker.guess("101", GUESSES, service=5099) == GUESSES
        told(guard, lab.attacker, "port 5060 ", "a port that is redirected to it")


def test_a_proxy_in_front_is_told_of(lab):
    with lab.astguard() as guard, Proxy(lab.pbx, 5098, lab.attacker.address):
        assert lab.attacker.guess("101", GUESSES, service=5098) == GUESSES
        told(guard, lab.attacker, "port 5060 ", "a proxy in front of Asterisk")


def test_a_guard_in_another_network_namespace_is_told_of(lab):
    """Asterisk has a network of its own, as in some containers: the guard hears it, and bans where nothing comes by."""
    there = {"host": lab.pbx.address, "username": "monitor", "secret": "right-monitor"}
    with lab.astguard(on=lab.phones, ami=there) as guard:
        assert lab.attacker.guess("101", GUESSES) == GUESSES
        told(guard, lab.attacker, "port 5060 ", "in another network namespace")
        assert lab.attacker.address in guard.kernel()


def test_what_asterisk_had_in_hand_when_the_kernel_took_the_ban_is_no_surprise(lab):
    with lab.astguard() as guard:
        lab.attacker.guess("101", GUESSES)
        assert_banned(guard, lab.attacker)
        counts = guard.json("status")["counts"]
        assert counts["outcome.after_ban"] == 0
        assert "ban-without-effect" not in guard.log()


@pytest.mark.both
def test_a_port_at_which_sip_was_heard_is_closed_and_shown(lab):
    """Learnt by the first guess; the first ban at a port not yet known once took so long that 91 guesses were answered."""
    with lab.astguard(firewall={"sip_ports": [5080]}) as guard:
        assert guard.json("status")["firewall"]["sip_ports"] == [5080]
        with lab.attacker.line("udp") as line:
            line.guess("101", 60)
        assert_banned(guard, lab.attacker)
        assert guard.json("status")["firewall"]["sip_ports"] == [5060, 5080]
        assert not lab.attacker.gets_through("udp")
