"""The Asterisk that is attacked: the same for all tools, with the logs that each of them wants.

`messages.log` is the name that Asterisk's own example and Debian's fail2ban agree on; the security log is off in the
example, and CrowdSec hears nothing without it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager

from tests.asterisk.image import asterisk_root
from tests.asterisk.network import crowded
from tests.asterisk.pbx import CONFIGURATION, Asterisk

ATTACKERS, PHONES = "198.18.0.0/16", "192.0.2.0/24"
SECRET = re.search(r"^secret=(.+)$", CONFIGURATION["manager.conf"], re.MULTILINE)[1]
MODULES = """
    res_pjproject res_sorcery_config res_sorcery_memory res_sorcery_astdb res_timing_timerfd
    res_pjsip res_pjsip_authenticator_digest res_pjsip_endpoint_identifier_user res_pjsip_registrar res_security_log
"""
PJSIP = """\
[udp]
type=transport
protocol=udp
bind=0.0.0.0:5060

[tcp]
type=transport
protocol=tcp
bind=0.0.0.0:5060
"""
ACCOUNT = """
[{0}]
type=endpoint
auth={0}
aors={0}

[{0}]
type=auth
auth_type=userpass
username={0}
password=right-{0}

[{0}]
type=aor
max_contacts=1
remove_existing=yes
"""
AS_PACKAGED = "-f -p"
"""As Debian's unit starts it: realtime."""
FILES = {
    "pjsip.conf": PJSIP + "".join(ACCOUNT.format(name) for name in range(100, 200)),
    "logger.conf": "[logfiles]\nmessages.log => notice,warning,error\nsecurity.log => security\n",
}


class Pbx:
    """A running Asterisk, its hosts, and its logs."""

    def __init__(self, host, attackers, folder):
        self.host, self._attackers, self.folder = host, attackers, folder
        self.logs = folder / "asterisk/log"
        self.messages, self.security = self.logs / "messages.log", self.logs / "security.log"

    @property
    def pid(self):
        """Give the process, as Asterisk itself wrote it down."""
        return int((self.folder / "asterisk/run/asterisk.pid").read_text())

    @staticmethod
    def account(number):
        """Give an attacker's own account: guards may notice that many guess at one."""
        return str(101 + number)

    def attacker(self, number):
        """Give an attacker in a network of its own: guards ban a network of which many addresses attack."""
        source = self._attackers.at(f"198.18.{number}.7")
        # Debian's svcrack does not bind where it is told to: what it would take by itself has to be the right address.
        gateway = source.run("ip", "-4", "route", "show", "default", check=True).stdout.split(" src ")[0].split()
        source.run("ip", "route", "replace", *gateway, "src", source.address, check=True)
        return source


@contextmanager
def attacked(folder):
    """Put a fresh Asterisk and its attackers up, and take them down again."""
    root = asterisk_root()
    with crowded(attacker=(ATTACKERS,), phone=(PHONES,)) as (host, attackers, phone):
        asterisk = Asterisk(
            root, host, phone.at("192.0.2.21"), folder / "asterisk", changes=FILES, modules=MODULES, options=AS_PACKAGED
        )
        try:
            asterisk.start()
            yield Pbx(host, attackers, folder)
        finally:
            asterisk.stop()
