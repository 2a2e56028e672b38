"""The iptables backend against the real kernel, with `ipset` and `iptables-legacy` as witnesses that know nothing of us."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guard.core.address import parse_source
from guard.core.ban import Change, Op
from guard.core.rule import Scope
from guard.core.units import DAY, Duration
from guard.errors import FirewallError, FirewallUnavailable, TableGone
from guard.firewall import Layout, xtables
from guard.firewall.choice import choose
from guard.firewall.host import legacy_tables
from guard.firewall.ipsets import HOST_SETS
from guard.wire.ipset import LONGEST
from guard.wire.nfnetlink import Message
from tests.kernel.conftest import NOW, add, adds, ban, hosts, nft, remove
from tests.kernel.golden import IPSET_MESSAGES
from tests.netns import namespace

ALLOW = [parse_source(text) for text in ("192.0.2.66", "192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "::/0")]
COMMANDS = ("iptables-legacy", "ip6tables-legacy")
FOREIGN = """
ipset create mine hash:ip family inet timeout 0
ipset add mine 198.51.100.9 timeout 0
ipset create astguardian hash:ip family inet
iptables-legacy -t raw -N OTHER
iptables-legacy -t raw -A OTHER -m set --match-set mine src -j DROP
iptables-legacy -t raw -A PREROUTING -s 192.0.2.99 -j OTHER
iptables-legacy -t raw -A OUTPUT -d 192.0.2.98 -j ACCEPT
iptables-legacy -A INPUT -p udp --dport 5060 -j ACCEPT
ip6tables-legacy -t raw -A PREROUTING -p udp --dport 1 -j DROP
ip6tables-legacy -t mangle -A PREROUTING -j MARK --set-mark 7
"""


def shell(place, text):
    for line in filter(None, map(str.strip, text.splitlines())):
        place.run(*line.split())


def rules(place, command="iptables-legacy", table="raw"):
    return place.run(command, "-t", table, "-S").splitlines()


def everything(place):
    """Say what all tables and sets are, without counters, random numbers and times."""
    tables = ("raw", "mangle", "nat", "filter")
    said = "".join(place.run(f"{command}-save", "-t", table) for command in COMMANDS for table in tables)
    said += place.run("ipset", "save") + place.run("nft", "list", "ruleset")
    lines = [line for line in said.splitlines() if not line.startswith(("#", ":"))]
    return re.sub(r" initval \S+| timeout [1-9]\d*", "", "\n".join(lines))


def members(place, name):
    """Read a set by `ipset`, without its mark: each address, and the seconds it has left."""
    lines = place.run("ipset", "list", name).partition("Members:\n")[2].splitlines()
    pairs = [[*line.split(), "timeout", "0"][:3] for line in lines]
    return {key: int(left) for key, _, left in pairs if not key.startswith(("255.", "ffff:"))}


def knock(far, address):
    """Send one packet to the PBX; over a veth pair it has arrived, or was dropped, when this returns."""
    with far.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.bind((address, 0))
        mouth.sendto(b"knock", ("192.0.2.1", 5060))


def test_rules_and_sets_are_what_the_design_says_as_ipset_and_iptables_show_them(place, iptables):
    iptables.setup(Layout(allow=ALLOW[:1], slow_rate=7))
    iptables.apply([add("203.0.113.0/24", scope=Scope.SLOW)], NOW)
    assert rules(place) == [
        "-P PREROUTING ACCEPT",
        "-P OUTPUT ACCEPT",
        *(f"-N {chain}" for chain in ("ASTGUARD", "ASTGUARD_ALL", "ASTGUARD_SIP", "ASTGUARD_SLOW")),
        "-A PREROUTING -j ASTGUARD",
        "-A ASTGUARD -i lo -j RETURN",
        "-A ASTGUARD -m set --match-set astguard_allow4 src -j RETURN",
        "-A ASTGUARD -m set --match-set astguard_all4_32 src -j ASTGUARD_ALL",
        "-A ASTGUARD -m set --match-set astguard_ports dst -m set --match-set astguard_sip4_32 src -j ASTGUARD_SIP",
        *(
            f"-A ASTGUARD -m set --match-set astguard_ports dst -m set --match-set astguard_slow4_{length} src"
            " -m hashlimit --hashlimit-above 7/sec --hashlimit-burst 5 --hashlimit-mode srcip"
            f" --hashlimit-name astguard4_{length}_7 --hashlimit-htable-size 1024 --hashlimit-htable-max 65536"
            f" --hashlimit-htable-expire 10000{mask} -j ASTGUARD_SLOW"
            for length, mask in ((32, ""), (24, " --hashlimit-srcmask 24"))
        ),
        *(f"-A ASTGUARD_{scope} -j DROP" for scope in ("ALL", "SIP", "SLOW")),
    ]
    six = rules(place, "ip6tables-legacy")
    assert [line for line in six if "icmpv6-type" in line] == [
        f"-A ASTGUARD -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN" for kind in range(133, 138)
    ]
    assert "--match-set astguard_slow6_64 src" in six[-4]
    assert "--hashlimit-srcmask 64" in six[-4]
    saved = place.run("ipset", "save")
    assert "create astguard_slow4_24 hash:ip family inet hashsize 1024 maxelem 270001 netmask 24 timeout 0" in saved
    assert "create astguard_all6_64 hash:ip family inet6 hashsize 1024 maxelem 270001 netmask 64 timeout 0" in saved
    assert [line for line in saved.splitlines() if line.startswith("add astguard_ports")] == [
        f"add astguard_ports {port}" for port in (4569, 5060, 5061)
    ]


def test_our_rules_are_byte_for_byte_those_that_iptables_writes(place, iptables):
    iptables.setup(Layout(slow_rate=7))
    tables = iptables._tables
    ours = [table.rules()["ASTGUARD"] for table in tables]
    for command in COMMANDS:
        lines = [line.split()[2:] for line in rules(place, command) if line.startswith("-A ASTGUARD ")]
        place.run(command, "-t", "raw", "-F", "ASTGUARD")
        for line in lines:
            place.run(command, "-t", "raw", "-A", "ASTGUARD", *line)
    assert [table.rules()["ASTGUARD"] for table in tables] == ours
    iptables.look()


def test_setup_three_times_leaves_one_jump_and_keeps_the_bans(place, iptables):
    for _ in range(3):
        iptables.setup(Layout(allow=ALLOW))
        iptables.apply([add("198.51.100.7"), add("203.0.113.0/24", scope=Scope.SLOW)], NOW)
    iptables.setup(Layout(allow=ALLOW))
    for command in COMMANDS:
        assert rules(place, command).count("-A PREROUTING -j ASTGUARD") == 1
    assert members(place, "astguard_all4_32").keys() == {"198.51.100.7"}
    assert members(place, "astguard_slow4_24").keys() == {"203.0.113.0"}
    assert members(place, "astguard_allow4").keys() == {"192.0.2.66", "192.0.2.0/24", "0.0.0.0/1", "128.0.0.0/1"}
    assert members(place, "astguard_allow6").keys() == {"2001:db8::/32", "::/1", "8000::/1"}


def test_setup_by_another_process_takes_the_bans_over(place, iptables):
    iptables.setup(Layout())
    iptables.apply([add("198.51.100.7", scope=Scope.SIP), add("203.0.113.0/24")], NOW)
    after = choose("iptables")
    after.setup(Layout())
    after.apply([add("198.51.100.7"), add("203.0.113.0/24", "2h"), add("203.0.112.0/24")], NOW)
    after.close()
    assert members(place, "astguard_sip4_32") == {}
    assert members(place, "astguard_all4_32").keys() == {"198.51.100.7"}
    assert members(place, "astguard_all4_24").keys() == {"203.0.113.0", "203.0.112.0"}
    iptables.look()


def test_another_layout_replaces_allow_sets_ports_size_and_rate_and_keeps_the_bans(place, iptables):
    iptables.setup(Layout(allow=ALLOW))
    iptables.apply([add("198.51.100.7", scope=Scope.SLOW), *adds(hosts(3_000))], NOW)
    place.run("ipset", "add", "astguard_all4_32", "203.0.113.9")  # by hand, without an end
    iptables.setup(Layout(allow=ALLOW[:1], sip_ports=[5080], set_size=5_000, slow_rate=3))
    assert members(place, "astguard_allow4").keys() == {"192.0.2.66"}
    assert members(place, "astguard_ports").keys() == {"5080"}
    assert "maxelem 25001" in place.run("ipset", "list", "-t", "astguard_all4_32")
    left = members(place, "astguard_all4_32")
    assert len(left) == 3_000
    assert all(3590 <= seconds <= 3600 for seconds in left.values())
    assert members(place, "astguard_slow4_32").keys() == {"198.51.100.7"}
    assert "--hashlimit-above 3/sec" in "".join(rules(place))
    assert "astguard_spare" not in place.run("ipset", "list", "-n")
    iptables.look()


def test_sets_made_on_demand_go_when_they_are_empty(place, iptables):
    iptables.setup(Layout())
    iptables.apply([add("203.0.113.0/24"), add("10.0.0.0/8"), add("172.16.0.0/12", scope=Scope.SIP)], NOW)
    iptables.apply([remove("10.0.0.0/8")], NOW)
    iptables.tidy({(Scope.ALL, 4, 24), (Scope.SIP, 4, 12)})
    assert "astguard_all4_8" not in place.run("ipset", "list", "-n")
    iptables.look()
    iptables.apply([remove("172.16.0.0/12", Scope.SIP)], NOW)
    iptables.setup(Layout())
    names = place.run("ipset", "list", "-n").split()
    assert "astguard_sip4_12" not in names
    assert "astguard_all4_24" in names
    assert len(names) == len(HOST_SETS) + 1 + 2 + 1
    iptables.apply([add("10.0.0.0/8")], NOW)  # and come back
    assert members(place, "astguard_all4_8").keys() == {"10.0.0.0"}


def test_teardown_leaves_all_as_it_was_and_nobody_elses_things_are_ever_touched(place, iptables):
    shell(place, FOREIGN)
    nft(place, "table inet astguard { chain guard { type filter hook input priority 0; } }")
    before = everything(place)
    iptables.teardown()
    assert everything(place) == before
    for _ in range(2):
        iptables.setup(Layout(allow=ALLOW))
        iptables.apply([add("198.51.100.7"), add("2001:db8:5::/64", scope=Scope.SIP), add("203.0.113.0/24")], NOW)
        iptables.apply([remove("198.51.100.7")], NOW)
        iptables.dropped()
        iptables.look()
    theirs = [line for line in everything(place).splitlines() if not re.search(r"ASTGUARD|astguard_", line)]
    assert theirs == before.splitlines()
    iptables.teardown()
    assert everything(place) == before


def test_the_allowlist_leaves_a_packet_to_the_rules_that_others_have(place, iptables, wire):
    # An ACCEPT in our chain would end the whole table for whoever is allowed.
    place.run("iptables-legacy", "-t", "raw", "-A", "PREROUTING", "-s", "192.0.2.66", "-j", "DROP")
    iptables.setup(Layout(allow=[parse_source("192.0.2.66")]))
    knock(wire, "192.0.2.66")
    counted = place.run("iptables-legacy", "-t", "raw", "-L", "PREROUTING", "-v", "-x", "-n")
    assert int(re.search(r"(\d+) +\d+ DROP", counted)[1]) > 0


@pytest.mark.parametrize(
    ("standing", "named", "remedy"),
    [
        (
            "ipset create astguard_all4_32 hash:net family inet timeout 0",
            "ipset astguard_all4_32 is hash:net family inet timeout, expected hash:ip family inet timeout: it is not ours",
            "ipset rename astguard_all4_32 OTHER",
        ),
        (
            "ipset create astguard_all6_64 hash:ip family inet6 timeout 0",
            "is hash:ip family inet6 timeout, expected hash:ip family inet6 netmask 64 timeout",
            "ipset rename",
        ),
        (
            "ipset create astguard_sip4_24 hash:ip netmask 24",
            "expected hash:ip family inet netmask 24 timeout",
            "rename",
        ),
        ("ipset create astguard_allow4 hash:ip", "is hash:ip family inet, expected hash:net family inet", "rename"),
        ("ipset create astguard_ports hash:ip", "expected bitmap:port", "rename"),
        (
            "iptables-legacy -t raw -N ASTGUARD\niptables-legacy -t raw -A ASTGUARD -s 192.0.2.1 -j ACCEPT",
            r"chain ASTGUARD in table raw \(iptables-legacy\) has 1 rules, none of them ours; nothing was changed",
            "iptables-legacy -t raw -E ASTGUARD OTHER",
        ),
        (
            "ip6tables-legacy -t raw -N ASTGUARD_SIP\nip6tables-legacy -t raw -A ASTGUARD_SIP -j ACCEPT",
            r"chain ASTGUARD_SIP in table raw \(ip6tables-legacy\) has 1 rules, none of them ours",
            "ip6tables-legacy -t raw -E ASTGUARD_SIP OTHER",
        ),
    ],
)
def test_a_set_or_chain_of_our_name_and_another_shape_is_named_and_left_alone(place, iptables, standing, named, remedy):
    shell(place, standing)
    before = everything(place)
    with pytest.raises(FirewallError, match=named) as caught:
        iptables.setup(Layout())
    assert remedy in str(caught.value)
    assert everything(place) == before


DAMAGE = {
    "iptables-legacy -t raw -F": ("chain ASTGUARD in?|chain ASTGUARD has other rules", True),
    "iptables-legacy -t raw -F ASTGUARD_SLOW": ("chain ASTGUARD_SLOW has other rules than ours", True),
    "ip6tables-legacy -t raw -D PREROUTING -j ASTGUARD": ("from PREROUTING to chain ASTGUARD is gone", True),
    "ip6tables-legacy -t raw -D ASTGUARD -i lo -j RETURN": ("has other rules than ours in table raw .ip6tables", True),
    "iptables-legacy -t raw -I ASTGUARD -j ACCEPT": ("chain ASTGUARD has other rules than ours", True),
    "iptables-legacy -t raw -F\niptables-legacy -t raw -X": ("chain ASTGUARD is gone in table raw", True),
    "ipset flush": ("ipset astguard_all4_32 is gone or was emptied", False),
    "ipset flush astguard_sip6_64": ("ipset astguard_sip6_64 is gone or was emptied", False),
    "ipset flush astguard_allow4": ("ipset astguard_allow4 is gone or was emptied", True),
    "ipset del astguard_ports 5060": ("ipset astguard_ports is gone or was emptied", True),
    "iptables-legacy -t raw -F\nip6tables-legacy -t raw -F\nipset destroy": ("is gone or was emptied", False),
    "ipset create other hash:ip timeout 0\nipset swap other astguard_all4_32": ("astguard_all4_32 is gone", False),
}


@pytest.mark.parametrize("command", DAMAGE)
def test_damage_is_found_by_a_look_and_healed_and_packets_are_stopped_again(place, iptables, wire, command):
    text, kept = DAMAGE[command]
    bans = [ban("198.51.100.7"), ban("203.0.113.0/24", scope=Scope.SIP), ban("2001:db8:5::/64")]
    shell(place, FOREIGN.replace("ipset add mine 198.51.100.9 timeout 0", "") if "swap" not in command else "")
    layout = Layout(allow=[parse_source("192.0.2.66")])
    iptables.setup(layout)
    iptables.apply([Change(Op.ADD, one) for one in bans], NOW)
    iptables.look()
    shell(place, command)
    after_damage = [line for line in everything(place).splitlines() if not re.search(r"ASTGUARD|astguard_", line)]
    with pytest.raises(TableGone, match=text) as caught:
        iptables.look()
    assert caught.value.bans_kept is kept
    iptables.setup(layout, () if kept else bans, NOW)
    iptables.look()
    assert set(iptables.held()) == {(one.source, one.scope) for one in bans}
    before = iptables.dropped()
    knock(wire, "198.51.100.7")
    knock(wire, "198.51.100.8")
    after = iptables.dropped()
    assert [after[scope][0] - before[scope][0] for scope in Scope] == [1, 0, 0]
    assert members(place, "astguard_allow4").keys() == {"192.0.2.66"}
    left = [line for line in everything(place).splitlines() if not re.search(r"ASTGUARD|astguard_", line)]
    assert left == after_damage


def test_what_is_gone_is_told_by_whatever_is_asked_first(place, iptables):
    iptables.setup(Layout())
    iptables.apply([add("198.51.100.7"), add("203.0.113.0/24")], NOW)
    for command in COMMANDS:
        shell(place, f"{command} -t raw -F\n{command} -t raw -X")
    place.run("ipset", "destroy")
    for changes in ([add("198.51.100.8")], [remove("198.51.100.7")], [add("203.0.113.0/24"), add("10.0.0.0/8")]):
        with pytest.raises(TableGone, match="somebody"):
            iptables.apply(changes, NOW)
    for call in (iptables.dropped, lambda: iptables.close_ports([5080]), lambda: iptables.accept(ALLOW[:1], [])):
        with pytest.raises(TableGone, match="somebody"):
            call()
    assert iptables.held() == {}
    iptables.setup(Layout())
    iptables.apply([add("198.51.100.7")], NOW)
    iptables.look()


def test_a_set_of_another_shape_that_appears_later_is_replaced(place, iptables):
    iptables.setup(Layout())
    for command in COMMANDS:
        shell(place, f"{command} -t raw -F\n{command} -t raw -X")
    shell(place, "ipset destroy\nipset create astguard_all4_32 hash:net")
    with pytest.raises(TableGone):
        iptables.look()
    iptables.setup(Layout(), [ban("198.51.100.7")], NOW)
    iptables.look()
    assert members(place, "astguard_all4_32").keys() == {"198.51.100.7"}


def test_a_set_or_chain_that_somebody_elses_rule_needs_is_not_taken_from_it(place, iptables):
    iptables.setup(Layout())
    place.run("iptables-legacy", "-A", "INPUT", "-m", "set", "--match-set", "astguard_all4_32", "src", "-j", "DROP")
    with pytest.raises(
        FirewallError, match="ipset astguard_all4_32 is looked up by a rule that is not ours, so it stays"
    ):
        iptables.teardown()
    assert rules(place, table="filter")[-1] == "-A INPUT -m set --match-set astguard_all4_32 src -j DROP"
    iptables.setup(Layout())
    place.run("iptables-legacy", "-t", "raw", "-A", "OUTPUT", "-j", "ASTGUARD")
    with pytest.raises(
        FirewallError, match=r"refused a change of table raw .iptables-legacy.*nothing of it was changed"
    ):
        iptables.teardown()
    assert rules(place).count("-A PREROUTING -j ASTGUARD") == 1


def test_thirty_days_is_the_longest_that_ipset_has(place, iptables):
    iptables.setup(Layout())
    iptables.apply(adds(hosts(1), Duration(30 * DAY)), NOW)
    ((left,),) = [members(place, "astguard_all4_32").values()]
    assert LONGEST - 5 <= left <= LONGEST
    place.run("ipset", "add", "astguard_all4_32", "192.0.2.9", "timeout", LONGEST)
    with pytest.raises(AssertionError, match=r"outside of valid range|timeout"):
        place.run("ipset", "add", "astguard_all4_32", "192.0.2.10", "timeout", LONGEST + 1)


def test_a_full_set_takes_again_what_it_holds_and_knows_what_has_ended(place, iptables):
    iptables.setup(Layout(set_size=10))
    changes = adds(hosts(20_010))
    iptables.apply(changes, NOW)
    for start in (0, 10):  # all of it again, as after a flush of something else
        iptables.apply(changes[start : start + 20_000], NOW)
    with pytest.raises(FirewallError, match="is full: it was made for 10 bans"):
        iptables.apply([*changes[:5], add("198.51.100.7")], NOW)
    place.run("ipset", "del", "astguard_all4_32", "10.0.0.7")
    iptables.apply([*changes[:5], add("198.51.100.7")], NOW)
    assert len(iptables.held()) == 20_010


def test_another_program_that_holds_the_lock_is_waited_for_and_then_named(place, iptables, monkeypatch, tmp_path):
    monkeypatch.setattr(xtables, "LOCK", tmp_path / "xtables.lock")
    iptables.setup(Layout())
    holder = os.open(xtables.LOCK, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    iptables.apply([add("198.51.100.7")], NOW)  # no rule has to change for this
    began = time.monotonic()
    with pytest.raises(FirewallError, match=rf"another program holds {xtables.LOCK} for more than 0.1 s; see who with"):
        iptables.apply([add("203.0.113.0/24")], NOW)
    assert time.monotonic() - began >= xtables.PATIENCE
    assert {source for source, _ in iptables.held()} == {parse_source("198.51.100.7")}
    os.close(holder)
    iptables.apply([add("203.0.113.0/24")], NOW)
    iptables.look()
    monkeypatch.setattr(xtables, "LOCK", tmp_path / "no such folder" / "lock")
    with pytest.raises(FirewallUnavailable, match=r"cannot open .*tmpfiles.d: f /run/xtables.lock 0660 root astguard"):
        iptables.apply([add("10.0.0.0/8")], NOW)


def test_the_lock_is_the_one_that_iptables_takes(place, iptables):
    iptables.setup(Layout())
    with xtables.locked():
        theirs = place.start("iptables-legacy", "-w", "-t", "raw", "-N", "OTHER")
        with pytest.raises(subprocess.TimeoutExpired):
            theirs.wait(0.3)
    assert theirs.wait(10) == 0
    assert "-N OTHER" in rules(place)


def insist(call):
    """Do what the enforcer does: try again when somebody else was faster to the lock."""
    for _ in range(50):
        try:
            return call()
        except FirewallError as refused:
            assert "another program holds" in str(refused)  # noqa: PT017
    raise AssertionError("the lock is never free")


def test_two_processes_that_change_the_table_at_once_lose_nothing(place, iptables):
    iptables.setup(Layout())
    theirs = place.start("sh", "-c", "for n in $(seq 60); do iptables-legacy -w -t raw -A OUTPUT -d 192.0.2.$n; done")
    lengths = list(range(9, 32))
    for _ in range(2):
        for length in lengths:
            insist(lambda length=length: iptables.apply([add(f"128.0.0.0/{length}")], NOW))
        iptables.apply([remove(f"128.0.0.0/{length}") for length in lengths], NOW)
        insist(lambda: iptables.tidy(()))
    theirs.wait(30)
    assert len([line for line in rules(place) if line.startswith("-A OUTPUT")]) == 60
    iptables.look()


@pytest.mark.parametrize("command", IPSET_MESSAGES)
def test_golden_messages_do_what_their_ipset_command_does(place, command):
    def outcome(act):
        with namespace("golden") as other, other.inside():
            backend = choose("iptables")
            backend.setup(Layout())
            other.run("ipset", "add", "astguard_all4_32", "198.51.100.8", "timeout", "10800")
            act(backend, other)
            held = {key: round(left, -1) for key, left in backend.held().items()}
            ports = members(other, "astguard_ports"), members(other, "astguard_allow4")
            backend.close()
            return held, ports

    def by_ipset(backend, other):
        for line in command.split("; "):
            other.run("ipset", "-exist", *line.split())

    def by_bytes(backend, other):
        message = IPSET_MESSAGES[command][1]
        assert backend._kernel.order([message]) is None

    assert outcome(by_bytes) == outcome(by_ipset)


def test_a_batch_that_is_refused_in_the_middle_says_what_stands(place, iptables):
    iptables.setup(Layout())
    ban_set = next(iter(iptables._bans))
    wrong = Message(9, 0, ban_set.writer.messages(9, ban_set.writer.bare([bytes(4)]))[0].body)  # 0.0.0.0 is no element
    good = ban_set.writer.messages(9, ban_set.writer.timed([(bytes((198, 51, 100, 7)), 60)]))
    refused = iptables._kernel.order([*good, wrong, *good])
    assert (refused.message, refused.errno) == (1, 4353)
    assert {source for source, _ in iptables.held()} == {parse_source("198.51.100.7")}
    with pytest.raises(FirewallError, match=r"refused message 1 of 1 to ipset astguard_all4_8.*before it are applied"):
        iptables.apply([add("0.0.0.0/8")], NOW)


def test_without_permission_the_error_names_what_is_needed(place):
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from guard.errors import FirewallUnavailable\n"
        "from guard.firewall import Layout\n"
        "from guard.firewall.choice import choose\n"
        "from guard.firewall.xtables import load; load()\n"
        "firewall = choose('iptables')\n"
        "os.setgroups([]); os.setuid(65534)\n"
        "for call in (lambda: firewall.setup(Layout()), firewall.teardown, firewall._kernel.open,\n"
        "             lambda: list(firewall.listing())):\n"
        "    try: call()\n"
        "    except FirewallUnavailable as fault: print(fault)\n"
    )
    said = place.run(sys.executable, "-W", "error", "-c", program, str(Path(__file__).parents[2])).splitlines()
    first, *rest = said
    assert first == "reading the legacy tables needs root, or CAP_NET_ADMIN and CAP_NET_RAW, in this network namespace"
    assert rest == ["changing ipsets needs root or CAP_NET_ADMIN in this network namespace"] * 2


def test_flush_on_a_host_that_never_used_it_neither_needs_the_library_nor_wakes_the_table(place, iptables, monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "iptc", None)
        assert not iptables.teardown()
    assert legacy_tables() == []
    iptables.setup(Layout())
    assert "raw" in legacy_tables()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "iptc", None)
        with pytest.raises(FirewallUnavailable, match="install the packages python3-iptables"):
            iptables.teardown()
    assert iptables.teardown()
    assert not iptables.teardown()
    place.run("ipset", "create", "astguard_all4_32", "hash:net")  # not our shape, so not ours
    assert not iptables.teardown()
    assert "astguard_all4_32" in place.run("ipset", "list", "-n")


def test_a_missing_library_is_explained_with_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "iptc", None)
    with pytest.raises(
        FirewallUnavailable,
        match=r"needs python-iptables.*install the packages python3-iptables and iptables.*nftables",
    ):
        choose("iptables").setup(Layout())


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (errno.EINVAL, "this kernel has no ipset of the types that are needed .*modprobe -a ip_set"),
        (4097, "speaks an older protocol of ipset than 7"),
    ],
)
def test_a_kernel_without_ipset_is_named(iptables, monkeypatch, number, named):
    from guard.firewall.ipsetsocket import refusal

    def refuse(_message):
        raise refusal(number, "asked")

    monkeypatch.setattr(iptables._kernel, "ask", refuse)
    with pytest.raises(FirewallUnavailable, match=named):
        iptables.setup(Layout())


def test_json_of_nft_knows_nothing_of_us(place, iptables):
    """Never both: the backend iptables makes nothing in nf_tables."""
    iptables.setup(Layout())
    iptables.apply([add("198.51.100.7")], NOW)
    tables = [entry for entry in json.loads(place.run("nft", "-j", "list", "ruleset"))["nftables"] if "table" in entry]
    assert tables == []
