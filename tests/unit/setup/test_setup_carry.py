"""A plan is carried out whole or not at all, and taken back to the byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guard.errors import HostError
from guard.host.disk import Owner
from guard.setup import carry
from guard.setup.block import put_block
from guard.setup.carry import carry_out, undo
from guard.setup.plan import Change, Plan
from guard.setup.record import FOLDER, read_record

OURS = Owner(os.geteuid(), os.getegid(), 0o640)


@pytest.fixture
def host(tmp_path):
    """A host with one file of Asterisk's, and a plan that changes it and makes another."""
    tmp_path.chmod(0o755)
    etc, own = tmp_path / "asterisk", tmp_path / "astguard"
    etc.mkdir()
    (etc / "manager.conf").write_bytes(b"[general]")
    return tmp_path, plan_of(etc, own), own / FOLDER


def plan_of(etc, own, lines=("[astguard]",)):
    before = (etc / "manager.conf").read_bytes()
    secret = own / "ami.secret"
    return Plan(
        changes=[
            Change(path=etc / "manager.conf", before=before, after=put_block(before, lines, ";"), owner=OURS, why="a"),
            Change(path=secret, before=secret.read_bytes() if secret.exists() else None, after=b"x\n", owner=OURS, why="b"),
        ],
        reloads=["manager reload"],
    )  # fmt: skip


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


BARE = {"asterisk/manager.conf": b"[general]"}


def test_there_and_back(host):
    folder, plan, record = host
    assert len(list(carry_out(plan, record))) == 2
    assert b"[astguard]" in tree(folder)["asterisk/manager.conf"]
    assert (record.stat().st_mode & 0o777, read_record(record).reloads) == (0o700, ["manager reload"])
    said = list(undo(record))
    assert tree(folder) == BARE
    assert not (folder / "astguard").exists()
    assert [line.rpartition(": ")[2] for line in said] == ["removed", "put back", "removed"]
    assert list(undo(record)) == []


def test_a_second_run_keeps_the_oldest_bytes(host):
    folder, plan, record = host
    list(carry_out(plan, record))
    list(carry_out(plan_of(folder / "asterisk", folder / "astguard", ("[other]",)), record))
    assert len(read_record(record).steps) == 2
    list(undo(record))
    assert tree(folder) == BARE


def test_a_failure_half_way_takes_back_the_first_half(host, monkeypatch):
    folder, plan, record = host
    plan.changes.append(Change(path=folder / "asterisk/late.conf", before=b"was there", after=b"", owner=OURS, why="c"))
    with pytest.raises(HostError, match="changed by somebody else"):
        list(carry_out(plan, record))
    assert tree(folder) == BARE
    assert not (folder / "astguard").exists()


def test_a_failure_of_a_second_run_leaves_the_first_as_it_was(host):
    folder, plan, record = host
    list(carry_out(plan, record))
    after = {name: data for name, data in tree(folder).items() if FOLDER not in Path(name).parts}
    second = plan_of(folder / "asterisk", folder / "astguard", ("[other]",))
    second.changes.append(
        Change(path=folder / "asterisk/late.conf", before=b"was there", after=b"", owner=OURS, why="c")
    )
    with pytest.raises(HostError):
        list(carry_out(second, record))
    assert {name: data for name, data in tree(folder).items() if FOLDER not in Path(name).parts} == after
    list(undo(record))
    assert tree(folder) == BARE


def test_what_cannot_be_written_is_known_before_anything_is(host, monkeypatch):
    folder, plan, record = host
    monkeypatch.setattr(carry, "check_writable", lambda path: (_ for _ in ()).throw(HostError("read-only")))
    with pytest.raises(HostError, match="read-only"):
        list(carry_out(plan, record))
    assert tree(folder) == BARE


def test_an_edit_since_is_kept(host):
    folder, plan, record = host
    list(carry_out(plan, record))
    conf = folder / "asterisk/manager.conf"
    conf.write_bytes(conf.read_bytes() + b"[own]\nsecret=y\n")
    (folder / "astguard/ami.secret").write_bytes(b"another\n")
    said = "\n".join(undo(record))
    assert "what else was changed since stays" in said
    assert "was changed since, so it stays" in said
    assert tree(folder) == {
        "asterisk/manager.conf": b"[general]\n[own]\nsecret=y\n",
        "astguard/ami.secret": b"another\n",
    }


def test_a_file_that_is_gone_or_as_it_was_needs_nothing(host):
    folder, plan, record = host
    list(carry_out(plan, record))
    (folder / "asterisk/manager.conf").write_bytes(b"[general]")
    (folder / "astguard/ami.secret").unlink()
    assert "is as it was" in "\n".join(undo(record))
    assert tree(folder) == BARE


def test_killed_half_way_it_can_still_be_taken_back(host):
    """The record is on disk before each change."""
    folder, plan, record = host
    steps = carry_out(plan, record)
    next(steps)
    del steps
    list(undo(record))
    assert tree(folder) == BARE


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder away")
def test_a_record_that_others_could_have_written_is_not_believed(host):
    """It names files for root to put back: a daemon that was taken over could name /etc/passwd."""
    folder, plan, record = host
    list(carry_out(plan, record))
    for change in (lambda: os.chown(record, 1234, 1234), lambda: os.chown(record, 0, 0) or record.chmod(0o777)):
        change()
        with pytest.raises(HostError, match="can be written by others"):
            list(undo(record))
    assert b"[astguard]" in tree(folder)["asterisk/manager.conf"]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"version": 9, "steps": [], "folders": [], "joined_group": false, "reloads": []}', "[" * 100_000],
    ids=["nothing", "empty", "list", "version", "deep"],
)
def test_a_record_that_is_none_is_told_of(host, text):
    _, plan, record = host
    list(carry_out(plan, record))
    (record / "record.json").write_text(text)
    with pytest.raises(HostError, match="record"):
        list(undo(record))


def test_a_lost_copy_changes_nothing(host):
    folder, plan, record = host
    list(carry_out(plan, record))
    (record / "001-manager.conf").unlink()
    with pytest.raises(HostError, match="is gone, so"):
        list(undo(record))
    assert b"[astguard]" in tree(folder)["asterisk/manager.conf"]
