"""What others do with the same bans: a bare loop over the messages that astguard sends, nft, and ipset."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

from bench.restore.daemon import FIRST, bans
from guard.core.ban import Change, Op
from guard.core.units import Instant
from guard.firewall import BATCH, Layout
from guard.firewall.nfsocket import NetlinkSocket
from guard.firewall.nftables import Nftables
from tests.netns import namespace

SIZE = 2_000_000


def bare_loop(count):
    """Send what astguard sends, packed before; return what it was, and the seconds."""
    now = Instant(time.time_ns())
    changes = [Change(Op.ADD, ban) for ban in bans(count, now)]
    kept = []
    with namespace("bench") as there, there.inside():
        firewall = Nftables()
        firewall.setup(Layout(set_size=SIZE))
        kernel = firewall._kernel  # noqa: SLF001 - to hear what is sent
        commit = kernel.commit

        def listen(messages):
            kept.append(list(messages))
            return commit(messages)

        kernel.commit = listen
        for start in range(0, count, BATCH):
            firewall.apply(changes[start : start + BATCH], now)
        firewall.close()
    with namespace("bench") as there, there.inside():
        firewall = Nftables()
        firewall.setup(Layout(set_size=SIZE))
        firewall.close()
        socket = NetlinkSocket()
        started, spent = time.perf_counter(), time.process_time()
        for messages in kept:
            assert socket.commit(messages) is None
        took = time.perf_counter() - started, time.process_time() - spent
        socket.close()
    return f"a bare loop: {len(kept)} transaction{'s' * (len(kept) > 1)}", *took


def nft(folder, count):
    """Let `nft -f` read them as `nft list` would have saved them."""
    file = folder / "saved.nft"
    with file.open("w") as out:
        out.write(f"table ip saved {{\n set bans {{ type ipv4_addr; flags timeout; size {SIZE};\n elements = {{ ")
        out.write(",\n".join(f"{_address(number)} timeout 1d" for number in range(count)))
        out.write(" }\n }\n}\n")
    return _timed("nft", "-f", file)


def ipset(folder, count):
    """Let `ipset restore` read them as `ipset save` would have written them."""
    file = folder / "saved.ipset"
    with file.open("w") as out:
        out.write(f"create bans hash:ip family inet timeout 86400 maxelem {SIZE}\n")
        out.writelines(f"add bans {_address(number)} timeout 86400\n" for number in range(count))
    return _timed("ipset", "restore", "-file", file)


def _address(number):
    packed = FIRST + number
    return ".".join(str(packed >> shift & 255) for shift in (24, 16, 8, 0))


def _timed(*command):
    """Run a command in a fresh namespace; return seconds, those of a processor, and its largest memory in MB."""
    with namespace("bench") as there, there.inside():
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        peak = 0
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, int(found[1]) if found else 0)  # ru_maxrss has that of the process it was forked from
            time.sleep(0.002)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        said = process.stderr.read()
        process.stderr.close()
    assert process.returncode == 0, said
    return seconds, usage.ru_utime + usage.ru_stime, peak / 1024 if peak else None
