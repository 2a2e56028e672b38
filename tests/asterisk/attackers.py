"""Attackers with tools of their own: SIPVicious, sipp, and a forger of senders."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.asterisk.image import cache_folder
from tests.asterisk.people import datagram
from tests.asterisk.sip import Session, Spelling, digest

if TYPE_CHECKING:
    from tests.asterisk.network import Host
    from tests.asterisk.person import Person

LIMIT = 60.0
"""Seconds that no tool may need; a banned one gives up by itself, or is ended."""


def tool(person: Person, program: Path | str, *words: str, seconds: float = LIMIT) -> str:
    """Run a tool on somebody's host to its end, or so many seconds, and give what it said."""
    assert Path(program).exists(), f"no {program}; script/test installs it"
    person.host.speak_from_here()
    command = person.host.command(program, *words)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
    return said.decode(errors="replace")


def sipvicious(person: Person, name: str, *words: str, port: int = 5060, seconds: float = LIMIT) -> str:
    """Run svmap, svwar or svcrack against the PBX."""
    program = cache_folder() / f"venv-tools/bin/sipvicious_{name}"
    return tool(person, program, "-p", str(port), *words, person.pbx.address, seconds=seconds)


def sipp(person: Person, calls: int, rate: int, seconds: float = LIMIT) -> str:
    """Flood the PBX with calls from an account that does not exist."""
    more = ["-sn", "uac", "-i", person.host.address, "-m", str(calls), "-r", str(rate), "-nostdin", "-timeout", "20"]
    return tool(person, "/usr/bin/sipp", *more, "-recv_timeout", "500", f"{person.pbx.address}:5060", seconds=seconds)


class Forger:
    """A blind sender of UDP with the addresses of others: it sees no answer, and makes up its nonces."""

    def __init__(self, host: Host, pbx: Host) -> None:
        self._pbx, self._dice = pbx.address, random.Random(7)
        with host.entered():
            self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def frame(self, victim: str, times: int, account: str = "101", every: float = 0.002) -> None:
        """Send wrong passwords, and requests for accounts that do not exist, as if they came from the victim."""
        spelling = Spelling(f"{victim}:5060", self._pbx)
        for turn in range(times):
            session = Session(f"{turn:x}-{self._dice.randrange(1 << 30):x}", "1")
            nonce = f"{int(time.time())}/{self._dice.randrange(1 << 60):032x}"
            session.challenge = {"realm": "asterisk", "nonce": nonce, "opaque": "1", "qop": "auth"}
            proof = digest(session, "REGISTER", f"sip:{self._pbx}", account, str(turn), "1")
            name = account if turn % 2 else f"{2000 + turn}"
            message = spelling.request(session, "REGISTER", name, authorization=proof if turn % 2 else "")
            data = datagram(victim, 5060, self._pbx, 5060, message.replace("{expires}", "60").encode())
            self._raw.sendto(data, (self._pbx, 0))
            time.sleep(every)

    def close(self) -> None:
        """Stop."""
        self._raw.close()
