"""The pause: out of the kernel at once, kept in mind, back afterwards for what is left."""

from __future__ import annotations

import json
import logging

import pytest

from guard.core.address import parse_source
from guard.core.event import Transport
from guard.core.outcome import Outcome
from guard.core.rule import Mode
from guard.core.units import HOUR, MINUTE, SECOND
from guard.daemon.pause import NOTE, Pause
from guard.daemon.takeover import take_over
from guard.errors import FirewallError, NotFound
from tests.daemon.test_enforcer import ONE, THREE, TWO, House
from tests.events import event

START = 1_000 * SECOND


class Kept:
    """A keeper of notes."""

    def __init__(self, house):
        self.notes = {}
        self.changes = []
        house.enforcer.recorder.keeper = self

    def note(self, key, value):
        if value is None:
            self.notes.pop(key, None)
        else:
            self.notes[key] = value

    def keep(self, change):
        self.changes.append((change.op, change.ban.source))


def attack(house, *sources):
    """Attack with proof, or a first ban would last for ten minutes only."""
    house.enforcer.handle([event(source, at=house.loop.now, transport=Transport.TCP) for source in sources])


@pytest.fixture
def house():
    return House(ban=(HOUR,))


@pytest.fixture
def pause(house):
    return Pause(house.enforcer, Mode.ENFORCE, loop=house.loop)


def test_all_are_let_in_at_once_and_back_afterwards_for_what_is_left(house, pause, caplog):
    caplog.set_level(logging.INFO, "astguard")
    attack(house, ONE, TWO)
    span = pause.begin(30 * MINUTE)
    assert (house.elements, len(house.engine.ledger), span) == (set(), 2, (START, START + 30 * MINUTE))
    assert not house.kernel.table, "nothing of ours is left in the kernel"
    house.loop.advance(30 * MINUTE - 1)
    assert house.held == set()
    house.loop.advance(1)
    assert (house.held, pause.span, house.engine.mode) == ({ONE, TWO}, None, Mode.ENFORCE)
    house.loop.advance(30 * MINUTE)
    assert (house.held, len(house.engine.ledger)) == (set(), 0)
    assert [line for line in caplog.messages if not line.startswith("ban")] == [
        "pause: nobody is kept out for 30m; bans=2 are kept in mind",
        "resume: bans=2 go back into the kernel, mode=enforce",
        "expire 198.51.100.1/32 rule=guessing strike=1",
        "expire 198.51.100.2/32 rule=guessing strike=1",
    ]


def test_meanwhile_rules_only_observe_and_what_they_saw_bans_nobody_afterwards(house, pause, caplog):
    caplog.set_level(logging.INFO, "astguard")
    pause.begin(None)
    attack(house, ONE)
    assert (house.held, len(house.engine.ledger)) == (set(), 0)
    assert any(line.startswith("would ban 198.51.100.1/32") for line in caplog.messages)
    pause.end()
    assert house.held == set()
    attack(house, ONE)
    assert house.held == {ONE}


def test_bans_that_end_or_are_lifted_meanwhile_are_reported_then_and_do_not_come_back(house, pause, caplog):
    caplog.set_level(logging.INFO, "astguard")
    attack(house, ONE, TWO, THREE)
    pause.begin(None)
    house.unban(ONE)
    house.enforcer.allow({TWO}, ())
    caplog.clear()
    house.loop.advance(HOUR)
    assert caplog.messages == ["expire 198.51.100.3/32 rule=guessing strike=1"]
    pause.end()
    assert (house.held, house.kernel._layout.allow) == (set(), (TWO,))
    attack(house, ONE, TWO, THREE)
    assert house.held == {ONE, THREE}


def test_who_is_banned_and_heard_in_a_pause_is_no_ban_without_effect(house, pause):
    attack(house, ONE)
    pause.begin(None)
    house.loop.advance(SECOND)
    for _ in range(2):
        now = house.loop.now
        outcomes = house.engine.handle([event(ONE, at=now) for _ in range(50)], now, now)
        assert set(outcomes) == {Outcome.ALREADY_BANNED}
        house.enforcer.settle()
        assert house.counts["alarms.raised"] == 0
        assert not house.kernel.table, "nobody looks for the table, or makes it again"
        house.enforcer.check()
        pause.begin(MINUTE)


def test_who_is_heard_although_his_ban_is_back_is_a_ban_without_effect_again(house, pause):
    attack(house, ONE, TWO)
    pause.begin(MINUTE)
    house.loop.advance(MINUTE + SECOND)
    now = house.loop.now
    outcomes = house.engine.handle([event(ONE, at=now) for _ in range(20)], now, now)
    assert set(outcomes) == {Outcome.AFTER_BAN}
    house.enforcer.settle()
    assert house.counts["alarms.raised"] == 1


def test_many_bans_go_back_in_pieces_and_each_is_known_to_be_there(house, pause):
    many = [parse_source(f"10.0.{number >> 8}.{number & 255}") for number in range(12_000)]
    attack(house, *many)
    assert len(house.held) == 12_000
    pause.begin(MINUTE)
    assert house.held == set()
    house.loop.advance(MINUTE)
    assert len(house.held) == 12_000
    wall = {house.engine.ledger.confirmed(source) for source in many}
    assert wall == {START + MINUTE}


def test_the_length_can_be_changed_and_a_pause_without_length_ends_by_command_only(house, pause):
    attack(house, ONE)
    pause.begin(MINUTE)
    house.loop.advance(30 * SECOND)
    assert pause.begin(None) == (START, None)
    house.loop.advance(10 * MINUTE)
    assert house.held == set()
    assert pause.begin(MINUTE) == (START, START + 11 * MINUTE + 30 * SECOND)
    house.loop.advance(MINUTE)
    assert (house.held, pause.span) == ({ONE}, None)
    with pytest.raises(NotFound, match="astguard is not paused"):
        pause.end()


def test_a_kernel_that_lets_nothing_go_is_told_and_nothing_is_paused(house, pause, monkeypatch):
    attack(house, ONE)

    def refuse():
        raise FirewallError("out of memory")

    monkeypatch.setattr(house.kernel, "teardown", refuse)
    with pytest.raises(FirewallError):
        pause.begin(None)
    assert (pause.span, house.held, house.engine.mode) == (None, {ONE}, Mode.ENFORCE)
    attack(house, TWO)
    assert house.held == {ONE, TWO}


def test_a_kernel_that_refuses_when_it_ends_is_tried_again(house, pause):
    attack(house, ONE)
    pause.begin(MINUTE)
    house.kernel.refuses = 3
    house.loop.advance(MINUTE)
    assert (house.held, bool(house.enforcer.problem)) == (set(), True)
    house.loop.advance(MINUTE)
    assert (house.held, house.enforcer.problem) == ({ONE}, "")


def test_what_the_kernel_had_refused_before_is_not_tried_in_a_pause_and_is_there_afterwards(house, pause):
    house.kernel.refuses = 1_000
    attack(house, ONE)
    pause.begin(None)
    house.kernel.refuses = 0
    house.loop.advance(MINUTE)
    assert (house.held, house.enforcer.problem) == (set(), "")
    pause.end()
    assert house.held == {ONE}


def test_a_removal_that_waited_is_done_by_the_pause(house, pause):
    kept = Kept(house)
    attack(house, ONE)
    house.kernel.refuses = 1
    house.unban(ONE)
    assert kept.changes == [("add", ONE)]
    pause.begin(None)
    assert kept.changes == [("add", ONE), ("remove", ONE)]
    pause.end()
    assert house.held == set()


def test_a_reload_in_a_pause_does_not_end_it(house, pause):
    attack(house, ONE)
    pause.begin(None)
    assert pause.configure(Mode.ENFORCE) is Mode.OBSERVE
    house.enforcer.reshape(7)
    assert (house.held, house.kernel.table) == (set(), False)
    assert pause.configure(Mode.OBSERVE) is Mode.OBSERVE
    pause.end()
    assert (house.held, house.engine.mode, house.kernel._layout.slow_rate) == ({ONE}, Mode.OBSERVE, 7)


@pytest.mark.parametrize("length", [None, 30 * MINUTE])
def test_a_pause_outlives_a_restart(house, pause, length, caplog):
    kept = Kept(house)
    attack(house, ONE)
    pause.begin(length)
    house.loop.advance(10 * MINUTE)
    later = House(ban=(HOUR,))
    later.loop.advance(10 * MINUTE)
    attack(later, ONE)  # what the store would bring back
    again = Pause(later.enforcer, Mode.ENFORCE, loop=later.loop)
    again.restore(kept.notes[NOTE])
    take_over(later.enforcer)
    again.start()
    assert (again.span, later.held, later.engine.mode) == (pause.span, set(), Mode.OBSERVE)
    assert not later.kernel.table
    assert any(line.startswith("still paused, ") for line in caplog.messages)
    later.loop.advance(20 * MINUTE)
    assert later.held == ({ONE} if length else set())
    if not length:
        again.end()
    assert later.held == {ONE}


@pytest.mark.parametrize(
    ("note", "until"),
    [
        (None, False),
        (json.dumps([START - HOUR, START + MINUTE]), START + MINUTE),
        (json.dumps([START - HOUR, None]), None),
        (json.dumps([START + 5 * HOUR, START + 6 * HOUR]), START + HOUR),  # the clock went back
        (json.dumps([START - HOUR, START]), False),
        (json.dumps([START, START - 1]), False),
        ("[", False), ("[1]", False), ("[1, 2, 3]", False), ('["a", "b"]', False), ("7", False), ("{}", False),
        ("[true, null]", False), ("[" * 60_000, False), ('{"a": 1, "b": 2}', False),
    ],
)  # fmt: skip
def test_what_the_store_says_of_a_pause_is_read_strictly(house, pause, note, until):
    pause.restore(note)
    assert (pause.span is None) is (until is False)
    if pause.span is not None:
        assert pause.span.until == until
        assert pause.span.since <= START
    assert house.enforcer.paused is (until is not False)


def test_a_pause_that_has_ended_leaves_no_note_and_a_stopped_one_no_timer(house, pause):
    kept = Kept(house)
    pause.begin(MINUTE)
    assert NOTE in kept.notes
    house.loop.advance(MINUTE)
    assert kept.notes == {}
    pause.begin(MINUTE)
    pause.stop()
    assert not house.loop.waiting
    assert NOTE in kept.notes
