"""Waits between tries double up to a last one and start again after a success."""

from __future__ import annotations

from guard.sensors.amilink import Timing
from guard.sensors.backoff import Backoff


def waits(backoff, count):
    return [backoff.next() for _ in range(count)]


def test_a_lost_link_is_tried_again_after_a_fifth_of_a_second_doubling_to_two_for_ever():
    assert waits(Backoff(*Timing().lost), 7) == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]


def test_a_refused_login_waits_five_seconds_doubling_to_a_minute():
    assert waits(Backoff(*Timing().refused), 7) == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_after_a_success_the_first_wait_comes_again():
    backoff = Backoff(1, 8)
    assert waits(backoff, 3) == [1, 2, 4]
    backoff.reset()
    assert waits(backoff, 2) == [1, 2]


def test_a_first_wait_that_is_the_last_never_grows():
    assert waits(Backoff(3, 3), 3) == [3, 3, 3]
