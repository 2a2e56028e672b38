"""A PBX, a phone and an attacker, each on a host of its own, and astguard on the PBX as an administrator runs it.

with laboratory(folder) as lab:
    with lab.astguard() as guard, lab.attacker.line("udp") as line:
        line.guess("101", 500)
        guard.json("bans", "list")
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.asterisk.image import asterisk_root
from tests.asterisk.network import end, routed
from tests.asterisk.pbx import AMI_SECRET, Ami, Asterisk
from tests.asterisk.sip import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.asterisk.network import Host

TREE = Path(__file__).parents[2]
START_LIMIT = 30.0


@dataclass(frozen=True)
class Person:
    """Somebody who can call the PBX from a host."""

    host: Host
    pbx: Host

    @property
    def address(self) -> str:
        """Tell where the person sits."""
        return self.host.address

    def line(self, transport: str = "udp") -> Caller:
        """Open a line to the PBX: one socket, kept open."""
        return Caller(self.host, self.pbx, transport)

    def register(self, account: str = "100", password: str = "right-100", transport: str = "udp") -> bool | None:
        """Register on a line of its own, as a phone does that was just switched on."""
        with self.line(transport) as line:
            return line.register(account, password)

    def gets_through(self, transport: str) -> bool:
        """Tell whether the PBX answers at all."""
        try:
            return self.register(password="made up", transport=transport) is not None
        except OSError:  # not even a connection
            return False


class Guard:
    """astguard on the PBX: its daemon, and its command line."""

    def __init__(self, host: Host, folder: Path, allow: tuple[str, ...], ami: dict[str, object]) -> None:
        self._host = host
        self._log = folder / "astguard.log"
        self._config = folder / "astguard.yaml"
        self._process: subprocess.Popen[bytes] | None = None
        settings = {
            "mode": "enforce",
            "ami": {"host": "127.0.0.1", "username": "astguard", "secret": AMI_SECRET, **ami},
            "firewall": {"backend": "nftables"},
            "allow": list(allow),
            "rules": [str(TREE / "rules")],
            "control": str(folder / "astguard.sock"),
            "state": str(folder / "astguard.db"),
        }
        self._config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
        self._config.chmod(0o600)  # it holds the secret

    def start(self) -> None:
        """Start the daemon; it is up when it has seen its own login come back."""
        with self._log.open("a") as log:
            command = self._host.command(sys.executable, "-m", "guard", "run", "--config", self._config)
            process = subprocess.Popen(command, cwd=TREE, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._process = process
        eventually(self.is_up, START_LIMIT, unless=lambda: process.poll() is not None, about=self.log)

    def stop(self) -> None:
        """Stop the daemon as systemd does."""
        if self._process is not None:
            end(self._process)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the command line against this daemon."""
        command = [sys.executable, "-m", "guard", *words, "--config", self._config]
        return self._host.run(*command, cwd=TREE, check=False)

    def json(self, *words: str):
        """Run one command and read its JSON."""
        done = self.command(*words, "-o", "json")
        assert done.returncode == 0, f"astguard {' '.join(words)}: {done.stderr}\n{self.log()}"
        return json.loads(done.stdout)

    def kernel(self) -> str:
        """List astguard's table in the kernel, as nft itself sees it."""
        return self._host.run("nft", "list", "table", "inet", "astguard", check=True).stdout

    def log(self) -> str:
        """Give what the daemon has said."""
        return self._log.read_text()

    def is_up(self) -> bool:
        """Tell whether the daemon hears Asterisk, which its own login has shown."""
        done = self.command("status", "-o", "json")
        if done.returncode:
            return False
        link = json.loads(done.stdout)["link"]
        return link["state"] == "up" and link["self_test"] == "ok"


@dataclass(frozen=True)
class Lab:
    """The hosts and who sits there."""

    pbx: Host
    phone: Person
    attacker: Person
    folder: Path
    asterisk: Asterisk

    def restart_asterisk(self) -> None:
        """Stop Asterisk and start it again, as after an upgrade."""
        self.asterisk.stop()
        self.asterisk.start()

    @contextlib.contextmanager
    def ami(self) -> Iterator[Ami]:
        """Listen to Asterisk without any of astguard's code."""
        with contextlib.closing(Ami(self.pbx)) as ami:
            ami.wait_for(Message="Authentication accepted")
            yield ami

    @contextlib.contextmanager
    def astguard(self, *allow: str, **ami: object) -> Iterator[Guard]:
        """Run astguard with a state of its own; bans stay in the kernel when it stops, so they go with the lab."""
        folder = self.folder / f"astguard-{time.monotonic_ns()}"
        folder.mkdir()
        guard = Guard(self.pbx, folder, allow, ami)
        try:
            guard.start()
            yield guard
        finally:
            guard.stop()
            self.pbx.run("nft", "flush", "ruleset", check=True)  # of the namespace, which is the lab's alone


@contextlib.contextmanager
def laboratory(folder: Path) -> Iterator[Lab]:
    """Put everything up, wait until Asterisk answers, and take everything down again."""
    root = asterisk_root()
    with routed(pbx="203.0.113.10", phone="192.0.2.21", attacker="198.51.100.11") as (pbx, phone, attacker):
        asterisk = Asterisk(root, pbx, neighbour=phone, folder=folder)
        try:
            asterisk.start()
            yield Lab(pbx, Person(phone, pbx), Person(attacker, pbx), folder, asterisk)
        finally:
            asterisk.stop()


def eventually(
    question: Callable[[], object],
    seconds: float = 10.0,
    unless: Callable[[], bool] = lambda: False,
    about: Callable[[], str] = lambda: "",
) -> None:
    """Ask until the answer is yes; no answer in time, or one that can no longer come, is a failure."""
    deadline = time.monotonic() + seconds
    while not question():
        assert not unless(), f"it ended before its time:\n{about()}"
        assert time.monotonic() < deadline, f"nothing of the kind within {seconds:g} s:\n{about()}"
        time.sleep(0.05)
