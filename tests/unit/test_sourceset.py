"""A set of networks that answers in a few look-ups."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guard.core.address import covers, host, overlap, parse_source, widen
from guard.core.sourceset import SourceSet

few = st.builds(
    lambda last, length: widen(host(bytes((10, 0, 0, last))), length), st.integers(0, 31), st.integers(24, 32)
)


@given(st.lists(few, max_size=8), st.lists(few, max_size=4), few)
def test_it_answers_like_a_list_of_networks(members, gone, asked):
    table = SourceSet(members)
    for source in gone:
        table.discard(source)
    left = set(members) - set(gone)
    assert set(table) == left
    assert len(table) == len(left)
    around = [member for member in left if covers(member, asked)]
    assert table.around(asked) == max(around, key=lambda member: member[1], default=None)
    assert set(table.inside(asked)) == {member for member in left if covers(asked, member)}
    assert table.touches(asked) == any(overlap(member, asked) for member in left)
    assert (asked in table) == (asked in left)


def test_families_do_not_mix():
    table = SourceSet([parse_source("0.0.0.0/1")])
    assert table.around(parse_source("::1")) is None
    assert not table.touches(parse_source("::/0"))
