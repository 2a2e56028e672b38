"""fail2ban as its package sets it up: the stock asterisk jail switched on, nothing else said.

It reads messages.log (pyinotify), allows ten lines in ten minutes and closes 5060 and 5061 by its nftables action.
"""

from __future__ import annotations

from bench.race.offences import at_notice
from bench.race.overlay import OVERLAY
from bench.race.tool import Tool

MAXRETRY = 10
JAILS = "[sshd]\nenabled = false\n\n[asterisk]\nenabled = true\n"
START = OVERLAY + "exec chroot root fail2ban-server -xf start\n"


class Fail2ban(Tool):
    """fail2ban-server in the PBX's namespace."""

    name = "fail2ban"
    logs = "upper/var/log/fail2ban.log"

    def set_up(self):
        """Switch the jail on."""
        settings = self.folder / "upper/etc/fail2ban/jail.d"
        settings.mkdir(parents=True)
        (settings / "race.local").write_text(JAILS)

    def command(self):
        """Give what starts it."""
        return ["sh", "-c", START, "sh", self.folder, self.root, self.pbx.logs]

    def is_up(self):
        """Tell whether the jail says so."""
        return "Jail 'asterisk' started" in self.log()

    @staticmethod
    def deciding(messages, events):
        """Say with which offence its rule is full."""
        return at_notice(messages, events, MAXRETRY)
