"""fail2ban as its package sets it up: the stock asterisk jail switched on, nothing else said.

It reads messages.log (pyinotify), allows ten lines in ten minutes and closes 5060 and 5061 by its nftables action.
"""

from __future__ import annotations

import subprocess

from bench.race.offences import at_notice
from bench.race.overlay import OVERLAY
from bench.race.wait import until
from tests.asterisk.network import end

MAXRETRY = 10
JAILS = "[sshd]\nenabled = false\n\n[asterisk]\nenabled = true\n"
START = OVERLAY + "exec chroot root fail2ban-server -xf start\n"


class Fail2ban:
    """fail2ban-server in the PBX's namespace."""

    name = "fail2ban"
    package = "fail2ban"

    def __init__(self, pbx, root):
        self._pbx, self._root, self._process = pbx, root, None
        self._folder = pbx.folder / self.name

    def start(self):
        """Start it; it is up when the jail says so."""
        settings = self._folder / "upper/etc/fail2ban/jail.d"
        settings.mkdir(parents=True)
        (settings / "race.local").write_text(JAILS)
        command = self._pbx.host.command("sh", "-c", START, "sh", self._folder, self._root, self._pbx.logs)
        with (self._folder / "console").open("w") as console:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        until(lambda: "Jail 'asterisk' started" in self.log(), self._process, self.log)

    def stop(self):
        """Stop it."""
        if self._process is not None:
            end(self._process)

    def pids(self):
        """Give its one process; those it starts for the firewall end at once and count as its own."""
        return [self._process.pid]

    def log(self):
        """Give what it said."""
        files = (self._folder / "console", self._folder / "upper/var/log/fail2ban.log")
        return "".join(file.read_text() for file in files if file.exists())

    @staticmethod
    def deciding(messages, events):
        """Say with which offence its rule is full."""
        return at_notice(messages, events, MAXRETRY)
