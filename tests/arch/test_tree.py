"""The source tree keeps its own rules: each check finds nothing to complain of."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.arch import arrows, claims, pages, words
from tests.arch.tree import REAL, real

CHECKS = [
    arrows.arrows_that_go_up,
    arrows.imports_of_the_core,
    arrows.imports_of_the_wire,
    arrows.libraries_out_of_place,
    arrows.cycles,
    words.words_of_others,
    words.unfinished_business,
    words.places_of_one_machine,
    words.sleeps_and_clocks,
    pages.modules_too_long,
    pages.modules_without_docstring,
    pages.patterns_that_debian_cannot_read,
    pages.titles,
    pages.dead_links,
    pages.readme_promises,
    pages.architecture_table,
    pages.decisions_too_long,
    claims.claims_without_test,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_nothing_to_complain_of(check):
    complaints = list(check(real()))
    assert not complaints, "\n".join(["", *complaints])


def test_every_exception_to_the_words_has_its_reason():
    assert all(len(reason.split()) > 2 for reason in words.MAY_SAY.values())


def test_the_command_line_loads_no_heavy_library():
    """`astguard bans list` answers at once: aiohttp alone would take a third of a second."""
    heavy = ("aiohttp", "prometheus_client", "pyroute2", "iptc", "yaml")
    ask = f"import guard.cli, sys; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], cwd=REAL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
