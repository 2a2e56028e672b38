"""astguard on the PBX, as an administrator runs it: a configuration file, `astguard run`, and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.asterisk.company import AMI_SECRET
from tests.asterisk.network import end
from tests.asterisk.pbx import LOGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.asterisk.network import Host

TREE = Path(__file__).parents[2]
START_LIMIT = 30.0

# What is mounted here is seen by the daemon alone: the PBX's logs stand where they do on a PBX.
SEES_LOGS = f'mount -t tmpfs none /var/log && mkdir {LOGS} && mount --bind "$1" {LOGS} && shift && exec "$@"'


class Guard:
    """The daemon, and its command line."""

    def __init__(
        self,
        host: Host,
        folder: Path,
        asterisk: Path,
        settings: Mapping[str, object],
        environment: Mapping[str, str],
    ) -> None:
        """`asterisk` is the folder with Asterisk's `etc` and `log`; `settings` go over the usual ones, key by key."""
        folder.mkdir()
        self._host, self._asterisk, self._folder = host, asterisk, folder
        self._log = folder / "astguard.log"
        self._config = folder / "astguard.yaml"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = ["env", *(f"{name}={value}" for name, value in environment.items())]
        usual = {
            "mode": "enforce",
            "ami": {"host": "127.0.0.1", "username": "astguard", "secret": AMI_SECRET},
            "logs": {"logger_conf": str(asterisk / "etc/logger.conf")},
            "firewall": {"backend": "nftables"},
            "rules": [str(TREE / "rules")],
            "control": str(folder / "astguard.sock"),
            "state": str(folder / "astguard.db"),
        }
        for key, value in settings.items():
            usual[key] = {**usual[key], **value} if isinstance(value, dict) and key in usual else value
        self._config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in usual.items()))
        self._config.chmod(0o600)  # it holds the secret

    def start(self, *, wait: bool = True) -> None:
        """Start the daemon; it is up when it has seen its own login come back."""
        command = [*self._environment, sys.executable, "-m", "guard", "run", "--config", self._config]
        inside = self._host.command("sh", "-c", SEES_LOGS, "sh", self._asterisk / "log", *command)
        sign = "link to Asterisk at" if wait else "astguard is up"
        with self._log.open("a") as log:
            before = self.log().count(sign)
            process = subprocess.Popen(inside, cwd=TREE, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._process = process

        def has_ended() -> bool:
            return process.poll() is not None

        def about() -> str:
            return f"exit code {process.poll()}\n{self.log()}"

        # Its log is read first: each question on the command line costs a third of a second.
        eventually(lambda: self.log().count(sign) > before, START_LIMIT, has_ended, about)
        eventually(self.is_up if wait else self.is_there, START_LIMIT, has_ended, about)

    def stop(self) -> None:
        """Stop the daemon as systemd does."""
        if self._process is not None:
            end(self._process)

    def kill(self) -> None:
        """End the daemon as the kernel does when memory runs out."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Remove all that it has stored."""
        for file in self._folder.glob("astguard.db*"):
            file.unlink()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the command line against this daemon."""
        command = [sys.executable, "-m", "guard", *words, "--config", self._config]
        return self._host.run(*command, cwd=TREE, check=False)

    def json(self, *words: str):
        """Run one command and read its JSON."""
        done = self.command(*words, "-o", "json")
        assert done.returncode == 0, f"astguard {' '.join(words)}: {done.stderr}\n{self.log()}"
        return json.loads(done.stdout)

    def bans(self) -> dict[str, dict]:
        """List the bans by source."""
        return {ban["source"]: ban for ban in self.json("bans", "list")}

    def kernel(self) -> str:
        """List astguard's table in the kernel, as nft itself sees it; nothing if there is none."""
        return self._host.run("nft", "list", "table", "inet", "astguard", check=False).stdout

    def log(self) -> str:
        """Give what the daemon has said."""
        return self._log.read_text()

    def says(self, *words: str, seconds: float = 10.0) -> None:
        """Wait until the daemon has said a line with all these words."""

        def said() -> bool:
            return any(all(word in line for word in words) for line in self.log().splitlines())

        eventually(said, seconds, about=lambda: f"{words} is not in:\n{self.log()}")

    def is_there(self) -> bool:
        """Tell whether the daemon answers."""
        return self.command("status", "-o", "json").returncode == 0

    def is_up(self) -> bool:
        """Tell whether the daemon hears Asterisk, which its own login has shown."""
        done = self.command("status", "-o", "json")
        if done.returncode:
            return False
        link = json.loads(done.stdout)["link"]
        return link["state"] == "up" and link["self_test"] == "ok"


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
