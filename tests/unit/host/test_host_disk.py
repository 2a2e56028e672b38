"""Files changed whole or not at all, as they were in all else, and never over somebody's edit."""

from __future__ import annotations

import os

import pytest

from guard.errors import HostError
from guard.host import disk
from guard.host.disk import Owner, check_writable, load, make_folder, owner_of, real_path, replace

OURS = Owner(os.geteuid(), os.getegid(), 0o640)


def test_a_file_keeps_owner_and_mode(tmp_path):
    path = tmp_path / "manager.conf"
    path.write_text("old")
    path.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    before = owner_of(path)
    replace(path, b"old", b"new", OURS)
    assert (path.read_bytes(), owner_of(path)) == (b"new", before)
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_gets_its_owner(tmp_path):
    replace(tmp_path / "new", None, b"x", OURS)
    assert owner_of(tmp_path / "new") == OURS


def test_an_edit_of_somebody_else_is_not_overwritten(tmp_path):
    path = tmp_path / "manager.conf"
    path.write_text("theirs")
    for before in (b"old", None):
        with pytest.raises(HostError, match="changed by somebody else"):
            replace(path, before, b"ours", OURS)
    assert path.read_text() == "theirs"


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "manager.conf"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(HostError, match="cannot be written: No space left on device"):
        replace(path, b"old", b"new", OURS)
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_a_link_of_root_is_followed_and_stays(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "real.conf").write_text("old")
    link = tmp_path / "etc/manager.conf"
    link.symlink_to("../real.conf")
    path = real_path(link, tmp_path / "etc")
    replace(path, b"old", b"new", OURS)
    assert link.is_symlink()
    assert (tmp_path / "real.conf").read_text() == "new"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a link away")
def test_a_link_of_another_user_may_not_lead_root_out_of_the_folder(tmp_path):
    """Asterisk's user owns its configuration: a link of his to /etc/shadow would have root write there."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/inside.conf").write_text("")
    (tmp_path / "shadow").write_text("old")
    out, inside = tmp_path / "etc/manager.conf", tmp_path / "etc/logger.conf"
    out.symlink_to("../shadow")
    inside.symlink_to("inside.conf")
    for link in (out, inside):
        os.chown(link, 1234, 1234, follow_symlinks=False)
    with pytest.raises(HostError, match="made by user 1234"):
        real_path(out, tmp_path / "etc")
    assert real_path(inside, tmp_path / "etc") == tmp_path / "etc/inside.conf"


def test_what_is_no_text_is_not_edited(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "utf16").write_bytes("[general]".encode("utf-16"))
    with pytest.raises(HostError, match="is no plain file"):
        load(tmp_path / "pipe")
    with pytest.raises(HostError, match="holds zero bytes"):
        load(tmp_path / "utf16")
    assert load(tmp_path / "none") is None
    (tmp_path / "latin1").write_bytes(b"\xe4")
    assert load(tmp_path / "latin1") == b"\xe4"


def test_a_second_name_of_a_file_is_told_of_before(tmp_path):
    (tmp_path / "a").write_text("x")
    os.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(HostError, match="a second name"):
        check_writable(tmp_path / "a")
    check_writable(tmp_path / "new/folder/file")


def test_folders_are_made_with_their_owner(tmp_path):
    made = make_folder(tmp_path / "a/b", Owner(os.geteuid(), os.getegid(), 0o750))
    assert made == [tmp_path / "a/b", tmp_path / "a"]
    assert [owner_of(path).mode for path in made] == [0o750, 0o750]
    assert make_folder(tmp_path / "a/b", OURS) == []
