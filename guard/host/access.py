"""Who may read a file, told from owners and modes: a doctor who is root himself can open everything."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from pathlib import Path
from typing import NamedTuple

from guard.asterisk.folder import read_text

USER = "astguard"
"""The user that the package makes and the service runs as."""


class Account(NamedTuple):
    """Somebody who opens files."""

    name: str
    uid: int
    groups: frozenset[int]


def service_account(pid: object = None, root: Path = Path("/")) -> Account:
    """Return as whom astguard reads: its process if there is one, else its user, else root."""
    if isinstance(pid, int) and (status := read_text(root / f"proc/{pid}/status")):
        fields = dict(line.partition(":")[::2] for line in status.split("\n"))
        with contextlib.suppress(ValueError, IndexError):
            uid, gid = int(fields.get("Uid", "").split()[1]), int(fields.get("Gid", "").split()[1])
            groups = frozenset(map(int, fields.get("Groups", "").split())) | {gid}
            return Account(_user_name(uid), uid, groups)
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return Account("root", 0, frozenset({0}))
    return Account(USER, user.pw_uid, frozenset(os.getgrouplist(USER, user.pw_gid)))


def why_unreadable(path: Path, account: Account) -> str:
    """Say what keeps an account from reading a file; nothing if it may, or if the file is not there yet."""
    for part in (*reversed(path.parents), path):
        try:
            status = part.stat()
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"{part}: {error.strerror}"
        needed = stat.S_IXOTH if part != path else stat.S_IROTH
        if account.uid and not _may(status, account, needed):
            owner = f"{_user_name(status.st_uid)}:{_group_name(status.st_gid)}"
            return f"{part} is {stat.filemode(status.st_mode)} {owner}, closed to {account.name}"
    return ""


def is_root() -> bool:
    """Tell whether we may look at and change everything."""
    return os.geteuid() == 0


def missing_group() -> bool:
    """Tell whether there are a user astguard and a group asterisk, and the one is not in the other."""
    try:
        user, group = pwd.getpwnam(USER), grp.getgrnam("asterisk")
    except KeyError:
        return False
    return group.gr_gid not in os.getgrouplist(USER, user.pw_gid)


def _may(status: os.stat_result, account: Account, needed: int) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & needed << 6)
    if status.st_gid in account.groups:
        return bool(status.st_mode & needed << 3)
    return bool(status.st_mode & needed)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
