"""Whatever others do to nftables, our bans are back and theirs is as they made it."""

from __future__ import annotations

import asyncio
import random
import re

import pytest

from guard.core.address import parse_source
from guard.core.rule import Scope
from guard.core.units import HOUR, MINUTE
from guard.firewall import Layout
from tests.kernel.conftest import hosts, listed
from tests.kernel.healing import guarded, outside, twin
from tests.kernel.test_packets import air  # noqa: F401 - a fixture

ALLOW = [parse_source("192.0.2.0/24")]
NFT = "nft", "-f", "-"
BASE = """
table inet firewall {
    set office { type ipv4_addr; elements = { 192.0.2.7 } }
    chain input { type filter hook input priority filter; policy accept; ip saddr @office accept; }
}
table ip nat { chain postrouting { type nat hook postrouting priority srcnat; policy accept; masquerade; } }
""".replace("{ ", "{\n").replace(" }", "\n}\n")


def script(*lines):
    return NFT, "\n".join(lines) + "\n"


def shell(text):
    return ("sh", "-euc", text), None


# What others run, by name. Those of firewalld 1.3.3, ufw 0.36.2 and Docker's libnetwork are their own at a reload.
COMMANDS = {
    "nft flush ruleset": [script("flush ruleset")],
    "nft -f of a whole ruleset": [script("flush ruleset", BASE)],
    "nft delete table": [script("delete table inet astguard")],
    "nft destroy and make it anew": [
        script("add table inet astguard", "delete table inet astguard", "table inet astguard {", "}")
    ],
    "nft flush table": [script("flush table inet astguard")],
    "nft delete chain": [script("flush chain inet astguard guard", "delete chain inet astguard guard")],
    "nft delete set": [script("flush chain inet astguard guard", "delete set inet astguard all4_32")],
    "nft flush sets": [
        script("flush set inet astguard all4_32", "flush set inet astguard sip4_24", "flush set inet astguard all6_64")
    ],
    "nft delete element": [script("delete element inet astguard all4_32 { 198.51.100.7 }")],
    "nft delete ports and accepted networks": [
        script("flush set inet astguard sip_ports", "flush set inet astguard allow4_24")
    ],
    "nft insert a rule into our chain": [script("insert rule inet astguard guard accept")],
    "nft change our policy": [script("add chain inet astguard guard { policy drop; }")],
    "iptables -F, -X": [
        shell("for t in filter nat mangle raw; do for i in iptables ip6tables; do $i -t $t -F; $i -t $t -X; done; done")
    ],
    "iptables-legacy -F, -X": [
        shell(
            "for t in filter nat mangle raw; do for i in iptables-legacy ip6tables-legacy; do "
            "$i -t $t -F; $i -t $t -X; done; done"
        )
    ],
    # firewall/core/nftables.py, build_flush_rules and build_set_policy_rules: the policy DROP, the table away and anew.
    "firewalld reload, nftables": [
        script(
            "table inet firewalld_policy_drop {",
            "chain filter_input { type filter hook input priority 9; policy drop; ct state { established, related } accept",
            "}",
            "}",
            "table inet firewalld {",
            "}",
            "delete table inet firewalld",
            "table inet firewalld {",
            "chain raw_PREROUTING { type filter hook prerouting priority -290; policy accept",
            "}",
            "}",
            "delete table inet firewalld_policy_drop",
        )
    ],
    # firewall/core/ipXtables.py, build_flush_rules: for each table -F, -X, -Z, through iptables-restore -n.
    "firewalld reload, iptables": [
        (
            (f"{name}-restore", "-w", "-n"),
            "".join(f"*{table}\n-F\n-X\n-Z\nCOMMIT\n" for table in ("raw", "mangle", "nat", "filter")),
        )
        for name in ("iptables", "ip6tables")
    ],
    # lib/ufw/ufw-init-functions, flush_builtins with MANAGE_BUILTINS=yes, then before.rules by iptables-restore -n.
    "ufw reload": [
        shell(
            "for i in iptables ip6tables; do $i -F; $i -X; $i -P INPUT ACCEPT; $i -P OUTPUT ACCEPT; $i -P FORWARD ACCEPT; "
            "for c in INPUT OUTPUT FORWARD PREROUTING POSTROUTING; do $i -t mangle -F $c; $i -t mangle -P $c ACCEPT; done; "
            "done; for c in OUTPUT PREROUTING POSTROUTING; do iptables -t nat -F $c; iptables -t nat -P $c ACCEPT; done"
        ),
        (
            ("iptables-restore", "-n"),
            "*filter\n:ufw-before-input - [0:0]\n-A ufw-before-input -i lo -j ACCEPT\n-A INPUT -j ufw-before-input\nCOMMIT\n",
        ),
    ],
    # libnetwork, iptables/ and drivers/bridge/setup_ip_tables_linux.go: programChainRule, at a start and at a reload.
    "docker restart": [
        shell(
            "i='iptables --wait'; $i -t nat -N DOCKER; $i -t filter -N DOCKER; $i -t filter -N DOCKER-USER; "
            "$i -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER; $i -t filter -A FORWARD -o docker0 -j DOCKER; "
            "$i -t filter -F DOCKER; $i -t nat -F DOCKER; $i -t filter -I FORWARD -j DOCKER-USER; "
            "$i -t filter -A DOCKER-USER -j RETURN; $i -t nat -I POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"
        )
    ],
}


def bans():
    return [
        (parse_source("198.51.100.7"), Scope.ALL),
        (parse_source("198.51.100.0/24"), Scope.SIP),
        (parse_source("2001:db8:5::/64"), Scope.ALL),
        (parse_source("203.0.113.9"), Scope.SLOW),
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_after_whatever_others_run_our_bans_are_back_and_theirs_is_as_they_made_it(place, air, name):  # noqa: F811
    commands = COMMANDS[name]
    before = [(NFT, BASE)]
    for command, text in before:
        place.run(*command, input=text)

    async def story():
        async with guarded(place, Layout(allow=ALLOW)) as guard:
            for source, scope in bans():
                guard.ban(source, scope=scope)
            whole = _ours(place)
            assert await asyncio.to_thread(air.heard, "198.51.100.7", 12000) == 0
            for command, text in commands:
                await guard.run(*command, text=text)
            took = await guard.healed()
            assert took < 1
            assert _ours(place) == whole
            assert await asyncio.to_thread(air.heard, "198.51.100.7", 12000) == 0
            assert await asyncio.to_thread(air.heard, "2001:db8:5::7", 12000) == 0
            guard.firewall.look()

    asyncio.run(story())
    if all("astguard" not in f"{command}{text}" for command, text in commands):
        assert outside(place) == twin([*before, *commands])
    else:
        assert outside(place) == twin(before)


def _ours(place):
    """Return our table as nft shows it, block by block, without what changes by itself and the order of rules."""
    text = place.run("nft", "-s", "list", "table", "inet", "astguard")
    text = re.sub(r" (expires|timeout) [0-9hmsd]+|\tcomment .*\n", "", text)  # no table takes another comment
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return sorted((lines[0], sorted(line.strip() for line in lines[1:])) for lines in blocks)


def test_a_saved_ruleset_that_is_loaded_again_is_put_right(place):
    async def story():
        async with guarded(place) as guard:
            lifted, made, kept = (parse_source(f"198.51.100.{number}") for number in (7, 8, 9))
            guard.ban(lifted, kept)
            saved = "flush ruleset\n" + await guard.run("nft", "list", "ruleset")
            guard.engine.unban(kept, guard.now())
            guard.ban(kept)  # with another end
            guard.ban(made)
            await guard.run("nft", "-f", "-", text=saved)
            await guard.healed()
            assert {ban.source for ban in guard.engine.ledger} == {lifted, made, kept}
            left = {source: left for (source, _), left in guard.firewall.held().items()}
            assert abs(left[kept] - 3_600) < 5
            guard.firewall.look()

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(3))
def test_flushes_at_random_moments_under_a_stream_of_bans_lose_none(place, seed):
    chance = random.Random(seed)
    damages = [name for name in COMMANDS if name.startswith("nft") and "make it anew" not in name]

    async def flushes(guard):
        for _ in range(12):
            await asyncio.sleep(chance.random() * 0.05)
            (command, text), *_ = COMMANDS[chance.choice(damages)]
            try:
                await guard.run(*command, text=text)
            except AssertionError as refused:  # what it was to delete is gone just now
                assert "Error: No such file" in str(refused) or "Could not process rule" in str(refused), refused  # noqa: PT017

    async def story():
        async with guarded(place) as guard:
            others = asyncio.create_task(flushes(guard))
            number = 0
            while not others.done():
                guard.ban(*hosts(20, (11 << 24) + 20 * number), parse_source(f"100.64.{number % 256}.0/24"))
                number += 1
                if number % 7 == 0:
                    guard.engine.unban(hosts(1, (11 << 24) + 20 * (number - 3))[0], guard.now())
                    guard.enforcer.settle()
                await asyncio.sleep(0.002)
            await others
            await guard.healed()
            assert len(guard.engine.ledger) > 20 * number
            guard.firewall.look()

    asyncio.run(story())


def test_twenty_thousand_bans_come_back_while_reading_goes_on(place):
    async def story():
        async with guarded(place) as guard:
            old, lately = hosts(20_000), hosts(500, 11 << 24)
            long_ago = guard.now() - 2 * MINUTE
            for source in old:
                guard.engine.ban(source, HOUR, long_ago)
            guard.enforcer.settle()
            guard.ban(*lately)
            flushed = asyncio.create_task(guard.run("nft", "flush", "ruleset"))
            while not guard.enforcer.upkeep.recovery:  # noqa: ASYNC110 - the first instant at which a part is back
                await asyncio.sleep(0)
            assert {(source, Scope.ALL) for source in lately} <= set(guard.firewall.held())
            guard.ban(parse_source("203.0.113.9"))
            assert guard.enforcer.upkeep.recovery  # it did not wait for the rest
            await flushed
            await guard.healed()

    asyncio.run(story())


def test_what_the_kernel_alone_holds_is_adopted_in_the_background_and_what_is_allowed_is_let_in(place):
    async def story():
        async with guarded(place) as guard:
            guard.ban(*hosts(3_000), parse_source("203.0.113.0/24"))
        async with guarded(place, Layout(allow=ALLOW)) as guard:
            assert len(guard.engine.ledger) == 3_001
            assert {ban.rule for ban in guard.engine.ledger} == {"adopted"}
            guard.engine.unban(hosts(1)[0], guard.now())
            guard.enforcer.settle()
            assert len(guard.firewall.held()) == 3_000

    asyncio.run(story())


def test_sets_made_on_demand_go_while_running_when_nothing_is_in_them(place):
    async def story():
        async with guarded(place) as guard:
            wide = [parse_source(text) for text in ("10.0.0.0/8", "2001:db8::/32", "203.0.113.0/24")]
            guard.ban(*wide)
            for source in wide[:2]:
                guard.engine.unban(source, guard.now())
            guard.enforcer.settle()
            guard.enforcer.upkeep.tidy()
            names = {entry["name"] for entry in listed(place, "set")}
            assert {"all4_24"} == names - {
                "sip_ports",
                *(f"{scope}{kind}" for scope in Scope for kind in ("4_32", "6_64")),
            }
            await guard.run("nft", "add rule inet astguard guard accept")
            await guard.healed()
            assert set(guard.firewall.held()) == {(wide[2], Scope.ALL)}

    asyncio.run(story())
