"""astguard as a user starts it: `astguard run`, the stock rules, nftables, AMI and the logs that Asterisk writes."""

from __future__ import annotations

import json
import sys

from bench.race.offences import at_index
from bench.race.pbx import SECRET
from bench.race.tool import TREE, Tool
from guard.core.engine import Engine
from guard.core.units import Instant
from guard.replay.drive import Batch, Drive
from guard.settings.mistakes import Place
from guard.settings.rulefile import Folder, load_rules
from guard.wire.securitylog import SecurityLogReader

RULES = TREE / "rules"


class Astguard(Tool):
    """The daemon on the PBX."""

    name = "astguard"

    def set_up(self):
        """Write its configuration."""
        settings = {
            "mode": "enforce",
            "ami": {"username": "astguard", "secret": SECRET},
            "logs": {"messages": str(self.pbx.messages), "security": str(self.pbx.security)},
            "firewall": {"backend": "nftables"},
            "rules": [str(RULES)],
            "control": str(self.folder / "control"),
            "state": str(self.folder / "state.db"),
        }
        self._config.write_text(json.dumps(settings))  # JSON is YAML
        self._config.chmod(0o600)

    def command(self):
        """Give what starts it."""
        return self._words("run")

    def is_up(self):
        """Tell whether it has seen its own login come back."""
        done = self.pbx.host.run(*self._words("status", "-o", "json"), cwd=TREE, check=False)
        link = json.loads(done.stdout)["link"] if done.returncode == 0 else {}
        return link.get("state") == "up" and link.get("self_test") == "ok"

    @property
    def _config(self):
        return self.folder / "astguard.yaml"

    def _words(self, *words):
        return [sys.executable, "-m", "guard", *words, "--config", self._config]

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
