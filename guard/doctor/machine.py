"""Checks of this host: who else has a say in packets, and who might take astguard's table away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.asterisk.manager import Listener
from guard.doctor.finding import Check, Finding, note, serious, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guard.doctor.facts import Facts

RAW = -300
"""The priority of astguard's chain (docs/decisions): what stands below it sees packets earlier."""
FLUSHERS = {
    "netfilter-persistent": "it flushes iptables' tables and loads them anew",
    "iptables": "it flushes iptables' tables and loads them anew",
    "firewalld": "it makes its own table anew; with FlushAllOnReload it flushes others of iptables",
    "ufw": "it makes its own chains anew",
    "docker": "it adds chains of its own, which see packets after astguard's",
}


def asterisk(facts: Facts) -> Iterator[Finding]:
    """Find no Asterisk."""
    if facts.place is None and not Listener("AMI", facts.config.ami.host, "", "").is_loopback:
        yield note(
            "asterisk", f"Asterisk is on {facts.config.ami.host}: its files are not here", "run doctor there too"
        )
    elif facts.place is None:
        yield serious("asterisk", facts.no_place, "astguard guards the host that Asterisk runs on")
    elif not facts.place.running:
        yield warning("asterisk", "Asterisk is not running", "systemctl start asterisk")


def tables(facts: Facts) -> Iterator[Finding]:
    """Find two kinds of rules in force."""
    others = facts.ruleset.tables if facts.ruleset else ()
    if facts.legacy and others:
        both = f"iptables-legacy ({', '.join(sorted(facts.legacy))}) and of nftables ({', '.join(others[:5])})"
        text = f"rules of {both} are in force"
        yield note("tables", text, "both are obeyed; 'iptables-legacy -S' and 'nft list ruleset' show one kind each")


def flush(facts: Facts) -> Iterator[Finding]:
    """Find services that take tables away."""
    remedy = "a running astguard puts its table and bans back at once; stopped, the bans are gone"
    if "nftables" in facts.services and facts.flushes_all:
        text = "nftables.service flushes every table when it starts or stops (/etc/nftables.conf: flush ruleset)"
        yield note("flush", text, remedy)
    for service in sorted(facts.services & set(FLUSHERS)):
        yield note("flush", f"{service}.service is on: {FLUSHERS[service]}", remedy)


def ahead(facts: Facts) -> Iterator[Finding]:
    """Find what gets packets before astguard's chain does, or carries them around it."""
    if facts.ruleset is None:
        yield note(
            "ahead", "the kernel's rules could not be read", "run this as root, with the package nftables installed"
        )
        return
    for name in facts.ruleset.offloaded:
        text = f"flow table {name}: packets of flows that it carries go around all bans"
        yield warning(
            "ahead", text, "take the SIP ports out of it; it matters on a router, not for Asterisk on this host"
        )
    for hook in facts.ruleset.hooks:
        early = hook.hook == "ingress" or hook.priority <= RAW
        if hook.rewrites and early:
            text = f"chain {hook.chain} rewrites source addresses before bans are looked at"
            yield warning("ahead", text, "give the chain a priority above -300")
        elif hook.untracked and early:
            text = f"chain {hook.chain} takes packets out of connection tracking at priority {hook.priority}"
            yield note("ahead", text, "bans work all the same: astguard's chain does not ask connection tracking")


def fail2ban(facts: Facts) -> Iterator[Finding]:
    """Find another guard of the same door."""
    if facts.fail2ban:
        running = "is on" if "fail2ban" in facts.services else "is configured"
        text = f"fail2ban {running} for Asterisk too ({', '.join(facts.fail2ban)}): it may ban your office"
        yield warning("fail2ban", text, "'enabled = false' for it in fail2ban, once astguard is in 'mode: enforce'")


CHECKS = (
    Check("asterisk", "Asterisk is running", asterisk),
    Check("tables", "one kind of firewall rules is in force", tables),
    Check("flush", "no service flushes tables", flush),
    Check("ahead", "nothing sees packets before bans are looked at", ahead),
    Check("fail2ban", "nobody else bans for Asterisk", fail2ban),
)
