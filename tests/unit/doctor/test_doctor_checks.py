"""Each check of the doctor sees its bad case, and is silent about the good one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from guard.asterisk.loggerconf import Found
from guard.asterisk.manager import Listener, User, read_manager
from guard.asterisk.telephony import Trunk
from guard.core.address import parse_host, parse_source
from guard.core.rule import Mode
from guard.doctor import CHECKS, examine
from guard.doctor.facts import Facts
from guard.doctor.senders import Senders
from guard.host.amiprobe import Heard
from guard.host.machine import Hook, Ruleset
from guard.host.place import Place
from guard.settings.config import Config, parse_config
from tests.unit.asterisk.test_manager import conf

PLACE = Place(
    asterisk_conf=Path("/etc/asterisk/asterisk.conf"),
    etc=Path("/etc/asterisk"),
    log=Path("/var/log/asterisk"),
    modules=None,
    program="/usr/sbin/asterisk",
    running=True,
    freepbx=False,
)
USER = "[astguard]\nsecret=x\nread=security\nwrite=\ndeny=0.0.0.0/0.0.0.0\ndeny=::/0\npermit=127.0.0.1\nwritetimeout=5000\n"
MANAGER = "[general]\nenabled=yes\nbindaddr=127.0.0.1\n" + USER
STATUS = {
    "mode": "enforce",
    "link": {"state": "up", "self_test": "ok", "lag_ms": 3},
    "warnings": [],
}
LOG = Path("/var/log/asterisk/messages")
GOOD = Facts(
    config=parse_config(b"allow: [192.0.2.0/24, sip.example.org]\n"),
    place=PLACE,
    status=STATUS,
    allowed=(parse_source("192.0.2.0/24"),),
    manager=read_manager(conf(MANAGER)),
    trunks=(Trunk("192.0.2.22", "a trunk", "pjsip.conf:1"), Trunk("sip.example.org", "a provider", "pjsip.conf:2")),
    identify_order=("ip", "username", "anonymous"),
    logs=Found(LOG, LOG.with_name("security")),
    messages=(LOG,),
    senders=Senders(80, 12, 30, parse_host("198.51.100.7")),
    ruleset=Ruleset(
        ("inet filter",), (Hook("inet filter/prerouting", "prerouting", -150, untracked=False, rewrites=False),)
    ),
)


def status(**changes):
    link = {**STATUS["link"], **changes.pop("link", {})}
    return replace(GOOD, status={**STATUS, "link": link, **changes})


def manager(text, **changes):
    return replace(GOOD, manager=read_manager(conf(text)), **changes)


def user(old, new):
    assert old in MANAGER
    return manager(MANAGER.replace(old, new))


BAD = [
    ("configuration", "serious", replace(GOOD, config_problem="astguard.yaml:3:1: 'allwo' is no key"), "allwo"),
    ("running", "serious", replace(GOOD, status=None, no_status="there is no socket", heard=Heard("9", True, 0)), "no socket"),
    ("mode", "note", status(mode="observe"), "bans are said, not made"),
    ("mode", "note", replace(GOOD, status=None, config=Config(mode=Mode.OBSERVE)), "bans are said, not made"),
    ("self-test", "serious", status(link={"self_test": "failed"}), "did not come back"),
    ("self-test", "serious", status(link={"state": "refused"}, warnings=[{"text": "link: Asterisk refused the login"}]), "refused the login"),
    ("self-test", "serious", status(link={"state": "lost"}), "the link is lost"),
    ("self-test", "note", status(link={"self_test": "waiting"}), "only just logged in"),
    ("self-test", "serious", replace(GOOD, status=None, not_heard="no login at AMI on 127.0.0.1:5038"), "no login"),
    ("self-test", "serious", replace(GOOD, status=None, heard=Heard("11.0.0", False)), "no security event came back"),
    ("self-test", "note", replace(GOOD, status=None), "astguard is not running"),
    ("clock", "warning", status(link={"lag_ms": 2_500}), "2.5 s old"),
    ("clock", "serious", status(link={"lag_ms": 60_000}), "60.0 s old"),
    ("clock", "warning", replace(GOOD, status=None, heard=Heard("9", True, 5_000)), "5.0 s ahead of this host's"),
    ("clock", "serious", replace(GOOD, status=None, heard=Heard("9", True, -3_600_000)), "3600.0 s behind this host's"),
    ("daemon", "warning", status(warnings=[{"text": "firewall: \x1b[2Jno", "remedy": "r"}]), r"firewall: \x1b[2Jno"),
    ("manager", "serious", replace(GOOD, manager_problem="manager.conf:3: broken"), "manager.conf:3: broken"),
    ("manager", "serious", user("enabled=yes", "enabled=no"), "AMI is off"),
    ("ami-user", "serious", manager("[general]\nenabled=yes\nbindaddr=127.0.0.1\n"), "no user [astguard]"),
    ("read-security", "serious", user("read=security", "read=call"), "hears nothing"),
    ("ami-rights", "serious", user("write=", "write=system,call"), "write = call, system"),
    ("ami-rights", "warning", user("read=security", "read=security,log"), "read = log, security"),
    ("writetimeout", "warning", user("writetimeout=5000", "writetimeout=1000"), "after a stall of 1000 ms"),
    ("writetimeout", "warning", user("writetimeout=5000\n", ""), "after a stall of 100 ms"),
    ("eventfilter", "serious", user("write=", "eventfilter=!Event: X\nwrite="), "a remote party can hide events"),
    ("eventfilter", "warning", user("write=", "eventfilter(action(exclude),name(X)) =\nwrite="), "cannot be counted"),
    ("ami-outside", "warning", user("bindaddr=127.0.0.1", "bindaddr=0.0.0.0"), "AMI on 0.0.0.0:5038 is reachable"),
    ("ami-outside", "serious", manager(MANAGER.replace("bindaddr=127.0.0.1", "") + "[open]\nsecret=x\n"), "[open] (from 198.51.100.7, say)"),
    ("ami-outside", "serious", manager(MANAGER.replace("bindaddr=127.0.0.1", "").replace("deny=::/0", "")), "[astguard] (from 2001:db8::7, say)"),
    ("ami-http", "serious", manager("[general]\nwebenabled=yes\n" + MANAGER.replace("[general]\n", ""), http=(Listener("HTTP", "0.0.0.0", "8088", "x"),)), "events can be forged"),
    ("ami-http", "note", manager("[general]\nwebenabled=yes\n" + MANAGER.replace("[general]\n", ""), http=(Listener("HTTP", "127.0.0.1", "8088", "x"),)), "for this host alone"),
    ("messages-log", "warning", replace(GOOD, messages=(), logs=Found(None, LOG, ("logger.conf names none",))), "logger.conf names none"),
    ("log-noise", "note", replace(GOOD, logs=Found(LOG, LOG, ("full holds more than notices",))), "more than notices"),
    ("security-log", "note", replace(GOOD, logs=Found(LOG, None)), "no 'security' log"),
    ("log-readable", "warning", replace(GOOD, unreadable={LOG: "closed to astguard"}), "closed to astguard"),
    ("dateformat", "warning", replace(GOOD, date_format="%F %H:%M"), "%F %H:%M"),
    ("one-sender", "warning", replace(GOOD, senders=Senders(80, 1, 30, parse_host("10.0.0.5"))), "10.0.0.5: a proxy"),
    ("identify-order", "note", replace(GOOD, identify_order=("auth_username", "ip")), "look unknown"),
    ("anonymous", "warning", replace(GOOD, anonymous="pjsip.conf:7"), "pjsip.conf:7"),
    ("chan-sip", "note", replace(GOOD, chan_sip=True), "only the log counts"),
    ("trunks", "warning", replace(GOOD, allowed=()), "192.0.2.22 is not on the allowlist"),
    ("trunks", "warning", replace(GOOD, config=Config()), "sip.example.org is not on the allowlist"),
    ("asterisk-files", "note", replace(GOOD, unread=("pjsip.conf:9: the output of a program (#exec)",)), "#exec"),
    ("asterisk", "serious", replace(GOOD, place=None, no_place="no Asterisk found"), "no Asterisk found"),
    ("asterisk", "note", replace(GOOD, place=None, config=parse_config(b"ami: {host: 203.0.113.9, secret_file: x}\n")), "its files are not here"),
    ("asterisk", "warning", replace(GOOD, place=replace(PLACE, running=False)), "not running"),
    ("tables", "note", replace(GOOD, legacy=frozenset({"ip filter"})), "iptables-legacy (ip filter)"),
    ("flush", "note", replace(GOOD, services=frozenset({"nftables"}), flushes_all=True), "flush ruleset"),
    ("flush", "note", replace(GOOD, services=frozenset({"firewalld"})), "firewalld.service is on"),
    ("ahead", "note", replace(GOOD, ruleset=None), "could not be read"),
    ("ahead", "warning", replace(GOOD, ruleset=Ruleset((), (), ("inet x/fast",))), "go around all bans"),
    ("ahead", "note", replace(GOOD, ruleset=Ruleset((), (Hook("ip raw/PRE", "prerouting", -300, untracked=True, rewrites=False),))), "connection tracking"),
    ("ahead", "warning", replace(GOOD, ruleset=Ruleset((), (Hook("ip x/y", "prerouting", -400, untracked=False, rewrites=True),))), "rewrites source addresses"),
    ("fail2ban", "warning", replace(GOOD, fail2ban=("asterisk",)), "for Asterisk too (asterisk)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "severity", "facts", "says"), BAD, ids=[f"{bad[0]}-{bad[1]}-{n}" for n, bad in enumerate(BAD)]
)
def test_what_is_wrong_is_found(check, severity, facts, says):
    found = [finding for finding in examine(facts) if finding.check == check]
    assert [finding.severity for finding in found] == [severity], found
    assert says in found[0].text
    assert found[0].remedy or "not running" in found[0].text


def test_what_is_well_is_well():
    findings = examine(GOOD)
    assert [finding for finding in findings if finding.severity != "ok"] == []
    assert {finding.check for finding in findings} == {check.name for check in CHECKS}


def test_every_check_has_its_bad_case():
    assert {check.name for check in CHECKS} == {bad[0] for bad in BAD}


def test_the_manual_has_every_check():
    manual = (Path(__file__).parents[3] / "docs/operating.md").read_text()
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", manual, re.MULTILINE) == [check.name for check in CHECKS]


def test_the_worst_comes_first():
    findings = examine(replace(GOOD, manager_problem="broken", chan_sip=True, anonymous="x"))
    assert [finding.severity for finding in findings][:4] == ["serious", "warning", "note", "ok"]


def test_what_cannot_be_told_is_not_called_well():
    """Without manager.conf nothing is known of its user, and without Asterisk nothing of its files."""
    broken = {finding.check for finding in examine(replace(GOOD, manager_problem="broken"))}
    assert not broken & {
        "ami-user",
        "read-security",
        "ami-rights",
        "writetimeout",
        "eventfilter",
        "ami-outside",
        "ami-http",
    }
    nowhere = {finding.check for finding in examine(replace(GOOD, place=None, no_place="no Asterisk found"))}
    assert nowhere == {
        "asterisk",
        "tables",
        "flush",
        "ahead",
        "fail2ban",
        "configuration",
        "running",
        "mode",
        "self-test",
        "clock",
        "daemon",
    }


def test_one_loud_phone_is_no_proxy():
    for senders in (Senders(80, 1, 1, parse_host("10.0.0.5")), Senders(9, 1, 9, parse_host("10.0.0.5")), Senders()):
        assert not [
            f for f in examine(replace(GOOD, senders=senders)) if f.check == "one-sender" and f.severity != "ok"
        ]


def test_a_closed_ipv6_needs_no_rule_where_ami_does_not_hear_it():
    facts = manager(MANAGER.replace("bindaddr=127.0.0.1", "bindaddr=0.0.0.0").replace("deny=::/0\n", ""))
    assert [f.severity for f in examine(facts) if f.check == "ami-outside"] == ["warning"]


def test_a_name_of_a_trunk_is_allowed_by_its_addresses_too():
    trunk = Trunk("pbx.example.net", "a provider", "pjsip.conf:2")
    inside, outside = (frozenset({parse_host(host)}) for host in ("192.0.2.9", "203.0.113.9"))
    for addresses, severity in ((inside, "ok"), (outside, "warning"), (inside | outside, "warning")):
        facts = replace(GOOD, trunks=(trunk,), addresses={"pbx.example.net": addresses})
        assert [f.severity for f in examine(facts) if f.check == "trunks"] == [severity]


def test_a_user_has_the_name_that_the_configuration_gives():
    facts = replace(GOOD, config=parse_config(b"ami: {username: watcher, secret_file: x}\nallow: [sip.example.org]\n"))
    assert [f.text for f in examine(facts) if f.check == "ami-user"] == ["manager.conf has no user [watcher]"]
    assert isinstance(facts.manager.users[0], User)
