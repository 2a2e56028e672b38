"""Each check of this folder is shown a small tree with one planted violation, and finds it."""

from __future__ import annotations

import pytest

from tests.arch import arrows, claims, pages, words
from tests.arch.tree import Tree

VIOLATIONS = [
    (arrows.arrows_that_go_up, "guard/core/rule.py", "from guard.settings.rulefile import read\n"),
    (arrows.arrows_that_go_up, "guard/errors.py", "import guard.core\n"),
    (arrows.arrows_that_go_up, "guard/wire/ami.py", "import guard.settings.config\n"),  # the same floor
    (arrows.arrows_that_go_up, "guard/firewall/nftables.py", "def f():\n    from guard.daemon import run\n"),
    (arrows.arrows_that_go_up, "guard/core/a.py", "if TYPE_CHECKING:\n    from guard.daemon import Daemon\n"),
    (arrows.arrows_that_go_up, "guard/attic.py", "import re\n"),  # a room on no floor
    (arrows.imports_of_the_core, "guard/core/engine.py", "import time\n"),
    (arrows.imports_of_the_core, "guard/core/engine.py", "def f():\n    from logging import getLogger\n"),
    (arrows.imports_of_the_core, "guard/core/engine.py", "import os.path\n"),
    (arrows.arrows_that_go_up, "guard/host/place.py", "import guard.doctor.facts\n"),
    (arrows.arrows_that_go_up, "guard/asterisk/manager.py", "from guard.host.disk import load\n"),
    (arrows.arrows_that_go_up, "guard/daemon/exposure.py", "import guard.doctor.ami\n"),  # the same floor
    (arrows.imports_of_the_wire, "guard/wire/ami.py", "import asyncio\n"),
    (arrows.imports_of_the_wire, "guard/asterisk/conffile.py", "import subprocess\n"),
    (arrows.libraries_out_of_place, "guard/cli/bans.py", "import pyroute2\n"),
    (arrows.libraries_out_of_place, "guard/api/server.py", "import requests\n"),
    (words.words_of_others, "docs/rules.md", "# Rules\n\nPut it on the white" + "list.\n"),
    (words.words_of_others, "guard/core/rule.py", "find" + "time = 1\n"),
    (words.words_of_others, "guard/core/engine.py", "def last_verdict(): ...\n"),
    (words.words_of_others, "guard/core/engine.py", "class WindowHit: ...\n"),
    (words.unfinished_business, "guard/core/rule.py", "# TO" + "DO: the rest\n"),
    (words.places_of_one_machine, "docs/install.md", "# Install\n\nGet it from https://py" + "pi.org/astguard\n"),
    (words.places_of_one_machine, "script/demo", "cd /wo" + "rk/somewhere\n"),
    (words.sleeps_and_clocks, "tests/unit/test_rule.py", "from time import sleep\nsleep(1)\n"),
    (words.sleeps_and_clocks, "tests/replay/test_a.py", "import asyncio\nasync def f():\n    await asyncio.sleep(1)\n"),
    (words.sleeps_and_clocks, "tests/property/test_rule.py", "import time\nnow = time.monotonic()\n"),
    (pages.modules_too_long, "guard/core/rule.py", "pass\n" * 301),
    (pages.modules_without_docstring, "guard/core/rule.py", "import re\n"),
    (pages.patterns_that_debian_cannot_read, "guard/wire/ami.py", 'WORDS = r"(?:a|bc)*+d"\n'),
    (pages.titles, "docs/rules.md", "# One\n\n# Two\n"),
    (pages.titles, "docs/rules.md", "Prose.\n\n```sh\n# a comment in a script\n```\n"),
    (pages.dead_links, "docs/rules.md", "# Rules\n\nSee [there](nowhere.md#place).\n"),
    (pages.readme_promises, "docs/rules.md", "# A tree without README\n"),
    (pages.readme_promises, "README.md", "# astguard\n\nRun `script/nowhere`.\n"),
    (pages.readme_promises, "README.md", "# astguard\n\n    $ sudo astguard frobnicate --now\n"),
    (pages.architecture_table, "guard/core/new.py", "import re\n"),
    (pages.architecture_table, "docs/ARCHITECTURE.md", "# Map\n\n| `guard/core/` | pure | `gone.py` left |\n"),
    (pages.decisions_too_long, "docs/decisions/0099-everything.md", "# All\n" + "and\n" * 39),
]

FINE = [
    (arrows.arrows_that_go_up, "guard/cli/bans.py", "from guard.daemon import run\nfrom guard import __version__\n"),
    (arrows.imports_of_the_core, "guard/core/rule.py", "import re\nfrom collections.abc import Mapping\n"),
    (words.words_of_others, "docs/rules.md", "# Rules\n\nThe window (fail2ban: find" + "time) is exact.\n"),
    (words.words_of_others, "docs/rules.md", "# Rules\n\nThe limit was hit, and that was a decision.\n"),
    (words.unfinished_business, "script/demo", "mktemp -d /tmp/demo.XXXX" + "XX\n"),
    (words.sleeps_and_clocks, "tests/daemon/test_link.py", "import time\ntime.sleep(1)\n"),
    (pages.patterns_that_debian_cannot_read, "guard/wire/ami.py", 'WORDS = r"(?>(?:a|bc)*)d[^e]*+"\n'),
    (pages.titles, "docs/rules.md", "# Rules\n\n```sh\n# a comment in a script\n```\n"),
    (pages.architecture_table, "guard/core/__init__.py", ""),
    (pages.decisions_too_long, "docs/decisions/0099-one-thing.md", "# One\n" + "and\n" * 38),
    (pages.dead_links, "docs/rules.md", "# Rules\n\n[Itself](rules.md#a), [elsewhere](https://example.com/x).\n"),
]


def _tree(folder, name, text):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return Tree(folder)


def _ids(cases):
    seen = [check.__name__ for check, *_ in cases]
    return [f"{name}-{seen[:number].count(name) + 1}" for number, name in enumerate(seen)]


@pytest.mark.parametrize(("check", "name", "text"), VIOLATIONS, ids=_ids(VIOLATIONS))
def test_a_planted_violation_is_found(check, name, text, tmp_path):
    complaints = list(check(_tree(tmp_path, name, text)))
    assert len(complaints) == 1
    assert complaints[0].startswith((name, "README.md"))


@pytest.mark.parametrize(("check", "name", "text"), FINE, ids=_ids(FINE))
def test_what_is_right_is_left_alone(check, name, text, tmp_path):
    assert list(check(_tree(tmp_path, name, text))) == []


def test_a_cycle_is_found_and_one_for_the_type_checker_is_none(tmp_path):
    core = tmp_path / "guard/core"
    core.mkdir(parents=True)
    (core / "a.py").write_text("from guard.core.b import B\n")
    (core / "b.py").write_text("if TYPE_CHECKING:\n    from guard.core.a import A\n")
    assert list(arrows.cycles(Tree(tmp_path))) == []

    (core / "c.py").write_text("from guard.core import d\n")
    (core / "d.py").write_text("import guard.core.c\n")
    assert list(arrows.cycles(Tree(tmp_path))) == ["cycle: guard.core.c imports guard.core.d imports guard.core.c"]


CLAIMED = "".join(f"- Sure (`tests/unit/test_a.py::test_{number}`)\n" for number in range(claims.FEWEST))


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (f"# S\n\n## A\n\n{CLAIMED}\n## What remains\n\n- A risk.\n", None),
        (f"# S\n\n## A\n\n{CLAIMED}- More (`tests/unit/test_a.py::test_gone`)\n", "test_gone, which is not there"),
        (f"# S\n\n## A\n\n{CLAIMED}- More (`tests/unit/test_b.py::test_0`)\n", "test_b.py::test_0, which is not there"),
        (f"# S\n\n## A\n\n{CLAIMED}- More.\n", "'More.' names no test"),
        (f"# S\n\n## What remains\n\n- A risk.\n\n## A\n\n{CLAIMED}- More,\n  and more.\n", "names no test"),
        ("# S\n\n## A\n\n" + CLAIMED.partition("\n")[2], "names 19 tests, want 20"),
        ("# S\n\n## A\n\n" + CLAIMED + "\n" * 150, "lines, at most 170"),
    ],
)
def test_a_claim_of_security_names_a_test_that_is_there(page, says, tmp_path):
    (tmp_path / "tests/unit").mkdir(parents=True)
    tests = "".join(f"def test_{number}(): ...\n" for number in range(claims.FEWEST))
    (tmp_path / "tests/unit/test_a.py").write_text(tests)
    complaints = list(claims.claims_without_test(_tree(tmp_path, claims.PAGE, page)))
    assert len(complaints) == (says is not None)
    assert all(says in complaint for complaint in complaints)
