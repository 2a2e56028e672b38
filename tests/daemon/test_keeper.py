"""Kernel first, then the store, then the report: what is reported as stored is on the disk, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from guard.core.address import parse_source
from guard.core.engine import Engine
from guard.core.event import Kind, Transport
from guard.core.rule import Mode
from guard.core.units import HOUR, MINUTE, SECOND, Instant
from guard.daemon import keeper as keeping
from guard.daemon.enforcer import Enforcer
from guard.daemon.keeper import Keeper
from guard.daemon.receipts import ANSWER, SLICE
from guard.daemon.recorder import Recorder
from guard.daemon.takeover import take_over
from guard.firewall import Layout
from guard.store.records import Allowed, Banned, Disallowed, Ended, Learnt, Memory, Note, Rewrite, Trusted, What
from guard.store.state import State
from tests.daemon.house import ONE, TWO, Kernel, Loop
from tests.daemon.linking import run
from tests.events import event, rule

WALL = 1_800_000_000 * SECOND


class Disk:
    """A store that writes when it is told to."""

    overflows = dropped = 0

    def __init__(self, on_written, on_behind):
        self.on_written, self.on_behind = on_written, on_behind
        self.records = []
        self.full = False
        self.hurries = 0
        self.ended = False

    def start(self):
        pass

    def put(self, record):
        if self.full and not isinstance(record, Rewrite):
            return False
        self.records.append(record)
        return True

    def hurry(self):
        self.hurries += 1

    def stop(self, patience):
        self.ended = True
        return True

    def write(self, problem=""):
        self.on_written(len(self.records), problem)

    def of(self, kind):
        return [record for record in self.records if isinstance(record, kind)]


class Soon(Loop):
    """A loop whose other threads are heard at once."""

    def call_soon_threadsafe(self, callback, *arguments):
        callback(*arguments)

    def create_future(self):
        return asyncio.get_running_loop().create_future()


class House:
    """Engine, kernel, keeper and disk."""

    def __init__(self, state=None, **rule_changes):
        self.loop = Soon()
        clocks = {"mono_ns": lambda: self.loop.now, "wall_ns": lambda: self.loop.now + WALL}
        self.engine = Engine([rule(threshold=1, **rule_changes)])
        self.keeper = Keeper(self.engine, loop=self.loop, **clocks)
        self.kernel = Kernel()
        self.enforcer = Enforcer(
            self.engine, self.kernel, Layout(), Recorder(self.keeper), loop=self.loop, **clocks
        )  # fmt: skip
        self.keeper.begin(state or State(), self._disk)
        take_over(self.enforcer)

    def _disk(self, *hooks):
        self.disk = Disk(*hooks)
        return self.disk

    def attack(self, *sources, **fields):
        self.enforcer.handle([event(source, at=self.loop.now + WALL, **fields) for source in sources])


@pytest.fixture
def house():
    return House()


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "astguard")

    def ask():
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return lines

    return ask


def test_a_ban_is_reported_when_it_is_on_the_disk_and_not_before(house, said):
    house.attack(ONE)
    assert ONE in {source for source, _ in house.kernel.held()}
    assert said() == []
    house.disk.write()
    (line,) = said()
    assert line.startswith("ban 198.51.100.1/32 for 10m")
    assert "stored" not in line


def test_what_the_kernel_refuses_is_neither_stored_nor_reported(house, said):
    house.kernel.refuses = 1
    house.attack(ONE)
    assert house.disk.records == []
    house.loop.advance(SECOND)
    assert [record.ban.source for record in house.disk.records] == [ONE]


def test_while_the_disk_refuses_bans_go_on_and_are_reported_as_not_stored(house, said):
    house.attack(ONE)
    house.disk.write("disk is full")
    trouble, ban = said()
    assert trouble == "the state is not on the disk: disk is full; bans go on, the kernel alone keeps them"
    assert ban.endswith("events=1 stored=no")
    house.attack(TWO)
    house.disk.write("disk is full")
    (ban,) = said()  # the trouble is told once
    assert ban.startswith("ban 198.51.100.2/32")
    assert ban.endswith("stored=no")
    house.disk.write()
    assert said() == ["the state is on the disk again"]


def test_a_disk_that_says_neither_yes_nor_no_holds_up_no_report(house, said):
    house.attack(ONE)
    house.loop.advance(4 * SECOND)
    house.attack(TWO)
    assert said() == []
    house.loop.advance(2 * SECOND)
    trouble, *bans = said()
    assert "the disk has not answered for 5 s" in trouble
    assert [line.split()[1] for line in bans] == ["198.51.100.1/32", "198.51.100.2/32"]
    assert all(line.endswith("stored=no") for line in bans)
    house.disk.write()
    assert said() == ["the state is on the disk again"]


def test_a_slow_disk_that_comes_on_is_waited_for(house, said):
    for number in range(1, 8):
        house.attack(parse_source(f"198.51.100.{number}"))
        house.loop.advance(2 * SECOND)
        house.disk.on_written(number - 1, "")
    assert [line.split()[1] for line in said()] == [f"198.51.100.{number}/32" for number in range(1, 7)]


def test_a_store_that_takes_no_more_holds_up_no_report(house, said):
    house.attack(ONE)
    house.disk.full = True
    house.attack(TWO)
    one, two = said()
    assert (one.split()[1], two.split()[1]) == ("198.51.100.1/32", "198.51.100.2/32")
    assert two.endswith("stored=no")


def test_a_storm_is_reported_in_slices_in_order_and_as_it_was(house, said):
    """A thousand lines at once would hold the loop for 30 ms, and a hundred thousand for seconds."""
    sources = [f"203.0.{number >> 8}.{number & 255}" for number in range(3 * SLICE)]
    for source in sources:
        house.attack(parse_source(source), transport=Transport.TCP)
    said()  # an alarm needs no disk
    house.disk.write()
    assert len(said()) == SLICE
    house.attack(ONE)
    house.disk.write("the disk is full")  # what had been stored before is still reported as stored
    house.loop.advance(SECOND)
    lines = [line for line in said() if line.startswith("ban")]
    assert [line.split()[1] for line in lines] == [f"{source}/32" for source in [*sources[SLICE:], "198.51.100.1"]]
    assert ["stored=no" in line for line in lines] == [False] * 2 * SLICE + [True]


def test_what_is_not_reported_yet_at_the_end_is_reported_then(house, said):
    for number in range(3 * SLICE):
        house.attack(parse_source(f"203.0.{number >> 8}.{number & 255}"), transport=Transport.TCP)
    house.disk.write()
    said()
    house.keeper.receipts.close()
    assert [("stored=no" in line) for line in said()] == [False] * 2 * SLICE


def test_what_is_only_observed_needs_no_disk(said):
    house = House(mode=Mode.OBSERVE)
    house.attack(ONE)
    assert said()[0].startswith("would ban")
    assert house.disk.records == []


def test_what_became_of_a_ban_is_told_apart(house):
    house.attack(ONE)
    house.engine.unban(ONE, house.loop.now)
    house.enforcer.settle()
    house.attack(TWO)
    house.engine.ban(parse_source("198.51.100.0/24"), HOUR, house.loop.now)
    house.enforcer.settle()
    house.loop.advance(HOUR)
    assert [(record.ban.source, record.what) for record in house.disk.of(Ended)] == [
        (ONE, What.UNBAN), (TWO, What.REPLACE), (parse_source("198.51.100.0/24"), What.EXPIRE),
    ]  # fmt: skip


def test_strikes_go_along_and_a_lifted_ban_takes_its_own_off(house):
    house.attack(ONE)
    house.loop.advance(11 * MINUTE)
    house.attack(ONE)
    house.engine.unban(ONE, house.loop.now)
    house.enforcer.settle()
    assert [record.strikes.times for record in house.disk.records] == [1, 1, 2, 1]


def test_the_events_that_led_to_a_ban_go_along(house):
    house.attack(ONE, account="101")
    (record,) = house.disk.records
    assert [(trace.account, trace.source) for trace in record.trail] == [("101", ONE)]


def test_bans_found_in_the_kernel_are_kept_and_not_reported(house, said):
    house.attack(ONE)
    later = House.__new__(House)
    later.loop, later.kernel = house.loop, house.kernel
    clocks = {"mono_ns": lambda: house.loop.now, "wall_ns": lambda: house.loop.now + WALL}
    later.engine = Engine([rule()])
    later.keeper = Keeper(later.engine, loop=house.loop, **clocks)
    later.enforcer = Enforcer(later.engine, house.kernel, Layout(), Recorder(later.keeper), loop=house.loop, **clocks)
    later.keeper.begin(State(), later._disk)
    said()
    take_over(later.enforcer)
    later.disk.write()
    assert [record.ban.source for record in later.disk.of(Banned)] == [ONE]
    assert not [line for line in said() if line.startswith("ban")]


def test_what_was_lifted_is_not_brought_back_by_a_saved_ruleset(house):
    house.attack(ONE)
    until = house.engine.ledger.get(ONE).until
    house.engine.unban(ONE, house.loop.now)
    house.enforcer.settle()
    assert house.keeper.was_lifted(ONE, until)
    assert not house.keeper.was_lifted(ONE, Instant(until + MINUTE))  # somebody's new ban of his
    assert not house.keeper.was_lifted(TWO, until)
    house.attack(ONE)
    assert not house.keeper.was_lifted(ONE, until)


def test_no_more_lifted_bans_are_remembered_than_are_allowed(house, monkeypatch):
    monkeypatch.setattr(keeping, "LIFTED_LIMIT", 2)
    sources = [parse_source(f"198.51.100.{number}") for number in range(1, 5)]
    for source in sources:
        house.attack(source)
        house.engine.unban(source, house.loop.now)
        house.enforcer.settle()
    until = Instant(house.loop.now + 10 * MINUTE)
    assert [house.keeper.was_lifted(source, until) for source in sources] == [False, False, True, True]


def test_trust_is_written_once_a_minute_and_only_what_is_new(house):
    success = {"kind": Kind.SUCCESSFUL_AUTH, "password": True, "transport": Transport.TCP}
    for _ in range(5):
        house.attack(ONE, **success)
        house.attack(TWO, account="7", **success)
    assert house.disk.of(Trusted) == []
    began = house.loop.now
    house.loop.advance(MINUTE)
    assert sorted(house.disk.of(Trusted)) == [Trusted(ONE, "101", began + WALL), Trusted(TWO, "7", began + WALL)]
    house.loop.advance(MINUTE)
    assert len(house.disk.of(Trusted)) == 2


def test_a_learnt_port_is_written_once(house):
    house.attack(ONE, port=5070)
    house.loop.advance(3 * MINUTE)
    assert house.disk.of(Learnt) == [Learnt(5070, False)]


def test_what_a_command_allows_and_a_word_are_kept(house):
    house.keeper.allow(ONE)
    house.keeper.allow(TWO, WALL + HOUR)
    house.keeper.disallow(ONE)
    house.keeper.disallow(ONE)
    house.keeper.note("paused", "x")
    assert house.disk.records == [
        Allowed(ONE, None, WALL + house.loop.now), Allowed(TWO, WALL + HOUR, WALL + house.loop.now),
        Disallowed(ONE), Note("paused", "x"),
    ]  # fmt: skip


def test_a_disk_that_takes_records_again_gets_all_that_is_true(house):
    house.attack(ONE)
    house.attack(TWO, port=5070)
    house.keeper.allow(parse_source("192.0.2.7"))
    house.keeper.note("paused", "x")
    house.disk.on_behind()
    (whole,) = house.disk.of(Rewrite)
    assert {ban.source for ban in whole.bans} == {ONE, TWO}
    assert {source for source, *_ in whole.formers} == {ONE, TWO}
    assert (list(whole.permits), whole.ports, whole.notes) == (
        [parse_source("192.0.2.7")], [Learnt(5070, False)], {"paused": "x"},
    )  # fmt: skip


def test_after_a_clock_that_went_back_all_is_written_anew():
    assert House(State(moved=True)).disk.of(Rewrite)
    assert not House(State()).disk.of(Rewrite)


@pytest.mark.parametrize(("problem", "stored"), [("", True), ("disk is full", False)])
def test_an_answer_waits_for_the_disk(house, problem, stored):
    async def story():
        house.attack(ONE)
        asking = asyncio.create_task(house.keeper.stored())
        await asyncio.sleep(0)
        assert not asking.done()
        assert house.disk.hurries == 1
        house.disk.write(problem)
        assert await asking is stored
        assert await house.keeper.stored() is stored  # nothing new to wait for

    run(story())


def test_an_answer_does_not_wait_for_ever(house, monkeypatch):
    monkeypatch.setattr("guard.daemon.receipts.ANSWER", 0.01)

    async def story():
        house.attack(ONE)
        assert await house.keeper.stored() is False
        house.disk.write()

    run(story())
    assert ANSWER > 1


def test_a_clean_stop_leaves_what_is_known(house, said):
    async def story():
        house.attack(ONE)
        await house.keeper.end()

    run(story())
    (left,) = house.disk.of(Memory)
    wall, now, *rest = map(json.loads, left.rows)
    assert wall == ["wall", house.loop.now + WALL]
    assert now == ["now", house.loop.now]
    assert ["host", ONE.hex(), 1] in rest
    assert [strikes.source for strikes in left.strikes] == [ONE]
    assert house.disk.ended
    assert [line.split()[-1] for line in said()] == ["stored=no"]  # this disk never said a word


def test_a_memory_too_large_is_cut_and_that_is_counted(house, monkeypatch):
    monkeypatch.setattr(keeping, "MEMORY_ROWS", 5)
    for number in range(20):
        house.attack(parse_source(f"198.51.100.{number}"), account=str(number))
    run(house.keeper.end())
    (left,) = house.disk.of(Memory)
    assert len(left.rows) == 5
    assert house.engine.tally.counts["memory.dropped"] > 20


def test_a_memory_that_was_taken_back_is_not_taken_back_twice():
    house = House(State(memory=[["wall", 1]]))
    assert house.disk.of(Memory) == [Memory([], [])]
