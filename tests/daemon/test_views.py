"""Whatever strangers write, each view of each command shows it harmless: in a table, as raw lines, as JSON."""

from __future__ import annotations

import json

import pytest

from guard.cli import main
from guard.cli.commandline import commands
from guard.core.address import show
from tests.daemon.test_control_api import ALLOWED, BANS, EXPLAINED, PASTS, RULES, STATUS, Paper, serving

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e7.001\u2066\r\nastguard: all is well\x9b31m\t\x7f\u2028" + "x" * 400
VIEWS = (
    "status", "bans list", "bans show 203.0.113.7", "bans add 198.51.100.9 --force", "bans remove 203.0.113.7",
    "bans flush --yes", "explain 203.0.113.7", "history", "allow list", "allow add 198.51.100.7",
    "allow remove 198.51.100.7", "allow test 198.51.100.7", "rules list", "rules show evil", "reload", "pause", "resume",
)  # fmt: skip


def spoil(value):
    """Put hostile text wherever the daemon might pass on some; what keeps the views going stays."""
    if isinstance(value, dict):
        return {key: spoil(part) for key, part in value.items()}
    if isinstance(value, list):
        return [spoil(part) for part in value]
    return HOSTILE if isinstance(value, str) else value


class Hostile(Paper):
    """A desk all whose words a stranger wrote."""

    def status(self):
        return spoil(STATUS)

    def bans(self):
        return spoil(BANS)

    async def ban(self, source):
        return {**spoil(BANS[0]), "trail": spoil(EXPLAINED["trail"])}

    async def add_ban(self, source, length, reason):
        return spoil(BANS[0])

    async def remove_ban(self, source):
        return spoil(BANS[0])

    async def explain(self, source):
        return {**spoil(EXPLAINED), "allowed": {"by": HOSTILE, "origin": HOSTILE}}

    async def history(self, wanted):
        return spoil(PASTS)

    def allowed(self):
        return spoil(ALLOWED)

    async def add_allow(self, source, length):
        return {"source": HOSTILE, "origin": HOSTILE, "until": HOSTILE, "left_seconds": 5, "lifted": [HOSTILE]}

    def test_allow(self, source):
        return {"source": show(source), "allowed": True, "by": HOSTILE, "origin": HOSTILE}

    def rules(self):
        return [{**spoil(RULES[0]), "name": "evil"}, spoil(RULES[0])]

    async def reload(self):
        return {"changed": [HOSTILE], "restart": [HOSTILE], "notes": [HOSTILE], "rules": 12}

    async def pause(self, length):
        return {"since": HOSTILE, "until": HOSTILE, "left_seconds": 5, "bans": 7}

    async def resume(self):
        return {"bans": HOSTILE}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("views") / "astguard.sock"
    with serving(Hostile(), path):
        yield path


@pytest.mark.parametrize("form", ["table", "raw", "json"])
@pytest.mark.parametrize("words", VIEWS)
def test_text_of_strangers_shows_harmless(path, capsys, monkeypatch, words, form):
    monkeypatch.setenv("NO_COLOR", "1")
    code = main([*words.split(), "--socket", str(path), "-o", form])
    said = capsys.readouterr()
    assert code == 0, said.err
    for line in (*said.out.split("\n"), *said.err.split("\n")):
        shown = line.replace("\t", " ") if form == "raw" else line
        assert shown.isprintable(), repr(line)
        assert not line.startswith("astguard: all is well")
    if form == "json":
        assert json.loads(said.out) is not None


def test_every_verb_that_asks_the_daemon_is_among_the_views():
    offline = {"check", "replay", "setup", "doctor", "run", "flush", "completion", "rules check", "rules test"}
    live = {"events tail", "top"}  # without an end: test_tail.py and test_top.py have the same for them
    assert {" ".join(command.words) for command in commands()} - offline - live == {
        " ".join(word for word in view.split() if word.isalpha()).removesuffix(" evil") for view in VIEWS
    }  # fmt: skip
