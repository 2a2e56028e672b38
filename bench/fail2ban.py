"""The newest fail2ban beside astguard: the stock asterisk jail with the nftables action, in a bench's namespace.

Its tree is that of bench/race. It reads the security log, where the same events stand as on AMI.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.flood import address
from bench.machine import cpu_of, memory_of
from bench.race.image import guards_root, versions

MAXRETRY = 5
PATIENCE = 60
INSIDE = "/mnt"
_ENTER = f'mount --bind "$1" "$2{INSIDE}"; root=$2; shift 2; exec chroot "$root" "$@"'
LINE = (
    '[{at:%Y-%m-%d %H:%M:%S}.{at:%f}] SECURITY[1] res_security_log.c: SecurityEvent="ChallengeResponseFailed",'
    'EventTV="{at:%Y-%m-%dT%H:%M:%S}.123+0000",Severity="Error",Service="PJSIP",EventVersion="1",AccountID="{account}",'
    'SessionID="{session}",LocalAddress="IPV4/TCP/203.0.113.10/5060",RemoteAddress="IPV4/TCP/{address}/5060",'
    'Challenge="1795354577/ddc01744d5c6ba97ce924b484f8e6687",Response="a13697eb64d549a3367c5c300021bccb",'
    'ExpectedResponse=""\n'
)


def line(number, session):
    """Write one wrong answer of an attacker, as the security log has it now."""
    return LINE.format(at=datetime.now(UTC), account=10_000 + number, session=session, address=address(number))


def name():
    return f"fail2ban {versions(guards_root())['fail2ban'].partition('-')[0]}"


class Fail2ban:
    """One that runs."""

    def __init__(self, folder, process):
        self._folder = folder
        self._process = process
        self._messages = (folder / "messages").open("a")

    @property
    def pid(self):
        return int((self._folder / "pid").read_text())

    def write(self, lines):
        """Let Asterisk log these lines."""
        self._messages.writelines(lines)
        self._messages.flush()

    @property
    def log(self):
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def says(self, words):
        end = time.monotonic() + PATIENCE
        while words not in self.log:
            if self._process.poll() is not None or time.monotonic() > end:
                sys.exit(f"fail2ban does not say {words!r}: {self.log[-1_000:]}")
            time.sleep(0.02)

    def cpu(self):
        return cpu_of(self.pid)

    def memory(self):
        return memory_of(self.pid)


@contextmanager
def fail2ban(place, *, prepare=None, until="Jail 'asterisk' started", more=""):
    """Run it in this namespace until it says so; `prepare` may fill its folder before."""
    with tempfile.TemporaryDirectory(prefix="fail2ban-") as made:
        folder, root = Path(made), guards_root()
        settings = folder / "settings"
        shutil.copytree(root / "etc/fail2ban", settings)
        (settings / "fail2ban.local").write_text(f"[Definition]\ndbfile = {INSIDE}/state.sqlite3\ndbpurgeage = 30d\n")
        (settings / "jail.local").write_text(
            "[DEFAULT]\nbanaction = nftables-allports\n[sshd]\nenabled = false\n[asterisk]\nenabled = true\n"
            f"maxretry = {MAXRETRY}\nlogpath = {INSIDE}/messages\n{more}"
        )
        (folder / "messages").write_text("")
        if prepare:
            prepare(folder)
        server = place.start(
            *within(folder), "fail2ban-server", "-c", f"{INSIDE}/settings", "-s", f"{INSIDE}/socket",
            "-p", f"{INSIDE}/pid", "--logtarget", f"{INSIDE}/log", "-xf", "start",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        running = Fail2ban(folder, server)
        try:
            running.says(until)
            yield running
        finally:
            place.end()


def within(folder):
    """Give what runs a command in the tree, with this folder of ours in it and nothing written to the tree."""
    return "unshare", "--mount", "sh", "-c", _ENTER, "sh", folder, guards_root()
