"""Who is banned, until when, and how often before."""

from __future__ import annotations

import pytest

from guard.core.address import parse_source
from guard.core.ban import Ban, Op
from guard.core.ledger import Ledger
from guard.core.rule import Evidence, Scope

HOST = parse_source("198.51.100.7")
NETWORK = parse_source("198.51.100.0/24")


def ban(source=HOST, until=100, since=0, **fields):
    return Ban(
        source=parse_source(source) if isinstance(source, str) else source, rule="r", since=since, until=until, **fields
    )


def ops(changes):
    return [change.op for change in changes]


def test_a_ban_is_added_and_expires_on_time():
    ledger = Ledger()
    assert ops(ledger.add(ban())) == [Op.ADD]
    assert ledger.deadline == 100
    assert ledger.expire(99) == []
    assert ops(ledger.expire(100)) == [Op.EXPIRE]
    assert ledger.deadline is None
    assert not len(ledger)


def test_a_source_inside_a_ban_is_not_banned_again():
    ledger = Ledger()
    ledger.add(ban(NETWORK, until=100))
    assert ledger.add(ban(HOST, until=50)) == []
    assert ledger.add(ban(HOST, until=500)) == []  # or two bans of one scope would overlap
    assert len(ledger) == 1


def test_a_network_swallows_the_bans_inside_it_and_never_ends_before_they_would_have():
    ledger = Ledger()
    ledger.add(ban(HOST, until=300))
    changes = ledger.add(ban(NETWORK, until=100))
    assert [(change.op, change.ban.source) for change in changes] == [(Op.REMOVE, HOST), (Op.ADD, NETWORK)]
    assert ledger.get(NETWORK).until == 300
    assert ledger.get(HOST) is None


def test_a_weaker_ban_of_a_network_leaves_the_stronger_ones_inside_it():
    ledger = Ledger()
    ledger.add(ban(HOST, until=100, scope=Scope.ALL))
    assert ops(ledger.add(ban(NETWORK, until=200, scope=Scope.SIP))) == [Op.ADD]
    assert ledger.covering(HOST).scope is Scope.ALL
    assert ledger.covering(parse_source("198.51.100.8")).scope is Scope.SIP


def test_a_stronger_ban_of_a_host_stands_inside_a_weaker_one_of_its_network():
    ledger = Ledger()
    ledger.add(ban(NETWORK, scope=Scope.SIP))
    assert ops(ledger.add(ban(HOST, scope=Scope.ALL))) == [Op.ADD]
    assert ledger.covering(HOST, Scope.ALL).source == HOST
    assert ledger.covering(parse_source("198.51.100.8"), Scope.ALL) is None


def test_a_source_has_one_ban_the_stronger_and_the_longer():
    ledger = Ledger()
    ledger.add(ban(until=500, scope=Scope.SIP))
    (change,) = ledger.add(ban(until=100, scope=Scope.ALL))
    assert (change.op, change.ban.until, change.ban.scope) == (Op.ADD, 500, Scope.ALL)
    assert len(ledger) == 1
    assert ledger.expire(100) == []
    assert ops(ledger.expire(500)) == [Op.EXPIRE]


def test_strikes_climb_and_are_forgotten_after_a_quiet_time():
    ledger = Ledger()
    assert ledger.strike(HOST, Evidence.PROVEN, 1_000, 0, 0) == 1
    ledger.add(ban(until=100))
    ledger.expire(100)
    assert ledger.strike(HOST, Evidence.PROVEN, 1_000, 200, 200) == 2
    assert ledger.strike(HOST, Evidence.PROVEN, 1_000, 1_099, 1_099) == 2
    assert ledger.strike(HOST, Evidence.PROVEN, 1_000, 1_100, 1_100) == 1
    assert ledger.strike(HOST, Evidence.UNPROVEN, 1_000, 200, 200) == 1  # a ladder of its own


def test_a_ban_lifted_by_hand_was_a_mistake_and_its_strike_is_taken_back():
    ledger = Ledger()
    ledger.add(ban(until=100, strike=1))
    ledger.lift(HOST)
    assert ledger.strike(HOST, Evidence.PROVEN, 1_000, 150, 150) == 1
    ledger.add(ban(until=100, strike=1))
    ledger.expire(100)
    ledger.add(ban(since=200, until=300, strike=2))
    assert ops(ledger.lift(HOST)) == [Op.REMOVE]
    assert ledger.strike(HOST, Evidence.PROVEN, 1_000, 350, 350) == 2
    assert ledger.lift(HOST) == []


def test_a_full_table_drops_the_unproven_ban_with_the_least_time_left():
    ledger = Ledger(capacity=3)
    for last, until, evidence in ((1, 100, "unproven"), (2, 50, "unproven"), (3, 10, "proven")):
        ledger.add(ban(f"198.51.100.{last}", until=until, evidence=Evidence(evidence)))
    changes = ledger.add(ban("198.51.100.4", until=70, evidence=Evidence.PROVEN))
    assert [(change.op, change.ban.source) for change in changes] == [
        (Op.REMOVE, parse_source("198.51.100.2")),
        (Op.ADD, parse_source("198.51.100.4")),
    ]
    assert ledger.dropped == 1


def test_a_table_full_of_proven_bans_refuses_a_new_one():
    ledger = Ledger(capacity=2)
    for last in (1, 2):
        ledger.add(ban(f"198.51.100.{last}"))
    assert ledger.add(ban("198.51.100.3")) == []
    assert ledger.refused == 1
    assert len(ledger) == 2


def test_a_ban_that_finds_no_room_leaves_those_it_would_have_replaced():
    ledger = Ledger(capacity=1)
    ledger.add(ban("198.51.100.1", until=100))
    ledger.add(ban("203.0.113.0/24", until=100, scope=Scope.ALL))
    held = [ban(HOST, until=50, scope=Scope.SIP), ban("192.0.2.1", until=50, scope=Scope.SLOW)]
    for one in held:
        ledger.add(one)
    assert ledger.add(ban(HOST, until=100)) == ledger.add(ban("192.0.2.0/24", until=100)) == []
    assert [ledger.get(one.source) for one in held] == held
    assert ledger.refused == 2


def test_a_full_table_has_room_to_make_a_ban_in_it_longer():
    ledger = Ledger(capacity=1)
    ledger.add(ban(HOST, until=50))
    assert ops(ledger.add(ban(HOST, until=100))) == [Op.ADD]
    assert (ledger.get(HOST).until, ledger.refused) == (100, 0)


def test_forged_datagrams_make_no_proven_ban_stronger_for_longer_than_their_own_would_last():
    ledger = Ledger()
    ledger.add(ban(HOST, until=1_000, scope=Scope.SLOW))
    assert ledger.add(ban(HOST, until=100, scope=Scope.SIP, evidence=Evidence.UNPROVEN)) == []
    assert ledger.get(HOST).scope is Scope.SLOW


def test_unproven_bans_that_are_over_leave_nothing_behind():
    ledger = Ledger()
    for last in range(10):
        ledger.add(ban(f"198.51.100.{last}", until=100 + last, evidence=Evidence.UNPROVEN))
    ledger.expire(104)
    assert [len(heap) for heap in ledger._unproven.values()] == [5]


def test_each_scope_family_and_length_has_a_set_of_its_own():
    ledger = Ledger(capacity=1)
    for source, scope in (
        ("198.51.100.1", Scope.ALL), ("198.51.100.2", Scope.SIP), ("203.0.113.0/24", Scope.ALL), ("2001:db8::/64", Scope.ALL),
    ):  # fmt: skip
        assert ops(ledger.add(ban(source, scope=scope))) == [Op.ADD]


@pytest.mark.parametrize(("asked", "inside"), [("198.51.100.0/24", 2), ("198.51.100.7", 1), ("203.0.113.0/24", 0)])
def test_bans_inside_a_source_are_found(asked, inside):
    ledger = Ledger()
    ledger.add(ban("198.51.100.7"))
    ledger.add(ban("198.51.100.8"))
    assert len(ledger.inside(parse_source(asked))) == inside


def test_forgotten_strikes_are_counted():
    ledger = Ledger(strikes_limit=4)
    for last in range(1, 10):
        ledger.add(ban(f"198.51.100.{last}", until=10 * last))
    assert ledger.strikes_forgotten == 6
