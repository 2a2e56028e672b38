"""What the benches make of their measurements, before anything is measured."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from bench import show
from bench.figure import Figure, Line, figure, interleave, line, percentile
from bench.flood import Flood, address, event
from bench.growth import slope
from bench.pictures import bars, curves, draw_all
from guard.core.event import Kind
from guard.wire.amievent import BlockReader, EventReader


def test_a_figure_is_the_median_and_its_ratio_the_median_of_the_ratios():
    one = Figure("seconds", (1.0, 2.0, 9.0), "s", beside={"peer": (2.0, 8.0, 18.0)})
    assert one.value == 2.0
    assert one.times("peer") == 2.0
    assert Figure("rate", (10.0, 20.0), more=True, beside={"peer": (5.0, 10.0)}).times("peer") == 2.0


@pytest.mark.parametrize(
    ("values", "more", "judged"),
    [
        ((1.0,), False, "held"),
        ((3.0,), False, "missed by 50%"),
        ((1.0,), True, "missed by 50%"),
        ((2.0,), True, "held"),
    ],
)
def test_a_target_is_held_or_missed_by_so_much(values, more, judged):
    assert Figure("x", values, must=2.0, more=more).judged == judged
    assert Figure("x", values, more=more).judged == ""


def test_runs_are_interleaved_and_every_second_round_goes_backwards():
    order = []
    found = interleave(3, {name: lambda name=name: order.append(name) or len(order) for name in "ab"})
    assert "".join(order) == "abbaab"
    assert found == {"a": (1, 4, 5), "b": (2, 3, 6)}


def test_a_percentile_is_a_value_that_was_measured():
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
    assert percentile([7], 0.01) == 7


def test_figures_and_lines_survive_their_file():
    one = Figure("x", (1.0, 2.0), "s", 3.0, 2.0, more=True, beside={"peer": (1.0, 2.0)}, note="why")
    other = Line("y", ((1, 2.0), (10, 20.0)), "ms")
    kept = json.loads(json.dumps([one.as_json(), other.as_json()]))
    assert (figure(kept[0]), line(kept[1])) == (one, other)


def test_a_page_gets_the_figures_between_its_marks_and_keeps_all_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{show.begin('one')}\nold\n{show.END}\nbetween\n{show.begin('two')}\nkept\n{show.END}\n")
    show.write_page(page, {"one": [Figure("what", (1234.0,), "ms", must=1000)]}, lambda name: f"of {name}")
    text = page.read_text()
    assert "old" not in text
    assert "| what | 1,234 ms | 1,000 |  | missed by 23% |  |" in text
    assert text.startswith("before\n")
    assert "between\n" in text
    assert "kept" in text
    with pytest.raises(SystemExit, match="there is no"):
        show.write_page(page, {"three": []}, str)


def test_the_slope_of_what_is_searched_through_is_two():
    sizes = (10, 100, 1_000)
    assert slope([(size, 3.0 * size) for size in sizes]) == pytest.approx(1)
    assert slope([(size, 0.1 * size**2) for size in sizes]) == pytest.approx(2)


def test_pictures_show_every_name_and_keep_their_labels_apart(tmp_path):
    one = Figure("x & y", (1.0,), "s", beside={"peer": (2.0,)})
    lines = [Line("first", ((10, 1.0), (1_000, 100.0))), Line("second", ((10, 5.0), (1_000, 501.0)))]
    draw_all(tmp_path, {"throughput": ([one], []), "growth": ([], lines)})
    ET.fromstring((tmp_path / "performance.svg").read_text())
    root = ET.fromstring((tmp_path / "growth.svg").read_text())
    labels = {text.text: float(text.get("y")) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    first, second = (next(y for label, y in labels.items() if label.startswith(name)) for name in ("first", "second"))
    assert abs(first - second) >= 18
    assert list(bars("t", [Figure("no peer", (1.0,))])) == []
    assert "polyline" in curves(lines)


def read(data):
    reader = EventReader()
    return [*reader.read(BlockReader().feed(data)), *reader.finish()]


def test_a_flood_is_what_the_strict_grammar_takes_and_new_in_every_pass():
    flood = Flood(20, 3)
    first, second = (read(b"".join(flood.pieces())) for _ in range(2))
    assert len(first) == len(second) == flood.count == 60
    assert {one.kind for one in first} == {Kind.CHALLENGE_RESPONSE_FAILED}
    assert len({one.source for one in first}) == 20
    assert not {one.session for one in first} & {one.session for one in second}


def test_every_attacker_is_in_a_network_of_its_own():
    sources = {one.source[:5] for one in read(b"".join(event(number, "s") for number in range(1_000)))}
    assert len(sources) == 1_000
    assert address(65_535) == "10.255.255.7"
