"""fail2ban as a judge: its own classes and its own configuration, with the clock of the recording.

Driven so: in the tree, its JailReader reads the stock jail and filter (`[asterisk]` of jail.conf, what that includes,
and filter.d/asterisk.conf), and its server is configured with what the reader says, all but the actions. Then each
line is given to the filter (`processLineAndAdd`, what its polling does) with its clock set to the line's time
(`MyTime`), as if the line were read when it was written. A ticket for the firewall is a ban. See inside_fail2ban.py.

The stock jail reads `messages` and allows 10; the usual variants allow 5, and read the security log too.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.quality.files import source
from bench.quality.image import PeersError, run_inside
from bench.quality.judged import Ban, Judged
from bench.quality.logs import merged, messages, security

INSIDE = Path(__file__).with_name("inside_fail2ban.py")


@dataclass(frozen=True)
class Fail2ban:
    """One way to set it up."""

    name: str
    maxretry: int | None = None  # None: as packaged
    both: bool = False

    def lines(self, recording):
        """Give the lines it reads."""
        return merged(messages(recording), security(recording)) if self.both else messages(recording)


VARIANTS = (
    Fail2ban("fail2ban"),
    Fail2ban("fail2ban, 5", maxretry=5),
    Fail2ban("fail2ban, both logs, 5", maxretry=5, both=True),
)


def judge(root, recordings):
    """Play all recordings through all variants; return {tool: {recording: Judged}}."""
    with tempfile.TemporaryDirectory(dir=root / "tmp") as folder:
        shutil.copyfile(INSIDE, Path(folder) / INSIDE.name)
        jobs = []
        for tool in VARIANTS:
            for recording in recordings:
                job = {"tool": tool.name, "recording": recording.name, "maxretry": tool.maxretry}
                jobs.append({**job, "allow": list(recording.allow), "lines": tool.lines(recording)})
        (Path(folder) / "jobs.json").write_text(json.dumps(jobs))
        inside = Path("/tmp") / Path(folder).name
        run_inside(root, "run fail2ban", "python3", inside / INSIDE.name, inside / "jobs.json", inside / "answer.json")
        answers = json.loads((Path(folder) / "answer.json").read_text())
    found = {}
    for answer in answers:
        if answer["errors"]:
            raise PeersError(f"fail2ban could not read {answer['errors']} lines of {answer['recording']}")
        bans = tuple(Ban(source(ip), at, "asterisk", all_ports=False) for ip, at in answer["bans"])
        found.setdefault(answer["tool"], {})[answer["recording"]] = Judged(bans)
    return found
