"""What others do to our table is undone: how soon, in which order, and what they are answered who do it in turn."""

from __future__ import annotations

from math import inf

import pytest

from guard.core.address import host, parse_source
from guard.core.alarm import Kind
from guard.core.ban import Change, Op
from guard.core.rule import Scope
from guard.core.units import HOUR, MINUTE, SECOND, Duration
from guard.daemon.recovery import FIRST, PIECE
from guard.errors import FirewallError, TableGone
from guard.firewall import News
from tests.daemon.house import ONE, TWO, House


def hosts(count, first=10):
    return [host(bytes((first, number >> 16, number >> 8 & 0xFF, number & 0xFF))) for number in range(count)]


def ban(house, *sources, lasting=HOUR):
    for source in sources:
        house.engine.ban(source, lasting, house.loop.now)
    house.enforcer.settle()


def held(house):
    return {source for source, _ in house.elements}


def flush(house, by="nft, pid 7"):
    house.kernel.flush()
    house.enforcer.mend(News(shape=True, by=by))
    house.enforcer.settle()


def test_a_flush_is_answered_at_once_with_all_of_a_few_bans(house, said):
    ban(house, ONE, TWO)
    house.loop.advance(10 * MINUTE)
    said()
    house.kernel.calls.clear()
    flush(house)
    assert held(house) == {ONE, TWO}
    assert house.kernel.calls[0] == "setup with 2"
    assert said() == []
    assert said("our") == []


def test_who_is_banned_or_heard_lately_comes_back_in_the_first_transaction_and_the_rest_in_pieces(house):
    old, new = hosts(5 * PIECE), hosts(2 * PIECE, 11)
    ban(house, *old)
    house.loop.advance(2 * MINUTE)
    ban(house, *new)
    house.attack(old[0])
    house.kernel.calls.clear()
    flush(house)
    assert held(house) == {*new, old[0]}
    assert house.kernel.calls[0] == f"setup with {2 * PIECE + 1}"
    for _ in range(5):
        (_piece,) = [timer for timer in house.loop.waiting if timer.at <= house.loop.now]
        assert len(house.enforcer.upkeep.recovery) % PIECE == 0
        before = len(held(house))
        house.loop.advance(0)
        assert len(held(house)) >= before
        if not house.enforcer.upkeep.recovery:
            break
    assert held(house) == {*old, *new}


def test_what_is_read_between_two_pieces_is_judged_and_brought(house):
    ban(house, *hosts(5 * PIECE))
    house.loop.advance(2 * MINUTE)
    flush(house)
    assert house.enforcer.upkeep.recovery
    house.attack(ONE)
    assert ONE in held(house)
    assert house.enforcer.upkeep.recovery


def test_the_first_transaction_has_an_end_too(house):
    ban(house, *hosts(FIRST + 2 * PIECE))
    flush(house)
    assert len(held(house)) == FIRST
    house.loop.advance(0)
    house.loop.advance(0)
    assert len(held(house)) == FIRST + 2 * PIECE


def test_what_is_lifted_while_the_rest_follows_does_not_come_back(house):
    sources = hosts(5 * PIECE)
    ban(house, *sources)
    house.loop.advance(2 * MINUTE)
    flush(house)
    last = next(source for source in sources if source not in held(house))
    house.unban(last)
    house.loop.advance(0)
    house.loop.advance(SECOND)
    assert held(house) == {*sources} - {last}


@pytest.mark.parametrize("times", [1, 3])
def test_pieces_that_the_kernel_refuses_come_later(house, times):
    sources = hosts(4 * PIECE)
    ban(house, *sources)
    house.loop.advance(2 * MINUTE)
    flush(house)
    house.kernel.refuses = times
    house.loop.advance(0)
    assert house.enforcer.problem
    house.loop.advance(10 * SECOND)
    assert held(house) == {*sources}
    assert house.enforcer.problem == ""


def test_what_is_lifted_after_a_table_was_made_but_not_filled_does_not_stay_in_the_kernel(house, said, monkeypatch):
    ban(house, TWO)
    house.kernel.refuses = 1
    ban(house, ONE)
    apply = house.kernel.apply

    def remove_a_set(changes, now):  # somebody takes one set away just when the table has been made again
        monkeypatch.setattr(house.kernel, "apply", apply)
        raise TableGone("set sip4_32 is gone")

    house.kernel.flush()
    monkeypatch.setattr(house.kernel, "apply", remove_a_set)
    house.loop.advance(SECOND // 8)
    assert ONE in held(house)
    assert house.enforcer.problem
    said()
    house.unban(ONE)
    house.loop.advance(MINUTE)
    assert held(house) == {TWO}
    assert said() == []  # nobody was told of the ban either


def test_a_second_flush_while_the_rest_follows_loses_nothing(house):
    sources = hosts(4 * PIECE)
    ban(house, *sources)
    house.loop.advance(2 * MINUTE)
    flush(house)
    flush(house)
    house.loop.advance(SECOND)
    assert held(house) == {*sources}
    assert house.counts["firewall.rebuilt"] == 2


def test_changed_rules_are_mended_without_touching_the_bans(house, said):
    ban(house, ONE)
    said()
    house.kernel.calls.clear()
    house.kernel.whole = False
    house.enforcer.mend(News(shape=True, by="nft, pid 7"))
    assert house.kernel.calls == ["setup", 0]
    assert house.kernel.whole
    assert said("our") == [
        "our table was changed (rule by somebody else is not ours, last by nft, pid 7); mending it",
    ]


def test_ports_or_accepted_networks_that_others_changed_are_set_again(house):
    ban(house, ONE)
    house.kernel.calls.clear()
    house.enforcer.mend(News(layout=True))
    assert house.kernel.calls == ["setup", 0]


def test_what_concerns_others_only_changes_nothing(house, said):
    ban(house, ONE)
    said()
    house.kernel.calls.clear()
    house.enforcer.mend(News(shape=True, by="nft, pid 7"))  # a chain of their own in our table
    assert house.kernel.calls == []
    assert said("our") == []


def test_a_ban_that_was_deleted_by_hand_comes_back_and_it_is_said_how_to_lift_one(house, said):
    ban(house, ONE, TWO)
    said()
    for source in (ONE, TWO):
        house.kernel._ends.pop((source, Scope.ALL))
        house.enforcer.mend(News(lost=[(source, Scope.ALL)], by="nft, pid 7"))
    house.loop.advance(0)
    assert held(house) == {ONE, TWO}
    (line,) = said("1")
    assert line == (
        "1 bans were taken out of the kernel, last by nft, pid 7, and are put back, first 198.51.100.1/32; "
        "to lift a ban, use `astguard bans remove`"
    )
    assert said() == []
    assert house.counts["firewall.put_back"] == 2


def test_what_was_deleted_and_is_no_ban_of_ours_stays_away(house):
    ban(house, ONE)
    house.unban(ONE)
    house.enforcer.mend(News(lost=[(ONE, Scope.ALL), (TWO, Scope.SIP)]))
    house.loop.advance(SECOND)
    assert held(house) == set()
    assert house.counts["firewall.put_back"] == 0


def test_a_ban_that_somebody_moved_or_stretched_is_put_right(house):
    ban(house, ONE, TWO)
    house.kernel._ends[ONE, Scope.ALL] = house.loop.now + 9 * HOUR
    house.kernel._ends[TWO, Scope.SLOW] = house.loop.now + HOUR
    house.enforcer.mend(News(found={(ONE, Scope.ALL): 9 * 3_600.0, (TWO, Scope.SLOW): 3_600.0}))
    house.loop.advance(0)
    assert house.kernel._ends == {(source, Scope.ALL): house.engine.ledger.get(source).until for source in (ONE, TWO)}


def test_a_ban_that_somebody_else_made_is_adopted_and_gets_an_end(house):
    house.kernel._ends.update({(ONE, Scope.SIP): house.loop.now + 600 * SECOND, (TWO, Scope.ALL): 1 << 62})
    house.enforcer.mend(News(found={(ONE, Scope.SIP): 600.0, (TWO, Scope.ALL): inf}))
    house.loop.advance(0)
    assert {ban.source: (ban.rule, ban.scope) for ban in house.engine.ledger} == {
        ONE: ("adopted", Scope.SIP),
        TWO: ("adopted", Scope.ALL),
    }
    assert house.kernel._ends[TWO, Scope.ALL] == house.engine.ledger.get(TWO).until


def test_whoever_is_allowed_does_not_stay_in_a_ban_set_somebody_else_filled(house):
    house.enforcer.allow({ONE}, set())
    for scope in (Scope.ALL, Scope.SLOW):
        house.kernel._ends[ONE, scope] = house.loop.now + HOUR
    house.enforcer.mend(News(found={(ONE, Scope.ALL): 3_600.0, (ONE, Scope.SLOW): 3_600.0}))
    assert held(house) == set()


def test_a_saved_ruleset_with_bans_of_ours_does_not_report_them_again(house, said):
    ban(house, *hosts(100))
    said()
    house.enforcer.mend(News(shape=True, found={(source, Scope.ALL): 60.0 for source in hosts(100)}))
    house.loop.advance(SECOND)
    assert said() == []
    assert {left > 3_000 for left in house.kernel.held().values()} == {True}


def test_more_than_could_be_told_has_everything_put_back(house):
    ban(house, ONE, TWO)
    house.kernel._ends.clear()
    house.kernel.calls.clear()
    house.enforcer.mend(News(overflow=True))
    house.loop.advance(0)
    assert held(house) == {ONE, TWO}
    assert house.kernel.calls == ["setup", 0, "restore 2"]


def test_two_who_undo_each_other_wait_longer_each_time_and_an_alarm_names_them(house, said):
    ban(house, ONE)
    said()
    gone = []
    for number in range(1, 13):
        flush(house, f"ufw, pid {number}")
        at = house.loop.now
        while not held(house):
            house.loop.advance(SECOND // 100)
        gone.append((house.loop.now - at) / SECOND)
        house.loop.advance(SECOND // 100)
    assert gone[:2] == [0, 0]
    assert gone[2:5] == pytest.approx([0.1, 0.2, 0.4], abs=0.02)
    assert gone[7:] == pytest.approx([3.2, 5, 5, 5, 5], abs=0.02)
    (line,) = said("alarm")
    assert line == (
        "alarm firewall-fought: table or rules of ours were changed 3 times in a minute, last by ufw, pid 3; "
        "bans do not hold meanwhile: keep that program from table inet astguard"
    )
    assert house.enforcer.upkeep.dispute().startswith("table or rules of ours were changed 12 times in a minute")
    house.loop.advance(2 * MINUTE)
    assert house.enforcer.upkeep.dispute() == ""
    flush(house)
    assert held(house) == {ONE}


def test_while_a_rule_is_fought_over_bans_go_on(house):
    for _ in range(8):
        house.kernel.whole = False
        house.enforcer.mend(News(shape=True))
    assert not house.kernel.whole
    assert house.enforcer.problem
    house.attack(ONE)
    house.loop.advance(5 * SECOND)
    assert held(house) == {ONE}
    assert house.kernel.whole


def test_a_look_that_the_kernel_refuses_is_no_loss(house, monkeypatch):
    def refuse():
        raise FirewallError("out of memory")

    ban(house, ONE)
    monkeypatch.setattr(house.kernel, "look", refuse)
    house.enforcer.check()
    assert house.counts["firewall.rebuilt"] == 0


def test_sets_are_tidied_by_what_the_ledger_holds(house, monkeypatch):
    seen = []
    monkeypatch.setattr(house.kernel, "tidy", seen.append)
    ban(house, ONE, parse_source("203.0.113.0/24"))
    house.unban(ONE)
    house.enforcer.upkeep.tidy()
    assert seen == [{(Scope.ALL, 4, 24)}]


def test_pieces_are_of_changes_that_are_true_when_their_turn_comes():
    house = House()
    ban(house, *hosts(3 * PIECE))
    house.loop.advance(2 * MINUTE)
    flush(house)
    longer = next(source for source in hosts(3 * PIECE) if source not in held(house))
    house.engine.ban(longer, Duration(9 * HOUR), house.loop.now)
    house.enforcer.settle()
    house.loop.advance(SECOND)
    assert house.kernel._ends[longer, Scope.ALL] == house.engine.ledger.get(longer).until
    assert Change(Op.ADD, house.engine.ledger.get(longer)) not in house.enforcer._due.values()
    assert not [alarm for alarm in house.engine.take_alarms() if alarm.kind is Kind.FOUGHT]
