"""The newest fail2ban with so many bans in its database: from its start until it has restored them all.

Its tree is that of bench/quality. The jail is the stock one with the stock nftables action: an `nft` for each ban.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench.quality.image import peers_root, run, versions
from bench.restore.daemon import spent
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
    root = peers_root()
    name = f"fail2ban {versions(root)['fail2ban'].partition('-')[0]}"
    with tempfile.TemporaryDirectory(dir=root / "tmp") as folder, namespace("bench") as there:
        inside = Path("/tmp") / Path(folder).name
        settings = Path(folder) / "settings"
        shutil.copytree(root / "etc/fail2ban", settings)
        (settings / "fail2ban.local").write_text(f"[Definition]\ndbfile = {inside}/state.sqlite3\ndbpurgeage = 30d\n")
        (settings / "jail.local").write_text(
            f"[DEFAULT]\nbackend = polling\nbanaction = nftables-multiport\n[sshd]\nenabled = false\n"
            f"[asterisk]\nenabled = true\nbantime = 1d\nlogpath = {inside}/messages\n"
        )
        (Path(folder) / "messages").write_text("")
        (Path(folder) / "fill.py").write_text(FILL)
        run("fill its database", "chroot", root, "python3", inside / "fill.py", f"{inside}/state.sqlite3", str(count))
        started = time.perf_counter()
        server = there.start(
            "chroot", root, "fail2ban-server", "-c", f"{inside}/settings", "-s", f"{inside}/socket",
            "-p", f"{inside}/pid", "--logtarget", f"{inside}/log", "-xf", "start",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        log = Path(folder) / "log"
        while (done := log.read_text(errors="replace").count("] Restore Ban ") if log.exists() else 0) < count:
            if server.poll() is not None or time.perf_counter() - started > PATIENCE:
                raise SystemExit(
                    f"fail2ban restored {done} of {count}:\n{log.read_text()[-1000:] if log.exists() else ''}"
                )
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        pid = int((Path(folder) / "pid").read_text())
        status = Path(f"/proc/{pid}/status")
        memory = int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) / 1024
        cpu = spent(pid)
        there.end()
    return name, seconds, cpu, memory
