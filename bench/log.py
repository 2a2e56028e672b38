"""How many lines of the log `messages` a second does the daemon read, and how far is it behind AMI in a flood?

Both sensors are on, and both tell of the same wrong answers, as Asterisk does: each event is written to the AMI socket
and as a line to `messages`, as fast as the daemon takes them. The clock runs until its status has counted the last
line. Behind AMI is the time from the ban that the last events on AMI bring until then.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.ami import wire
from bench.figure import Figure, interleave
from bench.flood import address, event
from bench.guarded import Monitor, guarded
from tests.netns import namespace

ATTACKERS = 1_000
LAST = 60_000  # the number of one attacker more, of whom AMI alone tells
ENOUGH = 8
FLOOD_RATE = 5_000  # events a second: one host can make Asterisk raise so many
LINE = (
    "[{at:%Y-%m-%d %H:%M:%S}.{ms:03}] NOTICE[23317] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from "
    "'\"{account}\" <sip:{account}@203.0.113.10>' failed for '{address}:5060' (callid: {session}) - "
    "Failed to authenticate\n"
)


def line(number, session, at):
    """Write one wrong answer as `messages` has it."""
    return LINE.format(
        at=at, ms=at.microsecond // 1_000, account=10_000 + number, session=session, address=address(number)
    )


def answers(each):
    """Give bunches of wrong answers, as events and as the lines that tell of the same."""
    for turn in range(each):
        at = datetime.now(UTC)
        sessions = [(number, f"{number}-{turn}-{at.microsecond}") for number in range(ATTACKERS)]
        yield b"".join(event(*one) for one in sessions), "".join(line(*one, at) for one in sessions)


def read(turns, *, paced):
    """Write so many turns of all attackers; return lines, seconds, seconds of a processor, and seconds behind AMI."""
    with namespace("bench") as place, place.inside(), tempfile.TemporaryDirectory(prefix="astguard-") as made:
        folder, monitor = Path(made), Monitor()
        log = folder / "messages"
        log.write_text("")
        with wire() as ami, guarded(
            folder, ami.port, ami.secret, logs=f"messages: {log}, security: no, timezone: UTC"
        ) as guard, log.open("a") as out:  # fmt: skip
            ami.logged_in()
            time.sleep(0.5)
            cpu, started = guard.cpu(), time.perf_counter()
            for events, lines in answers(turns):
                ami.send(events)
                out.write(lines)
                out.flush()
                if paced:
                    time.sleep(ATTACKERS / FLOOD_RATE)
            ami.send(b"".join(event(LAST, f"last-{at}") for at in range(ENOUGH)))
            monitor.wait(address(LAST))
            told = time.perf_counter()
            count = guard.counts("log.lines", turns * ATTACKERS)
            ended = time.perf_counter()
            cpu = guard.cpu() - cpu
        monitor.close()
    return count, ended - started, cpu, ended - told


def measure(*, quick):
    found = interleave(
        2 if quick else 5,
        {
            "fast": lambda: read(40 if quick else 150, paced=False),
            "paced": lambda: read(20 if quick else 100, paced=True),
        },
    )
    rates = tuple(lines / seconds for lines, seconds, *_ in found["fast"])
    both = tuple(lines * 2 / cpu for lines, _, cpu, _ in found["fast"])
    yield Figure("lines a second, AMI tells of the same", rates, "/s", 60_000, 120_000, more=True)
    yield Figure("  lines and events for each second of its processor", both, "/s", more=True)
    behind = tuple(run[3] for run in found["paced"])
    yield Figure(f"behind AMI at {FLOOD_RATE:,} events a second", behind, "s", must=1)
