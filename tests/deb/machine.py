"""A booted Debian with systemd as its first process, in namespaces of this host: made, used and always taken away.

    with namespace("pbx") as net, machine(image("bookworm", full=False), net) as box:
        box.run("systemctl", "is-active", "astguard")

systemd-nspawn needs no systemd on the host. Its network is a namespace of tests/netns.py, so that attackers can be wired
to it; everything else is thrown away with its folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

BOOT = 60
"""Seconds until a system must be up: it takes one, on a busy machine a few."""


class Machine:
    """A running system; `root` is its root folder as the host sees it."""

    def __init__(self, root, nspawn, leader):
        self.root = root
        self._nspawn = nspawn
        self._leader = leader

    def try_(self, *command, **options):
        """Run a command inside and give what it said and its exit code; no terminal, nothing on stdin."""
        enter = ["nsenter", "--target", str(self._leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"]  # fmt: skip
        return subprocess.run(
            [*enter, "--", *clean, *map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=180, **options,
        )  # fmt: skip

    def run(self, *command, **options):
        """Run a command that has to succeed; return what it printed."""
        done = self.try_(*command, **options)
        if done.returncode:
            said = f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            raise AssertionError(said + (self.journal() if command[0] == "systemctl" else ""))
        return done.stdout

    def sh(self, script):
        """Run a line of shell that has to succeed; return what it printed."""
        return self.run("sh", "-ec", script)

    def put(self, path, text, *, mode=0o644, owner=None):
        """Write a file inside; `owner` is USER:GROUP of the system inside."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        (file.write_bytes if isinstance(text, bytes) else file.write_text)(text)
        file.chmod(mode)
        if owner:
            self.run("chown", owner, path)

    def copy(self, file):
        """Copy a file of the host into a folder of its own; return its path inside."""
        shutil.copy(file, self.root / "srv")
        return f"/srv/{Path(file).name}"

    def until(self, true, what, seconds=15):
        """Ask until the answer is yes, and return it."""
        deadline = time.monotonic() + seconds
        while not (answer := true()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.journal()}"
            time.sleep(0.05)
        return answer

    def journal(self, unit="astguard", *options):
        """Give the last lines of a unit's journal."""
        return self.try_("journalctl", "--no-pager", "-o", "cat", "-n", "40", "-u", unit, *options).stdout

    def shows(self, what, unit="astguard"):
        """Give a property of a unit."""
        return self.run("systemctl", "show", "-p", what, "--value", unit).strip()


@contextmanager
def machine(image, network):
    """Unpack an image and boot it in a network namespace; at the end nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="astguard-box-"))
    root = folder / "root"
    root.mkdir()
    nspawn = None
    try:
        subprocess.run(["tar", "--extract", "--file", image, "--directory", root], check=True)
        (root / "etc/hostname").write_text("box\n")
        with (folder / "console").open("wb") as console:
            nspawn = subprocess.Popen(
                [
                    "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--machine={network.name}",
                    f"--directory={root}", "--boot", "--console=pipe", f"--network-namespace-path={network.path}",
                    "--capability=CAP_NET_ADMIN",
                ],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},  # systemd 257 knows no other
            )  # fmt: skip
        yield _boot(root, nspawn, folder / "console")
    finally:
        if nspawn is not None:
            _end(nspawn)
        shutil.rmtree(folder, ignore_errors=True)


def _boot(root, nspawn, console):
    deadline = time.monotonic() + BOOT
    box = None
    state = "nothing yet"
    while time.monotonic() < deadline and nspawn.poll() is None:
        if box is None and (leader := _leader(nspawn.pid)):
            box = Machine(root, nspawn, leader)
        if box is not None:
            state = box.try_("systemctl", "is-system-running").stdout.strip()
            if state == "running":
                return box
            assert state != "degraded", box.run("systemctl", "--failed", "--no-pager")
        time.sleep(0.05)
    raise AssertionError(
        f"no system is up after {BOOT} s, but {state!r}:\n{console.read_text(errors='replace')[-2000:]}"
    )


def _leader(pid):
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
    return None


def _end(nspawn):
    """End it as a power cut does; what was inside is gone anyway."""
    for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        if nspawn.poll() is None:
            leader = _leader(nspawn.pid)
            nspawn.send_signal(number)
            if number == signal.SIGKILL and leader:
                with suppress(ProcessLookupError):
                    os.kill(leader, number)
            with suppress(subprocess.TimeoutExpired):
                nspawn.wait(patience)
