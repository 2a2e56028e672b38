"""astguard as a judge: `astguard replay` with the stock rules, and an allow list that says what the label says."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from bench.quality.judged import Ban, Judged
from bench.quality.recordings import TREE

NAME = "astguard"
AT_ONCE = 2
BLUR = 0.000_999  # the report tells milliseconds


class ReplayError(Exception):
    """The replay of a recording failed; the message holds what it said."""


def judge(recordings):
    """Play all recordings; return {tool: {recording: Judged}}."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {NAME: dict(zip([each.name for each in recordings], pool.map(_judge, recordings), strict=True))}


def _judge(recording):
    files = [path for path in (*recording.ami, recording.messages, recording.security) if path]
    with tempfile.TemporaryDirectory(prefix="astguard-") as folder:
        config = Path(folder) / "astguard.yaml"
        config.write_text(json.dumps({"rules": [str(TREE / "rules")], "allow": list(recording.allow)}))  # JSON is YAML
        report = _replay(config, files)
    bans = tuple(
        Ban(
            ban["source"].removesuffix("/32").removesuffix("/128"),
            datetime.fromisoformat(ban["at"]).timestamp(),
            ban["rule"],
            all_ports=ban["scope"] == "all",
            slow=ban["scope"] == "slow",
        )
        for ban in report["bans"]
    )
    return Judged(bans, tuple(report["alarms"]), blur=BLUR)


def _replay(config, files):
    command = [sys.executable, "-m", "guard", "replay", "-o", "json", "--config", config]
    done = subprocess.run([*command, *files], cwd=TREE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReplayError(f"astguard replay {' '.join(map(str, files))}:\n{done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)
