"""A ban of 30 days in a kernel whose elements last 25 at most: applied again in time, and over when it is over."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from guard.core.address import parse_source
from guard.core.ban import Ban, Change, Op
from guard.core.units import DAY, HOUR, MINUTE, SECOND, Duration, Instant
from guard.daemon.rearm import Rearm
from guard.errors import FirewallError
from guard.firewall import Layout
from guard.firewall.memory import Memory
from tests.daemon.house import Loop

LONGEST = Duration(2_147_483 * SECOND)


class Ipset(Memory):
    """A model with the limit of ipset. It refuses as often as it is told."""

    longest = LONGEST

    def __init__(self):
        super().__init__()
        self.refuses = 0
        self.applied = []

    def apply(self, changes, now):
        if self.refuses:
            self.refuses -= 1
            raise FirewallError("out of memory")
        self.applied.append(len(changes))
        cut = [
            Change(op, Ban(source=ban.source, rule="test", since=now, until=min(ban.until, Instant(now + LONGEST))))
            for op, ban in changes
        ]
        super().apply(cut, now)


class Place:
    """Bans in the model, and the timer over them."""

    def __init__(self, kernel, days):
        self.loop, self.kernel = Loop(), kernel
        start = self.loop.now
        self.bans = [
            Ban(
                source=parse_source(f"198.51.100.{day}"),
                rule="test",
                since=Instant(start),
                until=Instant(start + day * DAY),
            )
            for day in days
        ]
        kernel.setup(Layout())
        kernel.apply([Change(Op.ADD, ban) for ban in self.bans], Instant(start))
        kernel.applied.clear()
        self.enforcer = SimpleNamespace(
            firewall=kernel,
            engine=SimpleNamespace(ledger=self.bans),
            now=lambda: Instant(self.loop.now),
            paused=False,
        )
        self.rearm = Rearm(self.enforcer, self.loop)
        self.rearm.start()

    def held(self):
        self.kernel.apply((), Instant(self.loop.now))
        return {source for source, _ in self.kernel.held()}


@pytest.fixture
def place():
    return Place(Ipset(), [1, 24, 25, 26, 30, 60])


def test_every_ban_is_held_as_long_as_it_lasts_and_not_an_hour_longer(place):
    for hour in range(1, 61 * 24):
        place.loop.advance(HOUR)
        assert place.held() == {ban.source for ban in place.bans if ban.until > place.loop.now}, f"after {hour} hours"
    assert len(place.loop.waiting) == 1


def test_without_it_a_long_ban_ends_early(place):
    place.rearm.stop()
    place.loop.advance(25 * DAY)
    assert place.held() == set()


def test_only_long_bans_are_applied_again(place):
    place.loop.advance(DAY)
    assert place.kernel.applied == [5]  # 23 days left, and more
    place.loop.advance(Duration(8 * DAY))
    assert place.kernel.applied[-1] == 1


def test_what_the_kernel_refuses_is_tried_again_in_a_minute(place, caplog):
    place.kernel.refuses = 2
    with caplog.at_level(logging.WARNING):
        place.loop.advance(Duration(DAY + MINUTE))
    assert place.kernel.applied == []
    assert caplog.messages == ["long bans could not be applied again, trying again in a minute: out of memory"] * 2
    place.loop.advance(MINUTE)
    assert place.kernel.applied == [5]


def test_in_a_pause_nothing_is_applied(place):
    place.enforcer.paused = True
    place.loop.advance(Duration(2 * DAY))
    assert place.kernel.applied == []
    place.enforcer.paused = False
    place.loop.advance(DAY)
    assert place.kernel.applied == [3]


def test_a_backend_without_a_limit_needs_no_timer():
    kernel = Ipset()
    kernel.longest = None
    assert Place(kernel, [60]).loop.waiting == []
