"""CrowdSec as its packages set it up: agent, local API, asterisk collection, and the firewall bouncer on nftables.

It reads both logs; of these the collection knows the security log. Its buckets hold five, the sixth overflows. The
bouncer asks the local API every ten seconds, which is how the package comes.
"""

from __future__ import annotations

from pathlib import Path

from bench.race.offences import at_failure
from bench.race.overlay import OVERLAY
from bench.race.tool import Tool

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


class CrowdSec(Tool):
    """Agent and bouncer in the PBX's namespace."""

    name = "CrowdSec"
    logs = "upper/var/log/crowdsec*.log"

    def set_up(self):
        """Name the logs."""
        settings = self.folder / "upper/etc/crowdsec"
        settings.mkdir(parents=True)
        (settings / "acquis.yaml").write_text(LOGS)

    def command(self):
        """Give what starts both."""
        return ["sh", "-c", START, "sh", self.folder, self.root, self.pbx.logs]

    def is_up(self):
        """Tell whether the agent reads, and the bouncer has made its table and asked once."""
        tables = self.pbx.host.run("nft", "list", "tables", check=True).stdout
        log = self.log()
        return "ip crowdsec\n" in tables and "Starting processing data" in log and "Processing new and deleted" in log

    def pids(self):
        """Give the two processes, less the shell above them."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return list(map(int, children.read_text().split()))

    @staticmethod
    def deciding(_messages, events):
        """Say with which offence its rule is full."""
        return at_failure(events, CAPACITY + 1)
