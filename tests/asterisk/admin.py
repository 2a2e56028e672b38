"""An administrator at the PBX: astguard where it lives on a PBX, /etc/asterisk and /etc/astguard and all, in a view of the
files that only his shell has and that is gone when he leaves."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.asterisk.guard import eventually
from tests.asterisk.network import end
from tests.asterisk.pbx import LOGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.asterisk.lab import Lab

TREE = Path(__file__).parents[2]

# What is mounted here is seen by him alone. Changes of /etc go into a folder of the test; the rest of it is empty.
VIEW = f"""
set -e
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" /etc
mount -t tmpfs none /var/lib
mount -t tmpfs none /var/log
mount -t tmpfs none /run
mkdir -p /etc/asterisk {LOGS} /run/astguard
rm -rf /etc/astguard
mount --bind "$2/etc" /etc/asterisk
mount --bind "$1/asterisk.conf" /etc/asterisk/asterisk.conf
mount --bind "$2/log" {LOGS}
echo ready > "$1/ready"
exec sleep infinity
"""
PLACES = f"""\
[directories]
astetcdir => /etc/asterisk
astmoddir => {{modules}}
astlogdir => {LOGS}
"""
PROGRAM = """\
#!/bin/sh
# Asterisk lives in a root tree of its own; its command line is asked for there.
shift 2
exec nsenter --target={process} --mount --net chroot {root} /usr/sbin/asterisk -C /lab/etc/asterisk.conf "$@"
"""


class Admin:
    """His shell."""

    python = sys.executable

    def __init__(self, lab: Lab, folder: Path, shell: subprocess.Popen[bytes]) -> None:
        self._lab, self._folder, self._shell = lab, folder, shell
        self.log = folder / "astguard.log"

    def run(self, *words: str | Path, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return subprocess.run(
            self._inside(*words), cwd=TREE, input=typed, check=False, capture_output=True, text=True, timeout=90
        )

    def astguard(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run astguard."""
        return self.run(sys.executable, "-m", "guard", *words)

    def json(self, *words: str):
        """Run astguard and read its JSON, whatever the exit code."""
        done = self.astguard(*words, "-o", "json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def findings(self) -> dict[str, list[dict]]:
        """Ask the doctor; his findings by check."""
        found: dict[str, list[dict]] = {}
        for finding in self.json("doctor"):
            found.setdefault(finding["check"], []).append(finding)
        return found

    def text(self, path: str) -> str:
        """Read a file as he sees it."""
        done = self.run("cat", path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file as he sees it."""
        assert self.run("tee", path, typed=text).returncode == 0

    @contextlib.contextmanager
    def guarding(self, sign: str = "self-test") -> Iterator[None]:
        """Let the daemon run, once its own login has come back; or once it is logged in (`link`), or answers (`there`)."""
        with self.log.open("a") as log:
            command = self._inside(sys.executable, "-m", "guard", "run")
            daemon = subprocess.Popen(command, cwd=TREE, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            eventually(lambda: self.is_up(sign), 30, lambda: daemon.poll() is not None, self.log.read_text)
            yield
        finally:
            end(daemon)
            self._lab.pbx.run("nft", "flush", "ruleset", check=True)

    def is_up(self, sign: str = "self-test") -> bool:
        """Tell how far the daemon has come."""
        done = self.astguard("status", "-o", "json")
        if done.returncode or sign == "there":
            return done.returncode == 0
        link = json.loads(done.stdout)["link"]
        return link["self_test"] == "ok" if sign == "self-test" else link["state"] == "up"

    def _inside(self, *words: str | Path) -> list[str | Path]:
        path = f"PATH={self._folder}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        enter = ["nsenter", f"--target={self._shell.pid}", "--mount", "--net", f"--wd={TREE}"]
        return [*enter, "setpriv", "--pdeathsig", "TERM", "env", path, *words]


@contextlib.contextmanager
def admin(lab: Lab, folder: Path) -> Iterator[Admin]:
    """Let him in."""
    for name in ("upper", "work", "bin"):
        (folder / name).mkdir(parents=True)
    process, root = lab.asterisk.process, lab.asterisk.root
    modules = next(path for path in root.glob("usr/lib/**/asterisk/modules") if path.is_dir())
    (folder / "asterisk.conf").write_text(PLACES.format(modules=modules))
    (folder / "bin/asterisk").write_text(PROGRAM.format(process=process, root=root))
    (folder / "bin/asterisk").chmod(0o755)
    command = lab.pbx.command("sh", "-c", VIEW, "sh", folder, lab.folder)
    with (folder / "said").open("w") as said:
        shell = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        eventually((folder / "ready").exists, 10, lambda: shell.poll() is not None, (folder / "said").read_text)
        yield Admin(lab, folder, shell)
    finally:
        end(shell)
