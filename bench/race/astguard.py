"""astguard as a user starts it: `astguard run`, the stock rules, nftables, AMI and the logs that Asterisk writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.race.offences import at_index
from bench.race.pbx import SECRET
from bench.race.wait import until
from guard.core.engine import Engine
from guard.core.units import Instant
from guard.replay.drive import Batch, Drive
from guard.settings.mistakes import Place
from guard.settings.rulefile import Folder, load_rules
from guard.wire.securitylog import SecurityLogReader
from tests.asterisk.network import end

TREE = Path(__file__).parents[2]
RULES = TREE / "rules"


class Astguard:
    """The daemon on the PBX."""

    name = "astguard"
    package = None

    def __init__(self, pbx, root=None):
        del root
        self._pbx, self._process = pbx, None
        self._folder = pbx.folder / self.name
        self._config = self._folder / "astguard.yaml"

    def start(self):
        """Start it; it is up when it has seen its own login come back."""
        self._folder.mkdir()
        settings = {
            "mode": "enforce",
            "ami": {"username": "astguard", "secret": SECRET},
            "logs": {"messages": str(self._pbx.messages), "security": str(self._pbx.security)},
            "firewall": {"backend": "nftables"},
            "rules": [str(RULES)],
            "control": str(self._folder / "control"),
            "state": str(self._folder / "state.db"),
        }
        self._config.write_text(json.dumps(settings))  # JSON is YAML
        self._config.chmod(0o600)
        with (self._folder / "log").open("w") as log:
            command = self._pbx.host.command(*self._words("run"))
            self._process = subprocess.Popen(command, cwd=TREE, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._is_up, self._process, self.log)

    def _is_up(self):
        done = self._pbx.host.run(*self._words("status", "-o", "json"), cwd=TREE, check=False)
        link = json.loads(done.stdout)["link"] if done.returncode == 0 else {}
        return link.get("state") == "up" and link.get("self_test") == "ok"

    def _words(self, *words):
        return [sys.executable, "-m", "guard", *words, "--config", self._config]

    def stop(self):
        """Stop it."""
        if self._process is not None:
            end(self._process)

    def pids(self):
        """Give its one process."""
        return [self._process.pid]

    def log(self):
        """Give what it said."""
        return (self._folder / "log").read_text()

    @staticmethod
    def deciding(_messages, events):
        """Ask the engine: the events one by one, until it bans."""
        rules = load_rules((Folder(RULES, Place(str(RULES))),)).rules
        drive, reader, now, wall = Drive(Engine(rules)), SecurityLogReader(), None, 0
        for index, event in enumerate(events):
            for each in reader.feed(event.line.encode() + b"\n"):
                now = Instant(0 if now is None else now + max(each.at - wall, 0))
                wall = max(each.at, wall)
                drive.handle(Batch([each], now, wall))
            if drive.bans:
                return at_index(events, index)
        return None
