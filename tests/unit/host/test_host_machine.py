"""What else has a say in packets on this host, of texts as these programs write them."""

from __future__ import annotations

import json

import pytest

from guard.core.address import show, show_short
from guard.host.fail2ban import fail2ban_asterisk
from guard.host.machine import (
    Hook,
    Ruleset,
    enabled_services,
    flushes_all,
    legacy_tables,
    own_networks,
    parse_ruleset,
    parse_who,
)


def write(root, name, text=""):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_services_that_start_at_boot(tmp_path):
    write(tmp_path, "etc/systemd/system/multi-user.target.wants/nftables.service")
    write(tmp_path, "etc/systemd/system/basic.target.wants/ufw.service")
    write(tmp_path, "etc/systemd/system/firewalld.service")
    assert enabled_services(tmp_path) == {"nftables", "ufw"}


def test_the_tables_of_legacy_iptables(tmp_path):
    assert legacy_tables(tmp_path) == frozenset()
    write(tmp_path, "proc/net/ip_tables_names", "filter\nraw\n")
    write(tmp_path, "proc/net/ip6_tables_names", "filter\n")
    assert legacy_tables(tmp_path) == {"ip filter", "ip raw", "ip6 filter"}


@pytest.mark.parametrize(
    ("text", "flushes"),
    [
        ("#!/usr/sbin/nft -f\n\nflush ruleset\n\ntable inet filter {\n}\n", True),
        ("flush ruleset;\n", True),
        ("# flush ruleset\n", False),
        ("flush ruleset inet\nflush table inet filter\n", False),
        ("", False),
    ],
)
def test_a_file_that_takes_every_table_away(text, flushes, tmp_path):
    write(tmp_path, "etc/nftables.conf", text)
    assert flushes_all(tmp_path) is flushes


RULES = {
    "nftables": [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "astguard"}},
        {"chain": {"family": "inet", "table": "astguard", "name": "guard", "hook": "prerouting", "prio": -300}},
        {"table": {"family": "ip", "name": "raw"}},
        {"chain": {"family": "ip", "table": "raw", "name": "PREROUTING", "type": "filter", "hook": "prerouting", "prio": -300}},
        {"rule": {"family": "ip", "table": "raw", "chain": "PREROUTING", "expr": [{"match": {}}, {"notrack": None}]}},
        {"chain": {"family": "ip", "table": "raw", "name": "OUTPUT", "type": "filter", "hook": "output", "prio": -300}},
        {"table": {"family": "ip", "name": "early"}},
        {"chain": {"family": "ip", "table": "early", "name": "c", "type": "filter", "hook": "prerouting", "prio": -400}},
        {"rule": {"family": "ip", "table": "early", "chain": "c", "expr": [
            {"mangle": {"key": {"payload": {"protocol": "ip", "field": "saddr"}}, "value": "192.0.2.1"}}]}},
        {"flowtable": {"family": "inet", "table": "fw", "name": "fast", "hook": "ingress", "prio": 0, "dev": "eth0"}},
    ]
}  # fmt: skip


def test_the_rules_of_others():
    assert parse_ruleset(RULES) == Ruleset(
        ("ip raw", "ip early"),
        (
            Hook("ip raw/PREROUTING", "prerouting", -300, untracked=True, rewrites=False),
            Hook("ip early/c", "prerouting", -400, untracked=False, rewrites=True),
        ),
        ("inet fw/fast",),
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"nftables": None},
        {"nftables": [1, {"table": 3}, {"chain": {"hook": "prerouting"}}, {"rule": {}}]},
    ],
)
def test_rules_of_no_known_form_say_nothing_wrong(value):
    found = parse_ruleset(json.loads(json.dumps(value)))
    assert all(not hook.untracked and not hook.rewrites for hook in found.hooks)


def test_who_is_logged_in_from_where():
    text = (
        "root     pts/0        2026-11-22 13:36 (198.51.100.7)\nann      tty1         2026-11-22 13:36\n"
        "bob      pts/1        2026-11-22 13:36 (2001:db8::7)\neve      pts/2        2026-11-22 13:36 (gw.example.org)\n"
        "root     pts/3        2026-11-22 13:36 (192.0.2.9:S.0)\nx (127.0.0.1)\n(\n)\n"
    )
    assert [show_short(source) for source in parse_who(text)] == ["198.51.100.7", "2001:db8::7", "192.0.2.9"]


ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth1\t007100CB\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth2\t0000000A\t0101A8C0\t0003\t0\t0\t0\t000000FF\t0\t0\t0
odd
"""
ROUTE6 = """\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 1 0 00000001 eth0
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 1 0 00000001 eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 1 0 00000001 eth0
odd
"""


def test_the_private_networks_of_this_host():
    """Not the public ones, where strangers live, nor those of containers, nor what is behind a gateway."""
    assert [show(network) for network in own_networks(ROUTE, ROUTE6)] == ["192.168.1.0/24", "fd00::/64"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ()),
        ({"jail.conf": "[DEFAULT]\nenabled = false\n[asterisk]\nlogpath = /var/log/asterisk/messages\n"}, ()),
        ({"jail.conf": "[asterisk]\nport=5060\n", "jail.d/x.local": "[asterisk]\nenabled = true\n"}, ("asterisk",)),
        ({"jail.local": "[pbx]\nenabled = yes\nfilter = asterisk[mode=x]\n[sshd]\nenabled = true\n"}, ("pbx",)),
        ({"jail.conf": "[asterisk]\nenabled = true\n", "jail.local": "[asterisk]\nenabled = false\n"}, ()),
        (
            {"jail.conf": "[DEFAULT]\nenabled = true\n[asterisk]\nport=1\n[INCLUDES]\nbefore = asterisk\n"},
            ("asterisk",),
        ),
    ],
)
def test_another_guard_of_the_same_door(files, expected, tmp_path):
    for name, text in files.items():
        write(tmp_path, f"etc/fail2ban/{name}", text)
    assert fail2ban_asterisk(tmp_path) == expected
