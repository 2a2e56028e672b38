"""Carries a plan out, whole or not at all, and takes back what was carried out."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from guard.errors import HostError
from guard.host.access import USER
from guard.host.amiprobe import Heard, hear_own_login
from guard.host.disk import Owner, check_writable, load, make_folder, owner_of, replace
from guard.setup.block import cut_block, has_block
from guard.setup.plan import own_files
from guard.setup.record import Record, Step, digest, forget, note_change, old_bytes, read_record, write_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guard.setup.plan import Change, Plan

SECONDS = 10.0
"""How long Asterisk may take to open AMI after a reload; it is there within some milliseconds."""
ROOT = Owner(0, 0, 0o600)


def carry_out(plan: Plan, folder: Path) -> Iterator[str]:
    """Change the files and the group, saying each; what fails takes back what this run did, and raises."""
    for change in plan.changes:
        check_writable(change.path)
    record = read_record(folder)
    done: list[Change] = []
    kept = {step.path: step.after for step in record.steps}
    try:
        record.folders += [str(path) for path in make_folder(folder.parent, own_files(0o750))]
        for change in plan.changes:
            record.folders += [str(path) for path in make_folder(change.path.parent, own_files(0o750))]
            note_change(folder, record, change)
            replace(change.path, change.before, change.after, change.owner)
            done.append(change)
            yield f"{change.path}: {change.why}"
        record.reloads = list(dict.fromkeys([*record.reloads, *plan.reloads]))
        if plan.join_group:
            _run("usermod", "--append", "--groups", "asterisk", USER)
            record.joined_group = True
            yield f"user {USER} joined the group asterisk, to read its logs"
        if plan.changes or plan.join_group:
            write_record(folder, record)
    except HostError:
        for change in reversed(done):
            with contextlib.suppress(HostError):
                replace(change.path, change.after, change.before, change.owner)
        record.steps = [step for step in record.steps if step.path in kept]
        for step in record.steps:
            step.after = kept[step.path]
        with contextlib.suppress(HostError, OSError):
            if record.steps:
                write_record(folder, record)
            else:
                forget(folder)
                list(_remove_folders(record))
        raise


def hear(plan: Plan, token: str) -> Heard:
    """Log in until our own security event has come back, or HostError says why it does not."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return hear_own_login("127.0.0.1", plan.port, plan.username, plan.secret, token=token)
        except HostError as error:
            if time.monotonic() >= deadline:
                # Seen on Asterisk 16: tcptls.c: `accept failed: Bad file descriptor`.
                text = "if AMI was switched off while Asterisk ran, Asterisk 16 opens it again only at its next start"
                raise HostError(f"{error}; {text}") from None
            time.sleep(0.2)  # AMI is being opened


def undo(folder: Path) -> Iterator[str]:
    """Take back what setup did, saying each; what was changed since keeps those changes."""
    record = read_record(folder)
    for step in reversed(record.steps):
        yield _take_back(folder, step)
    if record.joined_group:
        try:
            _run("gpasswd", "--delete", USER, "asterisk")
            yield f"user {USER} left the group asterisk"
        except HostError as error:
            yield str(error)
    forget(folder)
    yield from _remove_folders(record)


def _take_back(folder: Path, step: Step) -> str:
    path = Path(step.path)
    data, before = load(path), old_bytes(folder, step)
    if data == before:
        return f"{path}: is as it was"
    if data is None:
        return f"{path}: is gone; nothing to take back"
    owner = owner_of(path)
    if digest(data) == step.after:
        replace(path, data, before, owner)
        return f"{path}: {'removed' if before is None else 'put back'}"
    if has_block(data, step.sign):
        replace(path, data, cut_block(data, step.sign), owner)
        return f"{path}: astguard's lines are taken out; what else was changed since stays"
    return f"{path}: was changed since, so it stays"


def _remove_folders(record: Record) -> Iterator[str]:
    for name in record.folders:
        with contextlib.suppress(OSError):  # there is something of somebody else in it
            Path(name).rmdir()
            yield f"{name}: removed"


def _run(*words: str) -> None:
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise HostError(f"'{' '.join(words)}' failed: {error}") from None
    if done.returncode:
        raise HostError(f"'{' '.join(words)}' failed: {done.stderr.decode(errors='replace').strip()}")
