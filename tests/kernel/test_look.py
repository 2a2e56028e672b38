"""What others do to our table: told by the monitor as it happens, and found by a look."""

from __future__ import annotations

import os
import select
import socket
import time

import pytest

from guard.core.address import parse_source
from guard.core.rule import Scope
from guard.core.units import MILLISECOND, MINUTE
from guard.errors import FirewallError, TableGone
from guard.firewall import Layout
from guard.firewall.choice import choose
from guard.firewall.nftmonitor import READS
from tests.kernel.conftest import NOW, add, adds, ban, elements, hosts, listed, nft, remove

ONE = parse_source("198.51.100.7")


@pytest.fixture
def watched(firewall):
    """Give the backend, set up with bans, and its monitor."""
    firewall.setup(Layout(allow=[parse_source("192.0.2.0/24")]))
    firewall.apply([add("198.51.100.7"), add("203.0.113.0/24", scope=Scope.SIP)], NOW)
    monitor = firewall.watch()
    yield firewall, monitor
    monitor.close()


def news_of(monitor):
    """Wait for news, which a foreign command that has ended has brought already."""
    readable, _, _ = select.select([monitor], [], [], 5)
    assert readable, "the monitor told nothing"
    return monitor.drain()


DAMAGE = {
    "flush ruleset": ("table inet astguard is gone", False),
    "delete table inet astguard": ("table inet astguard is gone", False),
    "flush chain inet astguard guard": ("rule astguard .*, rule astguard .* and 7 more are gone", True),
    "flush table inet astguard": ("and 7 more are gone", True),
    "flush chain inet astguard guard; delete chain inet astguard guard": ("chain guard, rule .* are gone", True),
    "flush chain inet astguard guard; delete set inet astguard all4_32": ("set all4_32.*|.* are gone", False),
    "flush chain inet astguard guard; delete counter inet astguard dropped_all": (" are gone", True),
    "insert rule inet astguard guard accept": ("rule by somebody else is not ours", True),
    'add rule inet astguard guard ip saddr 192.0.2.9 drop comment "astguard all4_32"': (
        r"rule astguard all4_32 \(\d+\) is not ours",
        True,
    ),
    "add chain inet astguard guard { policy drop; }": ("chain guard was changed", True),
    "add table inet astguard { flags dormant; }": ("the table was changed", False),
}


@pytest.mark.parametrize("command", DAMAGE)
def test_damage_is_told_with_who_did_it_and_named_by_a_look_and_healed_by_setup(place, watched, command):
    firewall, monitor = watched
    text, kept = DAMAGE[command]
    place.run("nft", command)
    news = news_of(monitor)
    assert news.shape
    assert news.by.startswith("nft, pid ")
    with pytest.raises(TableGone, match=text) as caught:
        firewall.look()
    assert caught.value.bans_kept is kept
    if "dormant" in command:  # somebody has switched us off, with the one word made for it
        with pytest.raises(FirewallError, match="dormant; wake it"):
            firewall.setup(Layout())
        return
    firewall.setup(Layout(), [ban("198.51.100.7"), ban("203.0.113.0/24", scope=Scope.SIP)], NOW)
    firewall.look()
    assert set(firewall.held()) == {(ONE, Scope.ALL), (parse_source("203.0.113.0/24"), Scope.SIP)}
    assert len([rule for rule in listed(place, "rule") if rule["chain"] == "guard"]) == 2 + 6 + 1
    assert not monitor.drain(), "our own repair is no news"


def test_a_replaced_rule_is_seen(place, watched):
    firewall, monitor = watched
    (rule,) = [rule for rule in listed(place, "rule") if "all4_32" in str(rule["expr"])]
    place.run("nft", f"replace rule inet astguard guard handle {rule['handle']} accept")
    assert news_of(monitor).shape
    with pytest.raises(TableGone, match="rule astguard all4_32 is gone; rule by somebody else is not ours"):
        firewall.look()


def test_a_set_that_was_made_again_empty_is_not_the_one_we_filled(place, watched):
    firewall, _ = watched
    rules = place.run("nft", "-s", "list", "table", "inet", "astguard").partition("chain guard")[2]
    place.run("nft", "flush chain inet astguard guard; delete set inet astguard all4_32")
    nft(place, "table inet astguard { set all4_32 { type ipv4_addr; size 270000; flags timeout; } chain guard " + rules)
    with pytest.raises(TableGone, match=r"set all4_32.* (was|were) changed") as caught:
        firewall.look()
    assert not caught.value.bans_kept


def test_elements_are_told_one_by_one(place, watched):
    firewall, monitor = watched
    place.run("nft", "delete element inet astguard all4_32 { 198.51.100.7 }")
    news = news_of(monitor)
    assert (news.shape, news.layout, list(news.lost), news.found) == (False, False, [(ONE, Scope.ALL)], {})
    firewall.look()
    place.run("nft", "add element inet astguard slow4_32 { 198.51.100.7 timeout 1h }")
    place.run("nft", "add element inet astguard all6_64 { 2001:db8:9:: }")
    news = news_of(monitor)
    assert 3599 < news.found[ONE, Scope.SLOW] <= 3600
    assert news.found[parse_source("2001:db8:9::/64"), Scope.ALL] == float("inf")
    assert not news.lost


@pytest.mark.parametrize(
    "command",
    [
        "delete element inet astguard sip_ports { udp . 5060 }",
        "add element inet astguard allow4_24 { 198.51.100.0 }",
        "flush set inet astguard allow4_24",
    ],
)
def test_accepted_networks_and_ports_are_told_apart(place, watched, command):
    _, monitor = watched
    place.run("nft", command)
    news = news_of(monitor)
    assert (news.layout, news.shape, list(news.lost), news.found) == (True, False, [], {})


def test_what_happens_elsewhere_and_what_we_do_is_no_news(place, watched):
    firewall, monitor = watched
    nft(
        place,
        "table inet firewall { set astguard { type ipv4_addr; } chain guard { type filter hook input priority 0; } }",
    )
    place.run("nft", "add table ip astguard; delete table ip astguard")
    firewall.apply([add("198.51.100.9"), add("10.0.0.0/8"), remove("198.51.100.7")], NOW)
    firewall.setup(Layout())
    firewall.close_ports([5080])
    firewall.tidy(set())
    assert not monitor.drain()
    firewall.look()


def test_what_ends_by_itself_is_no_news(place, watched):
    firewall, monitor = watched
    firewall.apply(adds(hosts(1), MILLISECOND), NOW)
    while elements(place, "all4_32").keys() != {"198.51.100.7"}:
        time.sleep(0.01)
    assert not monitor.drain()


def test_after_a_fault_of_the_batch_socket_our_own_changes_still_are_no_news(watched):
    firewall, monitor = watched
    for number in range(20):
        firewall._kernel.close()
        firewall.apply([add(f"198.51.100.{number}")], NOW)
        assert not monitor.drain()
    firewall.apply(adds(hosts(50_000)), NOW)
    assert not monitor.drain()


def test_our_own_batches_take_no_room_in_the_buffer(watched):
    firewall, monitor = watched
    for _ in range(3):
        firewall.apply(adds(hosts(100_000)), NOW)
    assert not monitor.drain()


def test_more_than_the_buffer_holds_is_told_as_such(place, watched):
    firewall, monitor = watched
    monitor._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    firewall.apply(adds(hosts(5_000)), NOW)
    place.run("nft", "flush set inet astguard all4_32")
    assert news_of(monitor).overflow


def test_one_drain_reads_so_much_and_no_more(place, watched):
    firewall, monitor = watched
    firewall.apply(adds(hosts(9_000)), NOW)
    place.run("nft", "flush set inet astguard all4_32")
    lost = set()
    drains = 0
    while news := monitor.drain():
        lost.update(news.lost)
        drains += 1
        assert len(news.lost) <= READS * 100
    assert drains > 1
    assert lost == {(source, Scope.ALL) for source in (*hosts(9_000), ONE)}


def test_a_change_between_our_transaction_and_our_look_is_not_taken_for_ours(place, watched, monkeypatch):
    firewall, _ = watched
    commit = firewall._kernel.commit

    def followed(messages):
        refusal = commit(messages)
        place.run("nft", "insert rule inet astguard guard accept")
        return refusal

    monkeypatch.setattr(firewall._kernel, "commit", followed)
    firewall.apply([add("10.0.0.0/8")], NOW)
    monkeypatch.undo()
    with pytest.raises(TableGone, match="just when we did"):
        firewall.look()
    firewall.setup(Layout())
    firewall.look()


def test_somebody_elses_transaction_in_another_table_meanwhile_does_no_harm(place, watched, monkeypatch):
    firewall, _ = watched
    commit = firewall._kernel.commit

    def followed(messages):
        refusal = commit(messages)
        place.run("nft", "add table inet firewall")
        return refusal

    monkeypatch.setattr(firewall._kernel, "commit", followed)
    firewall.apply([add("10.0.0.0/8")], NOW)
    monkeypatch.undo()
    firewall.look()


def test_where_the_kernel_does_not_let_us_listen_there_is_no_monitor(firewall, monkeypatch):
    firewall.setup(Layout())

    def refuse(*_args):
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(socket, "socket", refuse)
    assert firewall.watch() is None


def test_a_table_that_another_program_owns_is_named(place, firewall):
    from guard.wire.nfnetlink import CREATE, INET_HEADER, Kind, Message, attribute

    owner = choose("nftables")._kernel
    owned = Message(Kind.NEW_TABLE, CREATE, INET_HEADER + attribute(1, b"astguard\0") + attribute(2, b"\0\0\0\2"))
    refusal = owner.commit([owned])
    if refusal is not None:
        pytest.xfail(f"this kernel has no tables with an owner (errno {refusal.errno})")
    with pytest.raises(FirewallError, match=rf"belongs to another program alone .*netlink port {owner.port}"):
        firewall.setup(Layout())
    owner.close()
    firewall.setup(Layout())


def test_a_listing_reads_on_while_the_guard_goes_on(firewall):
    firewall.setup(Layout())
    firewall.apply(adds(hosts(20_000), MINUTE), NOW)
    parts = firewall.listing()
    first = next(parts)
    firewall.apply([add("203.0.113.7")], NOW)
    firewall.close()
    told = {banned for part in parts for banned in part} | set(first)
    assert {(source, Scope.ALL) for source in hosts(20_000)} <= told
