"""Where Asterisk lives on this host: Debian's package, a build from source or FreePBX."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guard.asterisk.folder import read_folder_conf, read_plain
from guard.asterisk.loggerconf import log_folder
from guard.core.text import printable
from guard.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

USUAL = ("etc/asterisk", "usr/local/etc/asterisk", "opt/asterisk/etc/asterisk", "usr/local/asterisk/etc/asterisk")
"""Folders that Debian, FreePBX and a build from source with the usual prefixes have asterisk.conf in."""
PROGRAMS = (
    "usr/sbin/asterisk",
    "usr/local/sbin/asterisk",
    "opt/asterisk/sbin/asterisk",
    "usr/local/asterisk/sbin/asterisk",
)
PROCESSES_LIMIT = 100_000
SECONDS = 15.0
"""How long one command of Asterisk's command line may take; a reload of the manager takes some milliseconds."""
SAID_LIMIT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One Asterisk. `program` None means that it was not found; `running` whether a process of it is there."""

    asterisk_conf: Path
    etc: Path
    log: Path
    modules: Path | None
    program: str | None
    running: bool
    freepbx: bool

    def say(self, command: str) -> str:
        """Give a command of Asterisk's own command line and return what it says; HostError if it does not answer."""
        if self.program is None:
            raise HostError(f"there is no program 'asterisk' to tell {command!r}; run it on Asterisk's console")
        asked = [self.program, "-C", str(self.asterisk_conf), "-rx", command]
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and no word of it comes from outside
                asked, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HostError(
                f"'asterisk -rx \"{command}\"' failed: {printable(str(error))}; is Asterisk running?"
            ) from None
        said = (done.stdout + done.stderr)[:SAID_LIMIT].decode(errors="replace").strip()
        if done.returncode:
            text = f"'asterisk -rx \"{command}\"' failed: {printable(said) or 'it said nothing'}; is Asterisk running?"
            raise HostError(text)
        return said


def find_asterisk(named: Path | None = None, root: Path = Path("/")) -> Place:
    """Find Asterisk: by the file named, by its process, or where it usually is; HostError if it is nowhere."""
    process = next(_processes(root), None)
    running = [process[1]] if process and process[1] else []
    places = [named] if named else [*running, *(root / folder / "asterisk.conf" for folder in USUAL)]
    conf = next((path for path in places if _is_file(path)), None)
    if conf is None:
        tried = ", ".join(str(path) for path in places)
        raise HostError(f"no Asterisk found, there is no {tried}; name its asterisk.conf with --asterisk-conf FILE")
    conf = conf.absolute()
    folders = read_folder_conf(conf).section("directories")
    etc = Path(folders.get("astetcdir") or conf.parent)
    modules = folders.get("astmoddir")
    found = (path for path in (root / program for program in PROGRAMS) if _is_file(path))
    program = shutil.which("asterisk") if root == Path("/") else None
    return Place(
        asterisk_conf=conf,
        etc=etc,
        log=log_folder(conf),
        modules=Path(modules) if modules else next(iter(_modules(root)), None),
        program=program or next(map(str, found), None),
        running=process is not None,
        freepbx=_is_file(root / "etc/freepbx.conf") or _is_file(etc / "manager_additional.conf"),
    )


def _modules(root: Path) -> Iterator[Path]:
    for lib in ("usr/lib", "usr/local/lib", "opt/asterisk/lib", "usr/lib64"):
        for folder in (root / lib / "asterisk/modules", *sorted((root / lib).glob("*-linux-gnu*/asterisk/modules"))):
            if folder.is_dir():
                yield folder


def _processes(root: Path) -> Iterator[tuple[int, Path | None]]:
    """Give every process of Asterisk, with the configuration file that it was started with."""
    for number, folder in enumerate((root / "proc").glob("[0-9]*")):
        if number > PROCESSES_LIMIT:
            return
        if read_plain(folder / "comm", 64) == b"asterisk\n" and _is_in_our_network(folder):
            words = (read_plain(folder / "cmdline", 65_536) or b"").split(b"\0")
            named = [words[at + 1] for at, word in enumerate(words[:-1]) if word == b"-C"]
            path = Path(named[0].decode("utf-8", "surrogateescape")) if named else None
            if b"-rx" not in words and b"-r" not in words:
                yield int(folder.name), path if path and path.is_absolute() else None


def _is_in_our_network(process: Path) -> bool:
    """Tell whether a process has the network of ours: one in a container with its own is not guarded from here."""
    try:
        return (process / "ns/net").readlink() == (process.parent / "self/ns/net").readlink()
    except OSError:
        return True


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
