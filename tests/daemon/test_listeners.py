"""The end of the flow: who listens hears every outcome, change and alarm once, after the fact."""

from __future__ import annotations

from guard.core.alarm import Alarm, Kind
from guard.core.ban import Op
from guard.core.outcome import Outcome
from guard.core.rule import Mode
from guard.core.units import DAY
from tests.daemon.house import ONE, TWO, House


class Ears:
    def __init__(self, house):
        self.heard = []
        self.house = house
        house.enforcer.recorder.listeners.append(self)

    def weighed(self, events, outcomes):
        self.heard.append([(event.source, outcome) for event, outcome in zip(events, outcomes, strict=True)])

    def changed(self, change, *, stored):
        true = change.ban.source in self.house.held
        self.heard.append((change.op, change.ban.source, true, stored))

    def alarmed(self, alarm):
        self.heard.append(alarm.kind)


def test_a_listener_hears_outcomes_and_then_what_is_true_in_the_kernel():
    house = House()
    ears = Ears(house)
    house.attack(ONE)
    assert ears.heard == [[(ONE, Outcome.BANNED)], (Op.ADD, ONE, True, True)]
    ears.heard.clear()
    house.unban(ONE)
    house.attack(TWO)
    house.loop.advance(2 * DAY)
    assert ears.heard == [
        (Op.REMOVE, ONE, False, True), [(TWO, Outcome.BANNED)], (Op.ADD, TWO, True, True), (Op.EXPIRE, TWO, False, True),
    ]  # fmt: skip


def test_what_the_kernel_refuses_is_not_heard_of_before_it_takes_it():
    house = House()
    ears = Ears(house)
    house.kernel.refuses = 1
    house.attack(ONE)
    assert ears.heard == [[(ONE, Outcome.BANNED)]]
    house.loop.advance(DAY // 1_000)
    assert ears.heard[1:] == [(Op.ADD, ONE, True, True)]


def test_what_is_only_observed_and_alarms_are_heard_too():
    house = House(mode=Mode.OBSERVE)
    ears = Ears(house)
    house.attack(ONE)
    house.enforcer.recorder.tell(Alarm(kind=Kind.MUTED, at=house.loop.now, text="hear, hear"))
    assert ears.heard == [[(ONE, Outcome.OBSERVED)], (Op.OBSERVE, ONE, False, True), Kind.MUTED]


def test_a_listener_that_raises_hears_no_more_and_hurts_nobody(said):
    class Wrong(Ears):
        def weighed(self, events, outcomes):
            raise ZeroDivisionError

    house = House()
    Wrong(house)
    ears = Ears(house)
    house.attack(ONE)
    house.attack(TWO)
    assert house.held == {ONE, TWO}
    assert house.enforcer.recorder.listeners == [ears]
    assert len(ears.heard) == 4
    assert said("a") == ["a part of astguard hears no more of what happens; please report this"]
