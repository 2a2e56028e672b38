"""CrowdSec as its packages set it up: agent, local API, asterisk collection, and the firewall bouncer on nftables.

It reads both logs; of these the collection knows the security log. Its buckets hold five, the sixth overflows. The
bouncer asks the local API every ten seconds, which is how the package comes.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.race.offences import at_failure
from bench.race.overlay import OVERLAY
from bench.race.wait import until
from tests.asterisk.network import end

CAPACITY = 5
LOGS = "filenames:\n  - /var/log/asterisk/messages.log\n  - /var/log/asterisk/security.log\nlabels:\n  type: asterisk\n"
BOUNCER = "/etc/crowdsec/bouncers/crowdsec-firewall-bouncer.yaml"
# One shell is the parent of both, and its end is theirs.
START = OVERLAY + (
    "chroot root crowdsec -c /etc/crowdsec/config.yaml & agent=$!\n"
    "trap 'kill $agent ${bouncer:-}; wait; exit 0' TERM\n"
    "until chroot root cscli lapi status > /dev/null 2>&1; do sleep 0.2; done\n"
    f"chroot root crowdsec-firewall-bouncer -c {BOUNCER} & bouncer=$!\n"
    "wait $bouncer; kill $agent\n"
)


class CrowdSec:
    """Agent and bouncer in the PBX's namespace."""

    name = "CrowdSec"
    package = "crowdsec"

    def __init__(self, pbx, root):
        self._pbx, self._root, self._process = pbx, root, None
        self._folder = pbx.folder / self.name

    def start(self):
        """Start both; they are up when the agent reads, and the bouncer has made its table and asked once."""
        settings = self._folder / "upper/etc/crowdsec"
        settings.mkdir(parents=True)
        (settings / "acquis.yaml").write_text(LOGS)
        command = self._pbx.host.command("sh", "-c", START, "sh", self._folder, self._root, self._pbx.logs)
        with (self._folder / "console").open("w") as console:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        until(self._is_up, self._process, self.log)

    def _is_up(self):
        tables = self._pbx.host.run("nft", "list", "tables", check=True).stdout
        log = self.log()
        return "ip crowdsec\n" in tables and "Starting processing data" in log and "Processing new and deleted" in log

    def stop(self):
        """Stop both."""
        if self._process is not None:
            end(self._process)

    def pids(self):
        """Give the two processes, less the shell above them."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return list(map(int, children.read_text().split()))

    def log(self):
        """Give what they said."""
        files = [self._folder / "console", *sorted((self._folder / "upper/var/log").glob("crowdsec*.log"))]
        return "".join(file.read_text() for file in files if file.exists())

    @staticmethod
    def deciding(_messages, events):
        """Say with which offence its rule is full."""
        return at_failure(events, CAPACITY + 1)
