"""Recordings in which one answer is repeated without end, as no line that is lossy does."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.replay import replay
from guard.settings.rulefile import Folder, load_rules

TREE = Path(__file__).parents[2]
CORPUS = TREE / "tests/corpus/22.10.1"


@pytest.mark.parametrize("name", ["hostile-90", "hostile-91"])
@pytest.mark.parametrize("sensors", [("ami",), ("messages",), ("ami", "messages")])
def test_who_repeats_one_answer_without_end_is_banned(name, sensors):
    rules = load_rules([Folder(TREE / "rules")]).rules
    report = replay([CORPUS / f"{name}.{sensor}" for sensor in sensors], rules)
    (ban,) = report.bans
    guesses = ban.events // len(sensors)
    assert guesses <= 32, "sixty were recorded"
