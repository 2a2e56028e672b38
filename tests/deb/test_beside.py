"""Beside the firewalls of others: nothing of theirs changes, and what they flush of ours is there again by itself."""

from __future__ import annotations

import re
import time

import pytest

from tests.deb.conftest import install, timed
from tests.deb.test_life import banned

ATTACKER = "198.51.100.7"
HEALED = 10
"""Seconds within which a ban must be back; it is far less, but the machine may be busy."""

DOCKER = """
iptables -t nat -N DOCKER
iptables -t filter -N DOCKER
iptables -t filter -N DOCKER-ISOLATION-STAGE-1
iptables -t filter -N DOCKER-ISOLATION-STAGE-2
iptables -t filter -N DOCKER-USER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER ! --dst 127.0.0.0/8
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables -t filter -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
iptables -t filter -A DOCKER-ISOLATION-STAGE-1 -j RETURN
iptables -t filter -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
iptables -t filter -A DOCKER-ISOLATION-STAGE-2 -j RETURN
iptables -t filter -A DOCKER-USER -j RETURN
iptables -t filter -I FORWARD -j DOCKER-ISOLATION-STAGE-1
iptables -t filter -I FORWARD -j DOCKER-USER
iptables -t filter -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -t filter -A FORWARD -o docker0 -j DOCKER
iptables -t filter -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables -t filter -P FORWARD DROP
iptables -t nat -A DOCKER -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
iptables -t raw -A PREROUTING -d 172.17.0.2 ! -i docker0 -j DROP
"""
"""What dockerd runs at its start and for one published port (libnetwork's iptables, as `iptables -S` shows them)."""

OTHERS = {
    "nftables": ("systemctl start nftables", "systemctl restart nftables"),
    "nftables' own file": ("systemctl start nftables", "nft -f /etc/nftables.conf"),
    "firewalld": ("systemctl start firewalld", "firewall-cmd --complete-reload"),
    "firewalld restarted": ("systemctl start firewalld", "systemctl restart firewalld"),
    "ufw": ("ufw --force enable", "ufw reload"),
    "docker": (DOCKER, "iptables -t nat -F DOCKER; iptables -t filter -F DOCKER-USER"),
    "iptables": ("iptables -A INPUT -s 192.0.2.9 -j DROP", "iptables -F; iptables -X; iptables -t raw -F"),
}
"""How each is set up, and what it does later on."""


def rules(box, *, ours=False):
    """Give all rules of the kernel as text, without counters; ours only if asked."""
    text = re.sub(r"packets \d+ bytes \d+", "", box.run("nft", "-s", "list", "ruleset"))
    tables = re.findall(r"^table \S+ \S+ \{.*?^\}$", text, re.MULTILINE | re.DOTALL)
    return [table for table in tables if (" astguard {" in table.partition("\n")[0]) == ours]


def settled(box, other):
    """Give the rules of others when they have come to rest: firewalld says that it is up before they are there."""
    seen = []

    def rest():
        time.sleep(1)
        seen.append(rules(box))
        return (
            len(seen) > 1
            and seen[-1] == seen[-2]
            and ("firewalld" not in other or "inet firewalld" in "".join(seen[-1]))
        )

    box.until(rest, f"the rules of {other} come to rest", 30)
    return seen[-1]


@pytest.mark.parametrize("other", OTHERS)
def test_nothing_of_theirs_changes_and_what_they_take_away_is_there_again(other, boot, deb):
    start, later = OTHERS[other]
    box = boot()
    box.sh(start)
    before = settled(box, other)
    install(box, deb)
    box.run("astguard", "bans", "add", ATTACKER, "--for", "1h")
    assert rules(box) == before
    box.sh(later)
    with timed(f"after {other}"):
        box.until(lambda: banned(box, ATTACKER), f"the ban is back after {later}", HEALED)
    theirs, ours = settled(box, other), rules(box, ours=True)
    box.run("systemctl", "restart", "astguard")
    assert rules(box) == theirs
    assert len(ours) == len(rules(box, ours=True)) == 1
    box.run("apt-get", "purge", "--yes", "-qq", "astguard")
    assert rules(box) == theirs
    assert rules(box, ours=True) == []


def test_fail2ban_beside_it_keeps_all_that_is_its_own(boot, deb):
    box = boot()
    box.put("/etc/fail2ban/jail.local", "[DEFAULT]\nbanaction = nftables-multiport\nbackend = polling\n[sshd]\nenabled = true\nlogpath = /var/log/auth.log\n")  # fmt: skip
    box.put("/var/log/auth.log", "")
    box.run("systemctl", "start", "fail2ban")
    box.until(lambda: not box.try_("fail2ban-client", "set", "sshd", "banip", "192.0.2.66").returncode, "fail2ban bans")
    box.until(lambda: "192.0.2.66" in "".join(rules(box)), "fail2ban's ban is in the kernel")
    before = rules(box)
    install(box, deb)
    box.run("astguard", "bans", "add", ATTACKER, "--for", "1h")
    assert rules(box) == before
    box.run("systemctl", "restart", "fail2ban")
    assert banned(box, ATTACKER)
    box.until(lambda: not box.try_("fail2ban-client", "status", "sshd").returncode, "fail2ban is up again")
    box.run("apt-get", "purge", "--yes", "-qq", "astguard")
    assert box.run("systemctl", "is-active", "fail2ban").strip() == "active"
