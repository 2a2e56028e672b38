"""The newest fail2ban with so many bans in its database: from its start until it has restored them all.

The jail is the stock one with the stock nftables action: an `nft` for each ban. Done is what its firewall set holds.
"""

from __future__ import annotations

import time

from bench import fail2ban as peer
from bench.quality.image import run
from tests.netns import namespace

PATIENCE = 1_800
FILL = """
import sys, time
sys.path.insert(0, "/usr/lib/python3/dist-packages")
from fail2ban.server.database import Fail2BanDb
from fail2ban.server.jail import Jail
from fail2ban.server.ticket import FailTicket
database = Fail2BanDb(sys.argv[1])
jail = Jail("asterisk", "polling", database)
database.addJail(jail)
now = int(time.time())
for number in range(int(sys.argv[2])):
    packed = (10 << 24) + number
    address = ".".join(str(packed >> shift & 255) for shift in (24, 16, 8, 0))
    ticket = FailTicket(address, now)
    ticket.setBanTime(86400)
    ticket.setAttempt(10)
    database.addBan(jail, ticket)
"""


def restored(count):
    """Return its name, the seconds until all are back, those of a processor, and its memory in MB."""

    def fill(folder):
        (folder / "fill.py").write_text(FILL)
        program, database = f"{peer.INSIDE}/fill.py", f"{peer.INSIDE}/state.sqlite3"
        run("fill its database", *peer.within(folder), "python3", program, database, str(count))

    with namespace("bench") as there, there.inside():
        started = time.perf_counter()
        with peer.fail2ban(there, prepare=fill, more="bantime = 1d\n") as server:
            filled = time.perf_counter()
            while (done := server.log.count("] Restore Ban ")) < count:
                if time.perf_counter() - started > PATIENCE:
                    raise SystemExit(f"fail2ban restored {done} of {count}:\n{server.log[-1000:]}")
                time.sleep(0.1)
            seconds = time.perf_counter() - filled
            if "ERROR" in server.log:
                raise SystemExit(f"fail2ban restored none of them:\n{server.log[-1000:]}")
            return peer.name(), seconds, server.cpu(), server.memory()
