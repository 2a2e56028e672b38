"""How many events a second does the whole daemon carry, with everything on, beside fail2ban and beside a bare reader?

The daemon runs as it is installed: strict grammar, stock rules, attempts, store and meters, bans in the kernel. 5,000
attackers answer wrongly over TCP in no order; the clock runs from the first byte written until the ban of one attacker
more, whose events come last, is in the kernel. Its status must then have counted every event and every ban.

fail2ban gets lines of the security log with the same fields, from as many addresses, none of which reaches its
`maxretry`, and then one that does: its bans, an `nft` each, would cost it minutes. The bare reader takes the same bytes
from TCP, counts the empty lines and does nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import fail2ban as peer
from bench.ami import wire
from bench.figure import Figure, interleave
from bench.flood import Flood, address, event
from bench.guarded import Monitor, guarded
from tests.netns import namespace

ATTACKERS = 5_000
EACH = 40
LAST = 60_000  # the number of one attacker more
ENOUGH = 8  # wrong answers that surely ban him
LINES_EACH = peer.MAXRETRY - 1
BARE = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as link:
    wanted, seen, rest = int(sys.argv[2]), 0, b""
    while seen < wanted:
        rest += link.recv(262144)
        seen += rest.count(b"\\r\\n\\r\\n")
        rest = rest[-3:]
"""


def astguard(passes=1, attackers=ATTACKERS, each=EACH):
    """Run the daemon through the flood; return events, seconds, seconds of a processor, and the megabytes then."""
    flood = Flood(attackers, each)
    with namespace("bench") as place, place.inside(), tempfile.TemporaryDirectory(prefix="astguard-") as folder:
        monitor = Monitor()
        with wire() as ami, guarded(Path(folder), ami.port, ami.secret) as guard:
            ami.logged_in()
            time.sleep(0.3)  # its start is over
            cpu, started = guard.cpu(), time.perf_counter()
            for _ in range(passes):
                for piece in flood.pieces():
                    ami.send(piece)
            for number in range(ENOUGH):
                ami.send(event(LAST, f"last-{number}"))
            monitor.wait(address(LAST))
            seconds, cpu = time.perf_counter() - started, guard.cpu() - cpu
            guard.says(f"ban {address(LAST)}/32")
            check(guard.status(), flood.count * passes, attackers)
            memory = guard.memory()
        monitor.close()
        held = place.run("nft", "list", "set", "inet", "astguard", "all4_32").count("expires")
        assert held == attackers + 1, f"{held} of {attackers + 1} bans are in the kernel"
    return flood.count * passes, seconds, cpu, memory


def check(status, events, attackers):
    """Hold the status against what was sent: no event without its outcome, no ban forgotten."""
    counts = status["counts"]
    outcomes = sum(count for name, count in counts.items() if name.startswith("outcome."))
    assert counts["events"] == outcomes, f"{counts['events']} events have {outcomes} outcomes"
    assert counts["events"] >= events, f"{counts['events']} of {events} events were counted"
    assert not counts["tampered"], f"{counts['tampered']} blocks were torn"
    assert status["bans"] == attackers + 1, f"{status['bans']} of {attackers + 1} bans"


def fail2ban():
    """Run fail2ban through lines that ban nobody but the last; return lines and seconds."""
    with namespace("bench") as place, place.inside():
        monitor = Monitor()
        with peer.fail2ban(place) as server:
            lines = [peer.line(number, f"{number}-{at}") for at in range(LINES_EACH) for number in range(ATTACKERS)]
            lines += [peer.line(LAST, f"last-{at}") for at in range(peer.MAXRETRY)]
            started = time.perf_counter()
            server.write(lines)
            monitor.wait(address(LAST))
            seconds = time.perf_counter() - started
        monitor.close()
    return len(lines), seconds


def bare():
    """Have a loop read the same bytes that the daemon gets; return events and seconds."""
    import socket  # noqa: PLC0415

    flood = Flood(ATTACKERS, EACH)
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader = subprocess.Popen([sys.executable, "-c", BARE, str(server.getsockname()[1]), str(flood.count)])
        link, _ = server.accept()
        with link:
            started = time.perf_counter()
            for piece in flood.pieces():
                link.sendall(piece)
            reader.wait()
            seconds = time.perf_counter() - started
    assert reader.returncode == 0
    return flood.count, seconds


def measure(*, quick):
    name = peer.name()
    runs = interleave(2 if quick else 5, {"astguard": astguard, name: fail2ban, "bare": bare})
    rates = {who: tuple(run[0] / run[1] for run in found) for who, found in runs.items()}
    per_core = tuple(run[0] / run[2] for run in runs["astguard"])
    ours, its = rates["astguard"], rates[name]
    yield Figure(
        "events a second through TCP, 5,000 banned", ours, "/s", must=170_000, aim=350_000, more=True,
        beside={name: its, "bare reader": rates["bare"]},
    )  # fmt: skip
    yield Figure("  the same for each second of its processor", per_core, "/s", more=True)
    ratios = tuple(mine / other for mine, other in zip(ours, its, strict=True))
    yield Figure("  times what fail2ban reads", ratios, "x", must=17, aim=35, more=True)
