"""Who is allowed, from whoever says so to the kernel, and until when."""

from __future__ import annotations

import json
import logging

import pytest

from guard.core.units import HOUR, MINUTE, SECOND
from guard.daemon import allowance as allowance_module
from guard.daemon import permits as permits_module
from guard.daemon.allowance import NAMES_NOTE, Allowance, permits_of
from guard.errors import ControlError, NotFound
from guard.sensors.names import RECORDS_LIMIT
from guard.settings.config import parse_config
from guard.store.records import Allowed
from tests.daemon.test_enforcer import ONE, THREE, TWO, House


class Kept:
    """A keeper of permits, in a list."""

    def __init__(self):
        self.told = []
        self.notes = {}

    def allow(self, source, until):
        self.told.append((source, until))

    def disallow(self, source):
        self.told.append((source, "no longer"))

    def keep(self, change):
        pass

    def note(self, key, value):
        self.notes[key] = value


class Gate:
    """An allowance with a configuration, an enforcer, and a keeper that writes lists."""

    def __init__(self, text=""):
        self.house = House()
        self.loop = self.house.loop
        self.kept = Kept()
        self.house.enforcer.recorder.keeper = self.kept
        config = parse_config(text.encode())
        self.allowance = Allowance(permits_of(config, frozenset()), self.house.enforcer, config, loop=self.loop)
        self.house.enforcer.allow({source for source, _ in self.allowance.permits}, set())

    def configure(self, text):
        self.allowance.configure(parse_config(text.encode()))

    @property
    def accepted(self):
        """Whom the kernel accepts; engine and permits have to say the same."""
        accepted = set(self.house.kernel._layout.allow)
        assert accepted == set(self.house.engine.allow) == {source for source, _ in self.allowance.permits}
        return accepted


@pytest.fixture
def gate():
    return Gate()


def test_who_is_allowed_for_a_time_is_let_in_and_judged_again_when_it_is_over(gate, caplog):
    caplog.set_level(logging.INFO, "astguard")
    gate.house.attack(ONE, TWO)
    assert gate.allowance.allow(ONE, HOUR) == [ONE]
    assert (gate.house.held, gate.accepted) == ({TWO}, {ONE})
    gate.loop.advance(HOUR - 1)
    gate.house.attack(ONE)
    assert (gate.house.held, gate.accepted) == (set(), {ONE})
    gate.loop.advance(1)
    gate.house.attack(ONE)
    assert (gate.house.held, gate.accepted) == ({ONE}, set())
    assert gate.kept.told == [(ONE, 1_000 * SECOND + HOUR), (ONE, "no longer")]
    assert [line for line in caplog.messages if "allow" in line] == [
        "allow 198.51.100.1/32 origin=command", "disallow 198.51.100.1/32: its time is over",
    ]  # fmt: skip


def test_the_last_command_says_how_long(gate):
    gate.allowance.allow(ONE, HOUR)
    gate.allowance.allow(TWO, 2 * HOUR)
    assert gate.allowance.allow(ONE, None) == []
    gate.loop.advance(HOUR)
    assert gate.accepted == {ONE, TWO}
    gate.allowance.allow(ONE, MINUTE)
    gate.loop.advance(MINUTE)
    assert gate.accepted == {TWO}
    gate.loop.advance(HOUR)
    assert gate.accepted == set()
    assert not gate.loop.waiting


def test_what_a_command_allows_ends_and_what_a_file_allows_stays(caplog):
    caplog.set_level(logging.INFO, "astguard")
    gate = Gate("allow: [198.51.100.1]")
    gate.allowance.allow(ONE, HOUR)
    gate.loop.advance(HOUR)
    assert gate.accepted == {ONE}
    assert caplog.messages[-1] == (
        "disallow 198.51.100.1/32: its time is over, but it stays allowed by /etc/astguard/astguard.yaml:1:9"
    )
    gate.allowance.allow(ONE, None)
    with pytest.raises(
        ControlError, match=r"stays allowed by /etc/astguard/astguard.yaml:1:9; .*then 'astguard reload'"
    ):
        gate.allowance.disallow(ONE)
    assert gate.accepted == {ONE}
    assert gate.kept.told[-2:] == [(ONE, None), (ONE, "no longer")]


def test_what_a_command_allowed_is_taken_back(gate):
    gate.allowance.allow(ONE, HOUR)
    gate.allowance.disallow(ONE)
    assert (gate.accepted, gate.loop.waiting) == (set(), [])
    with pytest.raises(NotFound):
        gate.allowance.disallow(ONE)
    assert gate.kept.told == [(ONE, 1_000 * SECOND + HOUR), (ONE, "no longer")]


def test_a_reload_takes_entries_in_and_out_and_keeps_those_by_command_and_the_addresses_of_names(gate):
    gate.configure("allow: [198.51.100.1, sip.example, gone.example]")
    gate.allowance.names.known |= {"sip.example": frozenset({TWO}), "gone.example": frozenset({THREE})}
    gate.allowance._take_name("sip.example", frozenset({TWO}))
    gate.allowance._take_name("gone.example", frozenset({THREE}))
    gate.allowance.allow(THREE, HOUR)
    assert gate.accepted == {ONE, TWO, THREE}
    gate.configure("mode: observe\nallow: [sip.example]")
    assert gate.accepted == {TWO, THREE}
    assert dict(gate.allowance.permits) == {
        TWO: "/etc/astguard/astguard.yaml:2:9 (sip.example)", THREE: "command",
    }  # fmt: skip
    gate.allowance._take_name("sip.example", frozenset())
    assert gate.accepted == {THREE}


def test_a_name_that_is_in_the_configuration_again_is_looked_up_anew(gate):
    gate.configure("allow: [sip.example]")
    gate.allowance.names.known["sip.example"] = frozenset({TWO})
    gate.allowance._take_name("sip.example", frozenset({TWO}))
    gate.configure("allow: []")
    gate.configure("allow: [sip.example]")
    assert gate.accepted == set()


def test_own_addresses_come_and_go(gate):
    gate.house.attack(ONE)
    gate.allowance.take_own(frozenset({ONE, TWO}))
    assert (gate.house.held, gate.accepted) == (set(), {ONE, TWO})
    calls = len(gate.house.kernel.calls)
    gate.allowance.take_own(frozenset({ONE, TWO}))
    assert len(gate.house.kernel.calls) == calls, "nothing new, nothing done"
    gate.allowance.take_own(frozenset({TWO}))
    assert gate.accepted == {TWO}


@pytest.mark.parametrize(
    ("until", "at", "left"),
    [
        (None, 0, None),
        (1_000 * SECOND + HOUR, 1_000 * SECOND - HOUR, HOUR),
        (1_000 * SECOND + 9 * HOUR, 1_000 * SECOND + 8 * HOUR, HOUR),  # the clock went back: never more than its length
        (1_000 * SECOND + 10 * HOUR, 1_000 * SECOND + 9 * HOUR, HOUR),
        (1_000 * SECOND, 0, 0),
        (1_000 * SECOND - 1, 0, 0),
        (5, 7, 0),  # nonsense
    ],
)
def test_entries_by_command_outlive_a_restart_with_the_time_they_have_left(gate, until, at, left):
    restored = gate.allowance.restore([Allowed(ONE, until, at)])
    assert restored == ([] if left == 0 else [ONE])
    gate.house.enforcer.allow(restored, ())
    gate.allowance.start()
    assert gate.accepted == set(restored)
    gate.loop.advance((left or HOUR) - 1)
    assert gate.accepted == set(restored)
    gate.loop.advance(1)
    assert gate.accepted == ({ONE} if left is None else set())


def test_the_addresses_of_names_outlive_a_restart_for_when_the_resolver_is_not_up_yet(gate):
    # A trunk behind a name was a stranger from a reboot until the resolver answered.
    text = "allow: [sip.example, gone.example]"
    gate.configure(text)
    gate.allowance.names.known["sip.example"] = found = frozenset({TWO})
    gate.allowance._take_name("sip.example", found)
    later = Gate("allow: [sip.example]")
    assert later.allowance.restore([], gate.kept.notes[NAMES_NOTE]) == [TWO]
    later.house.enforcer.allow([TWO], ())
    assert later.accepted == {TWO}
    later.allowance._take_name("sip.example", frozenset())  # ... and after a day without an answer
    assert later.accepted == set()
    assert Gate("").allowance.restore([], gate.kept.notes[NAMES_NOTE]) == []


@pytest.mark.parametrize(
    "note",
    [
        None, "", "[", "[]", "7", "null", '{"sip.example": 7}', '{"sip.example": [7]}', '{"sip.example": ["x"]}', "[" * 60_000,
        '{"sip.example": ["127.0.0.1", "::1"]}', '{"sip.example": ["0.0.0.0/0"]}', '{"other.example": ["192.0.2.1"]}',
    ],
)  # fmt: skip
def test_a_note_of_names_allows_nobody_whom_a_name_could_not(note):
    assert Gate("allow: [sip.example]").allowance.restore([], note) == []


def test_a_note_of_names_is_short_and_so_is_what_is_read_of_it(monkeypatch):
    gate = Gate("allow: [a.example, b.example]")
    monkeypatch.setattr(allowance_module, "NAMES_KEPT", 1)
    gate.allowance.names.known |= {"a.example": frozenset({ONE}), "b.example": frozenset({TWO})}
    gate.allowance._take_name("b.example", frozenset({TWO}))
    assert json.loads(gate.kept.notes[NAMES_NOTE]) == {"a.example": ["198.51.100.1"]}
    many = json.dumps({"a.example": [f"192.0.2.{number}" for number in range(1, 60)]})
    assert len(gate.allowance.restore([], many)) == RECORDS_LIMIT


def test_more_entries_than_there_is_room_for_are_refused_and_counted(gate, monkeypatch, caplog):
    monkeypatch.setattr(permits_module, "COMMANDS_LIMIT", 1)
    gate.allowance.allow(ONE, None)
    with pytest.raises(ControlError, match="all there is room for"):
        gate.allowance.allow(TWO, None)
    assert (gate.accepted, gate.house.counts["allow.refused"]) == ({ONE}, 1)
    assert gate.allowance.restore([Allowed(TWO, None, 0), Allowed(THREE, None, 0)]) == []
    assert [line for line in caplog.messages if "not allowed any more" in line] != []


def test_an_entry_that_the_kernel_refuses_is_kept_and_brought_later(gate):
    gate.house.attack(ONE)
    gate.house.kernel.refuses = 2
    gate.allowance.allow(ONE, HOUR)
    assert gate.house.enforcer.problem
    gate.loop.advance(MINUTE)
    assert (gate.house.held, gate.accepted) == (set(), {ONE})


def test_without_a_keeper_nothing_is_kept_and_nothing_breaks(gate):
    gate.house.enforcer.recorder.keeper = None
    gate.allowance.allow(ONE, HOUR)
    gate.allowance.disallow(ONE)
    assert gate.kept.told == []


def test_a_stopped_allowance_leaves_no_timer(gate):
    gate.allowance.allow(ONE, HOUR)
    gate.allowance.stop()
    assert gate.loop.waiting == []
