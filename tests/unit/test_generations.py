"""A table that stays bounded by forgetting what was touched longest ago."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guard.core.generations import Generations


@given(st.lists(st.tuples(st.sampled_from("gkpdt"), st.integers(0, 12)), max_size=200), st.integers(2, 9))
def test_it_never_holds_more_than_its_limit_nor_loses_what_was_lately_touched(steps, limit):
    table = Generations(limit)
    model, touched = {}, []
    for step, key in steps:
        if step == "p":
            dropped = table.put(key, key * 10) or {}
            model[key] = key * 10
            touched = [other for other in touched if other != key] + [key]
            for lost in dropped:
                del model[lost]
                touched.remove(lost)
        elif step == "d":
            assert table.pop(key) == model.pop(key, None)
            touched = [other for other in touched if other != key]
        elif step == "t":
            for lost in table.turn():
                del model[lost]
                touched.remove(lost)
        elif step == "k":
            before = dict(model)
            assert table.touch(key) == before.get(key)
            model = dict(table.items())
            assert before.items() >= model.items()
            touched = [other for other in touched if other != key and other in model] + [key] * (key in model)
        else:
            assert table.get(key) == model.get(key)
        assert len(table) == len(model) <= limit
        assert dict(table.items()) == model


def test_the_half_touched_last_survives_a_full_table():
    table = Generations(10)
    for key in range(5):
        table.put(key, key)
    for key in range(100, 140):
        table.put(key, key)
        for kept in range(3):
            table.put(kept, kept)
    assert [table.get(key) for key in range(3)] == [0, 1, 2]
    assert table.get(4) is None


def test_what_a_turn_drops_was_not_touched_since_the_turn_before():
    table = Generations(10)
    table.put("old", 1)
    table.turn()
    table.put("new", 2)
    assert table.turn() == {"old": 1}
    assert table.get("new") == 2


def test_a_touched_entry_survives_the_next_turn():
    table = Generations(10)
    table.put("kept", 1)
    table.put("lost", 2)
    table.turn()
    assert table.touch("kept") == 1
    assert table.turn() == {"lost": 2}
    assert table.touch("nobody") is None


@given(st.lists(st.tuples(st.sampled_from("pdkg"), st.integers(0, 6), st.integers(1, 9)), max_size=200))
def test_sizes_are_limited_in_all(steps):
    table = Generations(40, len)
    for step, key, size in steps:
        if step == "p":
            table.put(key, ["x"] * size)
        elif step == "d":
            table.pop(key)
        elif table.touch(key) is not None and step == "g":
            table.get(key).extend("y" * size)
            table.grow(size)
        assert sum(len(value) for _, value in table.items()) <= 40 + 2 * 18, "each half, and the last that came in"
