"""What setup did, written down before it is done, so that `--undo` takes back exactly that.

It stands in a folder of root's own beside the configuration, not in astguard's state: who may write it chooses which
files root puts back, so a daemon that was taken over may not. Where others could have written it, it is not believed.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from guard.core.text import printable
from guard.errors import HostError
from guard.host.disk import Owner, load, make_folder, replace

if TYPE_CHECKING:
    from pathlib import Path

    from guard.setup.plan import Change

FILE = "record.json"
FOLDER = "setup"
"""The folder beside astguard.yaml, which holds the record and the old bytes of each file."""
VERSION = 1
STEP_KEYS = ("path", "backup", "after", "sign")


@dataclass(kw_only=True)
class Step:
    """A file that was changed: `backup` names its old bytes, empty if it was made; `after` is the hash of the new."""

    path: str
    backup: str
    after: str
    sign: str


@dataclass(kw_only=True)
class Record:
    """All steps in order, the folders that were made, and whether the user joined Asterisk's group."""

    steps: list[Step] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    joined_group: bool = False
    reloads: list[str] = field(default_factory=list)
    version: int = VERSION


def _own(mode: int) -> Owner:
    return Owner(os.geteuid(), os.getegid(), mode)


def digest(data: bytes) -> str:
    """Return what a file is known again by."""
    return hashlib.sha256(data).hexdigest()


def read_record(folder: Path) -> Record:
    """Read the record; an empty one if setup never ran. HostError if it is not one of ours."""
    path = folder / FILE
    for part in (folder.parent, folder):
        if part.exists() and (part.stat().st_uid not in (0, os.geteuid()) or part.stat().st_mode & 0o022):
            raise HostError(f"{part} can be written by others than root, so what setup noted there is not believed")
    data = load(path)
    if data is None:
        return Record()
    try:
        value = json.loads(data)
        record = Record(
            steps=[Step(**{key: str(step[key]) for key in STEP_KEYS}) for step in value["steps"]],
            folders=[str(name) for name in value["folders"]],
            joined_group=value["joined_group"] is True,
            reloads=[str(name) for name in value["reloads"]],
            version=int(value["version"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        text = f"{path} is no record of setup: {printable(str(error))}; take back by hand what it changed"
        raise HostError(text) from None
    if record.version != VERSION or any("/" in step.backup for step in record.steps):
        raise HostError(f"{path} is of another version of astguard; take setup back with that one")
    return record


def note_change(folder: Path, record: Record, change: Change) -> None:
    """Keep a file's old bytes and note the change, on disk, before it is made; changed twice, the oldest are kept."""
    step = next((step for step in record.steps if step.path == str(change.path)), None)
    if step is None:
        step = Step(path=str(change.path), backup="", after="", sign=change.sign)
        record.steps.append(step)
        if change.before is not None:
            step.backup = f"{len(record.steps):03}-{change.path.name}"
            make_folder(folder, _own(0o700))
            kept = folder / step.backup
            replace(kept, load(kept), change.before, _own(0o600))
    step.after = digest(change.after)
    write_record(folder, record)


def write_record(folder: Path, record: Record) -> None:
    """Write the record."""
    make_folder(folder, _own(0o700))
    path = folder / FILE
    replace(path, load(path), (json.dumps(asdict(record), indent=1) + "\n").encode(), _own(0o600))


def old_bytes(folder: Path, step: Step) -> bytes | None:
    """Return what a file held before setup; None if it was not there. HostError if the copy is gone."""
    if not step.backup:
        return None
    data = load(folder / step.backup)
    if data is None:
        raise HostError(f"{folder / step.backup} is gone, so {step.path} cannot be put back")
    return data


def forget(folder: Path) -> None:
    """Remove the record and the copies."""
    for path in (*sorted(folder.glob("[0-9][0-9][0-9]-*")), folder / FILE):
        path.unlink(missing_ok=True)
    if folder.is_dir():
        folder.rmdir()
