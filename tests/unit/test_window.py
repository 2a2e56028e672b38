"""Exact sliding windows in bounded memory."""

from __future__ import annotations

from guard.core.address import host
from guard.core.window import Window

SOURCE = host(bytes((198, 51, 100, 7)))


def number(value):
    return host(value.to_bytes(4, "big"))


def test_the_window_is_open_at_its_old_end_and_closed_at_now():
    window = Window(100, 5)
    assert window.add(SOURCE, 0, 1, 0, proven=False) == 1
    assert window.add(SOURCE, 99, 1, 99, proven=False) == 2
    assert window.add(SOURCE, 100, 1, 100, proven=False) == 2  # the one at 0 is no longer inside (0, 100]


def test_one_failure_in_the_window_is_one_whatever_came_before():
    # fail2ban extrapolates a rate here, and bans: four failures at 0 and one behind the window.
    window = Window(600, 5)
    for _ in range(4):
        window.add(SOURCE, 0, 1, 0, proven=False)
    assert window.add(SOURCE, 601, 1, 601, proven=False) == 1


def test_offences_out_of_order_count_the_same():
    window = Window(100, 9)
    for at in (50, 10, 30, 20, 40):
        total = window.add(SOURCE, at, 1, 60, proven=False)
    assert total == 5
    assert window.add(SOURCE, 125, 1, 125, proven=False) == 4  # 30, 40, 50 and 125


def test_an_offence_that_left_the_window_counts_nothing():
    window = Window(100, 9)
    assert window.add(SOURCE, 5, 1, 105, proven=False) == 0
    window.add(SOURCE, 110, 1, 110, proven=False)
    assert window.add(SOURCE, 5, 1, 115, proven=False) == 1


def test_weights_add_up():
    window = Window(100, 10)
    assert window.add(SOURCE, 1, 3, 1, proven=True) == 3
    assert window.add(SOURCE, 2, 4, 2, proven=True) == 7
    assert window.add(SOURCE, 3, 4, 3, proven=True) == 11


def test_a_forgotten_source_starts_anew():
    window = Window(100, 5)
    window.add(SOURCE, 1, 4, 1, proven=False)
    window.forget(SOURCE)
    assert window.add(SOURCE, 2, 1, 2, proven=False) == 1


def test_a_flood_of_sources_seen_once_pushes_out_only_its_like():
    window = Window(10**9, 5, light_limit=100, heavy_limit=1_000)
    twice, proven = number(1), number(2)
    window.add(twice, 1, 1, 1, proven=False)
    window.add(twice, 2, 1, 2, proven=False)
    window.add(proven, 3, 1, 3, proven=True)
    for value in range(1_000, 3_000):
        window.add(number(value), 4, 1, 4, proven=False)
    assert window.add(twice, 5, 1, 5, proven=False) == 3
    assert window.add(proven, 5, 1, 5, proven=False) == 2
    assert len(window) <= 200
    assert window.evicted >= 1_900


def test_what_has_left_the_window_is_forgotten_without_being_counted_as_evicted():
    window = Window(100, 5)
    for value in range(500):
        window.add(number(value), value, 1, value, proven=value % 2 == 0)
    assert len(window) <= 200
    assert window.evicted == 0


def test_memory_per_source_is_bounded_by_the_highest_threshold():
    window = Window(10**9, 5)
    for at in range(1_000):
        window.add(SOURCE, at, 1, at, proven=False)
    assert len(window._heavy.get(SOURCE)) == 5


def test_memory_in_all_is_bounded_by_offences_not_by_sources_alone():
    window = Window(10**9, 50, heavy_limit=5_000)
    for at in range(50):
        for value in range(500):
            window.add(number(value), at, 1, at, proven=False)
    held = sum(len(stamps) for _, stamps in window._heavy.items())
    assert held <= 5_000
    assert window.evicted > 0


def test_nobody_proven_is_pushed_out_by_forged_senders_seen_twice():
    window = Window(10**9, 5, light_limit=100, heavy_limit=1_000, sure_limit=1_000)
    sure = number(2)
    for at in (1, 2, 3):
        window.add(sure, at, 1, at, proven=at == 3)
    for value in range(1_000, 3_000):
        for _ in range(2):
            window.add(number(value), 4, 1, 4, proven=False)
    assert window.add(sure, 5, 1, 5, proven=False) == 4


def test_an_offence_can_be_taken_off_again():
    window = Window(100, 9)
    for at in (10, 20, 20, 30):
        window.add(SOURCE, at, 1, 30, proven=False)
    window.take_off(SOURCE, 20, 1)
    window.take_off(SOURCE, 25, 1)  # not there
    assert window.add(SOURCE, 31, 1, 31, proven=False) == 4
    window.take_off(SOURCE, 10, 5)
    assert window.add(SOURCE, 32, 1, 32, proven=False) == 4
    for at in (20, 30, 31, 32):
        window.take_off(SOURCE, at, 1)
    assert len(window) == 0
