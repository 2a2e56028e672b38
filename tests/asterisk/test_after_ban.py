"""A ban that does not bite is noticed: the source is heard on, stamped by Asterisk after the kernel took the ban."""

from __future__ import annotations

from tests.asterisk.guard import eventually
from tests.asterisk.lab import assert_banned


def test_a_ban_that_somebody_took_out_of_the_kernel_is_told_of(lab):
    with lab.astguard() as guard, lab.attacker.line("udp") as line:
        line.guess("101", 60)
        assert_banned(guard, lab.attacker)
        lab.pbx.run(
            "nft", "delete", "element", "inet", "astguard", "sip4_32", f"{{ {lab.attacker.address} }}", check=True
        )

        line.guess("101", 20)

        guard.says("alarm ban-without-effect", lab.attacker.address, "port 5060", "taken out of the kernel")
        eventually(lambda: guard.json("status")["counts"]["outcome.after_ban"] >= 10, 5, about=guard.log)


def test_what_asterisk_had_in_hand_when_the_kernel_took_the_ban_is_no_surprise(lab):
    with lab.astguard() as guard:
        lab.attacker.guess("101", 2_000)
        assert_banned(guard, lab.attacker)
        counts = guard.json("status")["counts"]
        assert counts["outcome.after_ban"] == 0
        assert "ban-without-effect" not in guard.log()


def test_a_port_at_which_sip_was_heard_is_closed_and_shown(lab):
    with lab.astguard(firewall={"sip_ports": [5080]}) as guard:
        assert guard.json("status")["firewall"]["sip_ports"] == [5080]
        with lab.attacker.line("udp") as line:
            line.guess("101", 60)
        assert_banned(guard, lab.attacker)
        assert guard.json("status")["firewall"]["sip_ports"] == [5060, 5080]
        assert not lab.attacker.gets_through("udp")
