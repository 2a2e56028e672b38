"""What `setup` would change, as files with their old and new bytes: nothing is changed here.

Every new text is read again as Asterisk or astguard would read it, and what does not come out as meant is an error:
an open comment, a section that follows, a file that is broken already.
"""

from __future__ import annotations

import contextlib
import grp
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from guard.asterisk.conffile import Conf, read_conf
from guard.asterisk.folder import find_files, read_folder_conf, read_text
from guard.asterisk.loggerconf import Channel, log_channels
from guard.asterisk.manager import Manager, read_manager
from guard.core.text import printable
from guard.errors import HostError
from guard.host.access import USER
from guard.host.disk import Owner, load, owner_of, real_path
from guard.setup.block import cut_block, put_block

if TYPE_CHECKING:
    from guard.host.place import Place

ASTERISK, YAML = ";", "#"
"""What begins a comment."""
MANAGER_RELOAD, LOGGER_RELOAD = "manager reload", "logger reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file: `before` None makes it. `owner` is a new file's."""

    path: Path
    before: bytes | None
    after: bytes
    owner: Owner
    why: str
    sign: str = ASTERISK
    is_secret: bool = False


@dataclass(slots=True, kw_only=True)
class Plan:
    """All of it. `notes` is what the administrator has to know or do himself."""

    changes: list[Change] = field(default_factory=list)
    reloads: list[str] = field(default_factory=list)
    join_group: bool = False
    notes: list[str] = field(default_factory=list)
    username: str = USER
    secret: str = ""
    port: int = 5038

    def add(self, change: Change) -> bool:
        """Add a change, unless the file is so already; tell whether it was added."""
        if change.before == change.after:
            return False
        self.changes.append(change)
        return True


def plan_manager(plan: Plan, place: Place, new_secret: str, *, close_ami: bool) -> None:
    """Plan AMI's user, and what else manager.conf needs so that it can log in; `close_ami` binds it to loopback."""
    main = place.etc / "manager.conf"
    now = _sound(read_folder_conf(main))
    target = _target(now, place)
    before = load(target)
    rest = cut_block(before or b"", ASTERISK)
    theirs = _sound(read_with(main, target, rest if before is not None else None))
    manager, today = read_manager(theirs), read_manager(now)
    user, ours = manager.user(plan.username), today.user(plan.username)
    plan.secret = ours.secret if ours and ours.secret else new_secret
    # What was agreed to in an earlier run stays agreed to.
    close_ami |= any(not door.is_loopback for door in manager.listeners) and all(d.is_loopback for d in today.listeners)
    lines = _general(theirs, manager, close_ami=close_ami)
    if user is None:
        lines += _user(plan.username, plan.secret)
    elif not user.secret:
        raise HostError(f"{user.place}: AMI user [{user.name}] has no secret; give it one, or take the section out")
    else:
        text = f"AMI user [{user.name}] is there already ({user.place}) and stays as it is"
        plan.notes.append(f"{text}; 'astguard doctor' looks at it")
    after = put_block(before or b"", lines, ASTERISK) if lines else rest
    owner = owner_of(main)
    owner = Owner(owner.uid, owner.gid, 0o640 if owner.mode & 0o040 else 0o600)
    if lines or before is not None:
        why = "AMI's user for astguard, with the least rights" if user is None else "AMI is on, for this host alone"
        if plan.add(Change(path=target, before=before, after=after, owner=owner, why=why)):
            plan.reloads.append(MANAGER_RELOAD)
    _prove_manager(plan, read_with(main, target, after if lines or before is not None else None), close_ami=close_ami)


def plan_logger(plan: Plan, place: Place) -> None:
    """Plan the logs that AMI's silence is filled from."""
    main = place.etc / "logger.conf"
    try:
        target = _logfiles(_sound(read_folder_conf(main)), place)
        before = load(target) or b""
        theirs = _sound(read_with(main, target, cut_block(before, ASTERISK)))
    except HostError as error:
        plan.notes.append(f"{main} is left alone: {error}")
        return
    channels = log_channels(theirs, place.log)
    read = [channel for channel in channels if channel.formatter != "json"]
    wanted = []
    if not any(channel.has("notice") for channel in read):
        wanted.append(f"{_free('messages.log', channels)} => notice,warning,error")
    if not any(channel.has("security") for channel in read):
        wanted.append(f"{_free('security.log', channels)} => security")
    if wanted:
        head = [_head(theirs, "logfiles")] if target == real_path(main, place.etc) else []
        after = put_block(before, [*head, *wanted], ASTERISK)
        names = " and ".join(line.partition(" ")[0] for line in wanted)
        why = f"Asterisk writes {names}, for what AMI does not tell"
        if plan.add(Change(path=target, before=before, after=after, owner=owner_of(target), why=why)):
            plan.reloads.append(LOGGER_RELOAD)
            plan.notes.append(f"mind that logrotate takes care of {place.log}")


def plan_secret(plan: Plan, path: Path) -> None:
    """Plan the file that astguard reads the secret from."""
    plan.add(
        Change(
            path=path,
            before=load(path),
            after=f"{plan.secret}\n".encode(),
            owner=own_files(),
            why="the secret of AMI's user",
            is_secret=True,
            sign=YAML,
        )
    )


def own_files(mode: int = 0o640) -> Owner:
    """Return whom astguard's own files belong to: root, and its group if there is one."""
    with contextlib.suppress(KeyError):
        return Owner(os.geteuid(), grp.getgrnam(USER).gr_gid, mode)
    return Owner(os.geteuid(), os.getegid(), mode & 0o700)


def _target(conf: Conf, place: Place) -> Path:
    """Choose the file for the user: FreePBX's own for such things, a folder that is included, else manager.conf."""
    named = {Path(name).name: place.etc / name for name, _ in conf.includes}
    if "manager_custom.conf" in named:
        return real_path(named["manager_custom.conf"], place.etc)
    folder = next((place.etc / name for name, _ in conf.includes if Path(name).name == "*.conf"), None)
    if folder is not None and folder.parent.is_dir():
        return real_path(folder.parent / "astguard.conf", place.etc)
    return real_path(conf.path, place.etc)


def _general(conf: Conf, manager: Manager, *, close_ami: bool) -> list[str]:
    lines = [] if manager.enabled else ["enabled = yes"]
    if close_ami:
        doors = [door for door in manager.listeners[1:] if not door.is_loopback]
        lines += [f"tlsbindaddr = 127.0.0.1:{door.port}" for door in doors]
    # Switched on by us, it opens to this host alone.
    if close_ami or (not manager.enabled and conf.section("general").find("bindaddr") is None):
        lines.append("bindaddr = 127.0.0.1")
    return [_head(conf, "general"), *lines] if lines else []


def _head(conf: Conf, name: str) -> str:
    """Go on with a section, or begin it: to go on with none makes Asterisk refuse the file."""
    return f"[{name}](+)" if any(section.name.lower() == name for section in conf.named()) else f"[{name}]"


def _sound(conf: Conf) -> Conf:
    """Return a configuration that something can be added to; HostError if Asterisk would not read it."""
    why = conf.broken or ("" if conf.exists else f"there is no {conf.path} that can be read")
    if conf.open_comment:
        why = f"{conf.path} ends inside a comment"
    if why:
        raise HostError(f"{printable(why, 400)}; mend that first")
    return conf


def _user(name: str, secret: str) -> list[str]:
    """Write the section. docs/asterisk.md says why each line."""
    return [
        f"[{name}]",
        f"secret = {secret}",
        "read = security",
        "write =",
        "deny = 0.0.0.0/0.0.0.0",
        "deny = ::/0",
        "permit = 127.0.0.1/255.255.255.255",
        "permit = ::1/128",
        "writetimeout = 5000",
    ]


def _prove_manager(plan: Plan, conf: Conf, *, close_ami: bool) -> None:
    """Look at the new text as Asterisk would read it."""
    manager = read_manager(conf)
    user = manager.user(plan.username)
    fits = user is not None and user.secret == plan.secret and user.hears_security and manager.enabled
    if not fits or conf.broken or (close_ami and not all(door.is_loopback for door in manager.listeners)):
        why = conf.broken or "other lines of it, or of what it includes, get in the way"
        text = f"{conf.path} would not come out as meant: {printable(why, 400)}"
        raise HostError(f"{text}; do it by hand, docs/asterisk.md shows the lines")
    port = manager.listeners[0].port
    plan.port = int(port) if port.isdecimal() and 0 < int(port) < 65_536 else plan.port


def read_with(main: Path, target: Path, data: bytes | None) -> Conf:
    """Read a configuration as it would be with one of its files changed, or gone if `data` is None."""
    text = None if data is None else data.decode("utf-8", "surrogateescape")

    def find(name: str) -> list[tuple[Path, str | None]]:
        path = main.parent / name
        files = set(find_files(main.parent, name))
        if target.parent.resolve() == path.parent.resolve() and target.match(path.name):
            files.add(path.with_name(target.name))
        texts = ((file, text if _same(file, target) else read_text(file)) for file in sorted(files))
        return [(file, found) for file, found in texts if found is not None or not _same(file, target)]

    return read_conf(main, find)


def _same(one: Path, other: Path) -> bool:
    return one == other or one.resolve() == other.resolve()


def _logfiles(conf: Conf, place: Place) -> Path:
    """Choose the file for further logs."""
    named = {Path(name).name: place.etc / name for name, _ in conf.includes}
    if "logger_logfiles_custom.conf" in named:  # FreePBX includes it inside of [logfiles]
        return real_path(named["logger_logfiles_custom.conf"], place.etc)
    return real_path(conf.path, place.etc)


def _free(name: str, channels: list[Channel]) -> str:
    """Return a name for a log that no channel has: a second line of the same name would take its place."""
    taken = {channel.path.name for channel in channels}
    return name if name not in taken else f"astguard-{name}"
