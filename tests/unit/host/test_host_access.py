"""Who may read a file, told from owners and modes."""

from __future__ import annotations

import os

import pytest

from guard.host.access import Account, service_account, why_unreadable

NOBODY = Account("astguard", 64_000, frozenset({64_001}))


@pytest.fixture
def log(tmp_path):
    """A log in a folder whose parents everybody may enter."""
    for part in (tmp_path, *tmp_path.parents):
        if part.stat().st_uid == os.geteuid() and len(part.parts) > 2:
            part.chmod(0o755)
    path = tmp_path / "messages"
    path.write_text("")
    path.chmod(0o644)
    return path


def test_a_log_for_everybody_is_readable(log):
    assert why_unreadable(log, NOBODY) == ""
    assert why_unreadable(log.with_name("later"), NOBODY) == ""


def test_a_closed_log_says_who_closed_it(log):
    log.chmod(0o640)
    why = why_unreadable(log, NOBODY)
    assert str(log) in why
    assert "-rw-r-----" in why
    assert "closed to astguard" in why


def test_a_group_opens_it(log):
    log.chmod(0o640)
    assert why_unreadable(log, NOBODY._replace(groups=frozenset({log.stat().st_gid}))) == ""


def test_a_closed_folder_closes_all_in_it(log):
    log.parent.chmod(0o700)
    assert f"{log.parent} is drwx------" in why_unreadable(log, NOBODY)
    assert why_unreadable(log, Account("root", 0, frozenset())) == ""


def test_a_running_daemon_tells_as_whom_it_reads(tmp_path):
    (tmp_path / "proc/77").mkdir(parents=True)
    (tmp_path / "proc/77/status").write_text(
        "Name:\tx\nUid:\t5\t64000\t5\t5\nGid:\t6\t64001\t6\t6\nGroups:\t64002 64003\n"
    )
    account = service_account(77, tmp_path)
    assert (account.uid, account.groups) == (64_000, {64_001, 64_002, 64_003})
    assert service_account("odd", tmp_path).name in {"root", "astguard"}
