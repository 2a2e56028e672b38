"""Every count has a fixed name and a bound."""

from __future__ import annotations

import pytest

from guard.core.address import host
from guard.core.ban import Ban, Op
from guard.core.event import Service, Transport
from guard.core.outcome import Outcome
from guard.core.rule import Scope
from guard.core.tally import FAILED_LIMIT, NAMES, OTHER, RULES_LIMIT, Tally


def test_a_name_that_nobody_stated_is_our_mistake():
    with pytest.raises(KeyError):
        Tally().add("evnts")


def test_every_outcome_has_its_count():
    assert {name.removeprefix("outcome.") for name in NAMES if name.startswith("outcome.")} == set(Outcome)


def ban(rule, scope=Scope.ALL):
    return Ban(source=host(bytes(4)), rule=rule, since=0, until=1, scope=scope)


def test_bans_are_counted_by_rule_and_scope_and_apart_from_those_only_observed():
    tally = Tally()
    for op, made in ((Op.ADD, ban("a")), (Op.ADD, ban("a")), (Op.ADD, ban("a", Scope.SIP)), (Op.OBSERVE, ban("a"))):
        tally.add_ban(op, made)
    assert tally.bans == {(Op.ADD, "a", Scope.ALL): 2, (Op.ADD, "a", Scope.SIP): 1, (Op.OBSERVE, "a", Scope.ALL): 1}


def test_rules_of_many_reloads_do_not_make_the_counts_grow_without_end():
    tally = Tally()
    for number in range(RULES_LIMIT + 100):
        tally.add_ban(Op.ADD, ban(f"rule-{number}"))
    assert len(tally.bans) <= RULES_LIMIT + len(Op) * len(Scope)
    assert tally.bans[Op.ADD, OTHER, Scope.ALL] == 100
    assert sum(tally.bans.values()) == RULES_LIMIT + 100


def test_failures_are_counted_by_service_transport_and_host_until_taken():
    tally = Tally()
    source = host(bytes((198, 51, 100, 7)))
    tally.fail([(Service.PJSIP, Transport.UDP, source)] * 2 + [(Service.PJSIP, Transport.TCP, source)])
    tally.fail([(Service.PJSIP, Transport.UDP, source)])
    assert tally.take_failed() == {
        (Service.PJSIP, Transport.UDP, source): 3,
        (Service.PJSIP, Transport.TCP, source): 1,
    }
    assert tally.take_failed() == {}


def test_a_flood_of_addresses_is_summed_under_none_and_nothing_is_lost():
    tally = Tally()
    for number in range(FAILED_LIMIT + 500):
        tally.fail([(Service.PJSIP, Transport.UDP, host(number.to_bytes(4, "big")))])
    failed = tally.take_failed()
    assert len(failed) <= FAILED_LIMIT + len(Service) * len(Transport)
    assert failed[Service.PJSIP, Transport.UDP, None] == 500
    assert sum(failed.values()) == FAILED_LIMIT + 500
