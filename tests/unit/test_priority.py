"""The guard goes before Asterisk for a moment, and never for long: an allowance, on clocks that a test moves."""

from __future__ import annotations

import os
import resource
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.tally import Tally
from guard.core.units import MILLISECOND, SECOND
from guard.daemon.priority import AT_ONCE, REALTIME, REST, SHARE, Allowance, Priority

STEPS = st.lists(st.tuples(st.integers(0, SECOND), st.integers(0, SECOND // 10)), max_size=50)


@given(STEPS)
def test_what_is_spent_never_exceeds_a_share_of_the_time_and_one_moment(steps):
    """Whoever stops when nothing is left has used no more than that, however work and rest alternate."""
    allowance, now, used, high = Allowance(0, 0), 0, 0, 0
    for rest, work in steps:
        now, before = now + rest, allowance.left
        left = allowance.spend(now, used)
        assert -AT_ONCE <= left <= AT_ONCE
        assert left >= min(before, AT_ONCE), "a rest costs nothing"
        brief = min(work, max(left, 0))
        now, used, high = now + brief, used + brief, high + brief
        assert allowance.spend(now, used) >= 0
    assert high <= AT_ONCE + now // SHARE


class Timers:
    """A loop that only keeps what was asked of it."""

    def __init__(self):
        self.later, self.soon = [], []

    def call_later(self, seconds, what):
        self.later.append((seconds, what))

    def call_soon_threadsafe(self, what):
        self.soon.append(what)


class Machine:
    """The clocks, and a kernel that grants what it is told to."""

    def __init__(self, monkeypatch):
        self.now = self.used = 0
        self.grants = True
        self.asked, self.limits, self.handlers = [], [], {}
        monkeypatch.setattr(os, "sched_setscheduler", self._schedule)
        monkeypatch.setattr(resource, "getrlimit", lambda _: (-1, -1))
        monkeypatch.setattr(resource, "setrlimit", lambda what, limits: self.limits.append((what, limits)))
        monkeypatch.setattr(signal, "signal", self.handlers.__setitem__)
        self.loop, self.tally = Timers(), Tally()
        self.priority = Priority(self.loop, self.tally, mono_ns=lambda: self.now, used_ns=lambda: self.used)

    def _schedule(self, thread, policy, param):
        if policy & os.SCHED_RR and not self.grants:
            raise PermissionError(1, "not you")
        assert signal.SIGXCPU in self.handlers, "that signal ends a process which does not hear it"
        self.asked.append((thread, policy & ~os.SCHED_RESET_ON_FORK, param.sched_priority))

    def work(self, milliseconds):
        self.now += milliseconds * MILLISECOND
        self.used += milliseconds * MILLISECOND
        self.priority.spend()

    def pass_time(self, milliseconds):
        self.now += milliseconds * MILLISECOND
        for _, what in [self.loop.later.pop() for _ in self.loop.later]:
            what()


HIGH, ORDINARY = (0, os.SCHED_RR, REALTIME), (0, os.SCHED_OTHER, 0)


@pytest.fixture
def machine(monkeypatch):
    made = Machine(monkeypatch)
    made.priority.start()
    return made


def test_it_waits_for_events_before_asterisk_and_a_turn_has_its_limit(machine):
    assert machine.asked == [HIGH]
    assert machine.limits == [(resource.RLIMIT_RTTIME, (20_000, -1))]
    assert machine.priority.is_high


def test_the_work_of_a_ban_changes_nothing(machine):
    for _ in range(20):
        machine.work(1)
        machine.now += 100 * MILLISECOND
    assert machine.asked == [HIGH]


def test_in_a_flood_it_is_ordinary_until_it_has_rested(machine):
    machine.work(21)
    machine.work(1)
    assert machine.asked == [HIGH, ORDINARY]
    assert machine.loop.later[0][0] == REST
    machine.pass_time(100)
    assert not machine.priority.is_high, "it has rested too little"
    machine.pass_time(1_000)
    assert machine.asked == [HIGH, ORDINARY, HIGH]
    assert machine.tally.counts["priority.rests"] == 1


def test_a_debt_is_of_one_moment_at_most(machine):
    machine.work(10_000)
    machine.pass_time(601)
    assert machine.priority.is_high


def test_a_long_turn_is_ended_by_the_kernels_signal(machine):
    machine.handlers[signal.SIGXCPU](signal.SIGXCPU, None)
    assert machine.asked == [HIGH, ORDINARY]
    assert not machine.loop.later, "the loop's timers are not touched in the middle of a turn"
    for what in machine.loop.soon:
        what()
    machine.pass_time(200)
    assert machine.asked == [HIGH, ORDINARY, HIGH]
    assert [limits for _, limits in machine.limits] == [(20_000, -1)] * 2, "the kernel had made it a second longer"


def test_where_it_may_not_it_says_what_to_do_and_is_ordinary(monkeypatch, caplog):
    caplog.set_level("INFO", "astguard")
    machine = Machine(monkeypatch)
    machine.grants = False
    machine.priority.start()
    machine.work(1_000)
    machine.priority.stop()
    assert "LimitRTPRIO=11" in caplog.text
    assert (machine.asked, machine.loop.later) == ([], [])


def test_permission_that_is_taken_away_is_asked_for_again_and_again(machine):
    machine.grants = False
    machine.work(30)
    machine.pass_time(1_000)
    machine.pass_time(1_000)
    assert not machine.priority.is_high
    machine.grants = True
    machine.pass_time(1_000)
    assert machine.priority.is_high


def test_at_the_end_it_is_ordinary(machine):
    machine.priority.stop()
    assert machine.asked == [HIGH, ORDINARY]
