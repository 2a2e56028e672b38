"""How long is it from the event that decides until the attacker is shut out, by the real clock?

For one attacker after the other the deciding event is written to the AMI socket, while his packets to the SIP port go
on. Two clocks stop: when the kernel's monitor has told of the element, and at the last of his packets that came
through. Once with nothing else to do, once with 5,000 events a second of others beside it. For fail2ban the line is
written to the security log instead, and the clock stops when the kernel tells of its element.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from bench import fail2ban as peer
from bench.ami import wire
from bench.figure import Figure, interleave, percentile
from bench.flood import address, event
from bench.guarded import TREE, Monitor, guarded
from tests.netns import link, namespace

THRESHOLD = 5
GAP = 0.02  # seconds before the deciding event: the daemon sleeps in between, as it does in life
OF_FAIL2BAN = 5
RATE, TICK = 5_000, 0.005
NOBODY = 50_000  # the first number of those whose events go on beside
PATIENCE = 10
SILENT = 20
"""Packets in a row that have to be lost."""
PBX = ("192.0.2.1", 5060)


@contextmanager
def background(ami, wanted):
    """Have a process of its own write RATE events a second into the same connection."""
    if not wanted:
        yield
        return
    descriptor = ami.fileno()
    command = [sys.executable, "-m", "bench.latency", str(descriptor)]
    process = subprocess.Popen(command, cwd=TREE, pass_fds=[descriptor])
    time.sleep(1)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def write_beside(descriptor):
    """Be that process: a bunch every TICK, each written at once, so that no other event stands inside one."""
    out = socket.socket(fileno=descriptor)
    number, due = 0, time.monotonic()
    while True:
        bunch = []
        for _ in range(int(RATE * TICK)):
            bunch.append(event(NOBODY + number % 200, f"beside-{number}"))
            number += 1
        left = memoryview(b"".join(bunch))
        while left:
            try:
                left = left[out.send(left) :]
            except BlockingIOError:
                select.select((), (out,), ())
        due += TICK
        time.sleep(max(due - time.monotonic(), 0))


class Caller:
    """The attackers' packets, over a veth pair."""

    def __init__(self, place, far):
        with place.inside():
            self._ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._ear.bind(PBX)
            self._ear.setblocking(False)
        with far.inside():
            self._mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._mouth.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT: may send from any address
        self._far = far

    def become(self, source):
        """Send from this address from now on."""
        self._mouth.close()
        with self._far.inside():
            self._mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._mouth.setsockopt(socket.SOL_IP, 19, 1)
        self._mouth.bind((source, 5060))
        self._mouth.connect(PBX)

    def passes(self):
        """Send a packet, and tell whether one came."""
        self._mouth.send(b"knock")
        try:
            return bool(self._ear.recv(64))
        except BlockingIOError:
            return False

    def close(self):
        self._ear.close()
        self._mouth.close()


@contextmanager
def wired():
    """Make the PBX's namespace, and another from which every address reaches it."""
    with namespace("bench") as place, namespace("far") as far:
        link(place, far, ["192.0.2.1/24"], ["192.0.2.66/24"])
        for where in (place, far):
            for name in ("all", "default", "eth0"):
                where.sysctl(f"net/ipv4/conf/{name}/rp_filter", 0)
        place.run("ip", "route", "add", "default", "via", "192.0.2.66")
        caller = Caller(place, far)
        try:
            yield place, caller
        finally:
            caller.close()


def astguard(bans, *, loaded):
    """Return, for so many bans, the milliseconds until the kernel told, and until the last packet came."""
    told, silent = [], []
    with wired() as (place, caller), place.inside(), tempfile.TemporaryDirectory(prefix="astguard-") as folder:
        monitor = Monitor()
        with wire() as ami, guarded(Path(folder), ami.port, ami.secret) as guard:
            ami.logged_in()
            with background(ami, loaded):
                time.sleep(0.5)
                for number in range(bans):
                    caller.become(address(number))
                    events = [event(number, f"{number}-{at}") for at in range(THRESHOLD)]
                    ami.send(b"".join(events[:-1]))
                    time.sleep(GAP)
                    monitor.told_of(address(number))
                    assert caller.passes(), "a packet was lost before the ban"
                    one, other = shut_out(ami, monitor, caller, events[-1], address(number))
                    told.append(one)
                    silent.append(other)
            assert guard.process.poll() is None
        monitor.close()
    return told, silent


def shut_out(ami, monitor, caller, deciding, source):
    """Write the event; give the milliseconds until the kernel told of it, and until the last packet came."""
    written = last = time.perf_counter()
    ami.send(deciding)
    told, end, silent = None, written + PATIENCE, 0
    while told is None or silent < SILENT:  # a packet may be late: one that does not come at once proves nothing
        if caller.passes():
            last, silent = time.perf_counter(), 0
        else:
            silent += 1
        if told is None and monitor.told_of(source):
            told = time.perf_counter()
        assert time.perf_counter() < end, f"{source} was not shut out, or the kernel did not tell of it"
    return (told - written) * 1e3, (last - written) * 1e3


def fail2ban():
    """Return the milliseconds until the kernel told, of a few bans."""
    told = []
    with namespace("bench") as place, place.inside():
        monitor = Monitor()
        with peer.fail2ban(place) as server:
            for number in range(OF_FAIL2BAN):
                server.write([peer.line(number, f"{number}-{at}") for at in range(peer.MAXRETRY - 1)])
                time.sleep(1.1 + number / 10)  # its polling has another phase each time
                written = time.perf_counter()
                server.write([peer.line(number, f"{number}-last")])
                monitor.wait(address(number))
                told.append((time.perf_counter() - written) * 1e3)
        monitor.close()
    return told


def measure(*, quick):
    bans, rounds = (50, 2) if quick else (100, 5)
    name = peer.name()
    runs = interleave(
        rounds,
        {
            "idle": lambda: astguard(bans, loaded=False),
            "loaded": lambda: astguard(bans, loaded=True),
            name: fail2ban,
        },
    )
    its = tuple(percentile(times, 0.5) for times in runs[name])
    targets = {
        ("idle", 0.5): (0.5, 0.25), ("idle", 0.99): (3, 1), ("loaded", 0.5): (None, None), ("loaded", 0.99): (20, None),
    }  # fmt: skip
    for (state, share), (must, aim) in targets.items():
        for which, until in enumerate(("the kernel told of it", "his last packet")):
            values = tuple(percentile(run[which], share) for run in runs[state])
            beside = {name: its} if share == 0.5 and which == 0 else {}
            what = f"{state}, p{share * 100:.0f}, until {until}"
            if which == 0:
                yield Figure(what, values, "ms", must, aim, beside=beside)
            else:
                yield Figure(what, values, "ms", note="a lower bound: he may share the daemon's core")
    ratios = tuple(other / percentile(run[0], 0.5) for run, other in zip(runs["idle"], its, strict=True))
    yield Figure("times sooner than fail2ban, idle, p50", ratios, "x", must=200, more=True)


if __name__ == "__main__":
    write_beside(int(sys.argv[1]))
