"""`astguard setup` on the command line: what it shows, asks and refuses. The lab carries it out on a real Asterisk."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from guard.cli import main, options, setup
from guard.errors import HostError
from guard.host import access, machine
from guard.host import place as place_module
from guard.host.amiprobe import Heard
from guard.host.place import Place
from guard.setup import carry

TREE_FILES = {
    "asterisk.conf": "",
    "manager.conf": "[general]\nenabled = yes\nbindaddr = 0.0.0.0\n[other]\nsecret = hush\n",
    "logger.conf": "[logfiles]\nmessages.log => notice\nsecurity.log => security\n",
    "pjsip.conf": "[t]\ntype=identify\nendpoint=t\nmatch=192.0.2.22\n",
}


@pytest.fixture
def host(tmp_path, monkeypatch):
    tmp_path.chmod(0o755)
    etc = tmp_path / "asterisk"
    etc.mkdir()
    for name, text in TREE_FILES.items():
        (etc / name).write_text(text)
    place = Place(
        asterisk_conf=etc / "asterisk.conf",
        etc=etc,
        log=tmp_path,
        modules=None,
        program=None,
        running=False,
        freepbx=False,
    )
    monkeypatch.setattr(place_module, "find_asterisk", lambda *_: place)
    monkeypatch.setattr(options, "DEFAULT_CONFIG", tmp_path / "astguard/astguard.yaml")
    monkeypatch.setattr(access, "is_root", lambda: True)
    monkeypatch.setattr(machine, "who", lambda: "root pts/0 2026-11-22 13:36 (198.51.100.7)\n")
    monkeypatch.setattr(setup, "lifelines", lambda _: [])
    monkeypatch.setattr(setup, "_networks", list)
    monkeypatch.setattr(access, "missing_group", bool)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def run(capsys, *words):
    code = main(["setup", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_dry_run_shows_every_line_but_no_secret(host, capsys):
    before = tree(host)
    code, out, err = run(capsys, "--dry-run")
    assert (code, err) == (0, "")
    assert f"change {host}/asterisk/manager.conf: AMI's user for astguard, with the least rights" in out
    for line in (
        "+secret = (not shown)",
        "+read = security",
        "+writetimeout = 5000",
        "+  - 192.0.2.22",
        " secret = (not shown)",
    ):
        assert f"    {line}" in out
    assert "hush" not in out
    assert "+  - 198.51.100.7  # where you are logged in from" in out
    assert "AMI on 0.0.0.0:5038 is reachable from other hosts, and stays so; --bind-loopback closes it" in out
    assert "run asterisk -rx 'manager reload'" in out
    assert tree(host) == before


def test_a_dry_run_for_programs(host, capsys):
    code, out, _ = run(capsys, "--dry-run", "--bind-loopback", "-o", "json")
    value = json.loads(out)
    assert (code, value["done"], value["reloads"], value["join_group"]) == (0, False, ["manager reload"], False)
    assert [change["path"].rpartition("/")[2] for change in value["changes"]] == [
        "manager.conf",
        "ami.secret",
        "astguard.yaml",
    ]
    assert "+bindaddr = 127.0.0.1" in value["changes"][0]["diff"]
    assert value["changes"][1]["diff"][1:] == ["+secret = (not shown)"]


def test_there_again_and_back(host, capsys):
    before = tree(host)
    code, out, err = run(capsys, "--yes")
    assert (code, err) == (
        0,
        "astguard: Asterisk is not running, so nothing could be tried; start it and run 'astguard setup' again\n",
    )
    assert "done  " in out
    secret = (host / "astguard/ami.secret").read_text().strip()
    assert f"secret = {secret}\n" in (host / "asterisk/manager.conf").read_text()
    assert "bindaddr = 127.0.0.1" not in (host / "asterisk/manager.conf").read_text()
    assert main(["check"]) == 0
    capsys.readouterr()
    there = tree(host)
    assert "Everything is there already." in run(capsys, "--yes")[1]
    assert tree(host) == there
    code, out, _ = run(capsys, "--undo", "--yes")
    assert (code, tree(host)) == (0, before)
    assert f"{host}/astguard/ami.secret: removed" in out
    assert "There is nothing to take back" in run(capsys, "--undo", "--yes")[1]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_who_is_asked_may_agree_to_a_part(host, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal("yes\ny\n"))
    assert run(capsys)[0] == 0
    assert "bindaddr = 127.0.0.1" in (host / "asterisk/manager.conf").read_text()


def test_no_is_no(host, capsys, monkeypatch):
    before = tree(host)
    monkeypatch.setattr("sys.stdin", Terminal("\n\n"))
    code, out, err = run(capsys)
    assert (code, err) == (1, "astguard: nothing was changed\n")
    assert "Do this? [y/N]" in out
    assert tree(host) == before


def test_without_a_terminal_nobody_can_be_asked(host, capsys):
    before = tree(host)
    code, _, err = run(capsys)
    assert (code, "say --yes" in err) == (2, True)
    assert tree(host) == before


def test_who_is_not_root_may_only_look(host, capsys, monkeypatch):
    monkeypatch.setattr(access, "is_root", bool)
    assert "run it as root" in run(capsys, "--yes")[2]
    assert run(capsys, "--dry-run")[0] == 0


@pytest.mark.parametrize("words", [("--undo", "--dry-run"), ("--undo", "--bind-loopback")])
def test_undo_stands_alone(host, capsys, words):
    assert run(capsys, *words)[0] == 2


def test_a_secret_that_is_there_is_kept(host, capsys):
    (host / "astguard").mkdir()
    (host / "astguard/ami.secret").write_text("chosen\n")
    (host / "astguard/ami.secret").chmod(0o600)
    assert run(capsys, "--yes")[0] == 0
    assert "secret = chosen\n" in (host / "asterisk/manager.conf").read_text()


def test_a_secret_open_to_everybody_is_refused(host, capsys):
    (host / "astguard").mkdir()
    (host / "astguard/ami.secret").write_text("chosen\n")
    (host / "astguard/ami.secret").chmod(0o644)
    assert "chmod o=" in run(capsys, "--yes")[2]


def test_a_silent_asterisk_is_an_error(host, capsys, monkeypatch):
    place = place_module.find_asterisk()
    monkeypatch.setattr(place_module, "find_asterisk", lambda *_: replace(place, running=True))
    monkeypatch.setattr(Place, "say", lambda *_: "")
    monkeypatch.setattr(carry, "hear_own_login", lambda *_, **__: Heard("11.0.0", own_login=False))
    code, _, err = run(capsys, "--yes")
    assert (code, "no security event arrives" in err) == (1, True)

    def refuse(*_, **__):
        raise HostError("no login")

    monkeypatch.setattr(carry, "hear_own_login", refuse)
    monkeypatch.setattr(carry, "SECONDS", 0)
    assert run(capsys, "--yes")[2].startswith("astguard: no login; if AMI was switched off while Asterisk ran")

    monkeypatch.setattr(carry, "hear_own_login", lambda *_, **__: Heard("11.0.0", own_login=True))
    code, out, _ = run(capsys, "--yes", "-o", "json")
    assert (code, json.loads(out)["self_test"]) == (0, "ok")


def test_a_second_run_tells_asterisk_what_the_first_could_not(host, capsys, monkeypatch):
    """All is written, but Asterisk has not read it: nothing is left to do but to tell it."""
    place = replace(place_module.find_asterisk(), running=True)
    monkeypatch.setattr(place_module, "find_asterisk", lambda *_: place)
    told = []

    def say(_, command):
        told.append(command)
        if len(told) == 1:
            raise HostError("no answer")

    def hear(*_, **__):
        if "logger reload" not in told:
            raise HostError("no login")
        return Heard("11.0.0", own_login=True)

    monkeypatch.setattr(Place, "say", say)
    monkeypatch.setattr(carry, "hear_own_login", hear)
    monkeypatch.setattr(carry, "SECONDS", 0)
    assert run(capsys, "--yes")[::2] == (1, "astguard: no answer\n")
    code, out, _ = run(capsys, "--yes")
    assert (code, told) == (0, ["manager reload", "manager reload", "logger reload"])
    assert "Everything is there already." in out


def test_an_undo_without_asterisk_says_that_it_was_not_told(host, capsys, monkeypatch):
    assert run(capsys, "--yes")[0] == 0

    def nowhere(*_):
        raise HostError("no Asterisk found")

    monkeypatch.setattr(place_module, "find_asterisk", nowhere)
    code, _, err = run(capsys, "--undo", "--yes")
    assert (code, "all is taken back, but Asterisk was not told: no Asterisk found" in err) == (0, True)
