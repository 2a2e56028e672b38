"""CrowdSec as a judge: its agent as packaged, in its own mode for recorded logs, where time is that of the lines.

Driven so: in the tree, `crowdsec -dsn file://... -type asterisk` with the asterisk collection of the packaged hub, a
local API beside it and no central one (inside_crowdsec.sh). It reads the file to its end; the line that it writes for
a bucket that overflows, `Ip ... performed ... at ...`, is a ban: both scenarios ask for remediation, and the packaged
profile bans every such source, on all ports.

The collection knows SECURITY lines only, so it is given the `security` log, which Asterisk's own logger.conf does not
write, beside `messages`: the best case for it. What the label allows is taken off its bans.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from bench.quality.files import covers, source
from bench.quality.image import run_inside
from bench.quality.judged import Ban, Judged
from bench.quality.logs import merged, messages, security

NAME = "CrowdSec"
INSIDE = Path(__file__).with_name("inside_crowdsec.sh")

KNOWN = ("InvalidAccountID", "ChallengeResponseFailed", "InvalidPassword")

_PERFORMED = re.compile(r'msg="Ip (\S+) performed \'crowdsecurity/(asterisk_\w+)\' .* at (\S+ \S+) \+0000 UTC"')


def judge(root, recordings):
    """Play all recordings; return {tool: {recording: Judged}}."""
    with tempfile.TemporaryDirectory(dir=root / "tmp") as folder:
        shutil.copyfile(INSIDE, Path(folder) / INSIDE.name)
        for number, recording in enumerate(recordings):
            logged = security(recording)
            if any(f'"{kind}"' in line for _, line in logged for kind in KNOWN):  # else it takes no line
                lines = (f"{line}\n" for _, line in merged(messages(recording), logged))
                (Path(folder) / f"{number}.log").write_text("".join(lines), encoding="utf-8")
        inside = Path("/tmp") / Path(folder).name
        run_inside(root, "run CrowdSec", "sh", inside / INSIDE.name, inside)
        return {
            NAME: {
                recording.name: _judged(recording, Path(folder) / f"{number}.log.out")
                for number, recording in enumerate(recordings)
            }
        }


def _judged(recording, said):
    text = said.read_text(errors="replace") if said.exists() else ""
    bans = (Ban(source(ip), _time(at), by, all_ports=True) for ip, by, at in _PERFORMED.findall(text))
    return Judged(tuple(ban for ban in bans if not any(covers(each, ban.source) for each in recording.allow)))


def _time(text):
    whole, _, part = text.partition(".")  # it leaves out zeros at the end: 14.97
    return datetime.fromisoformat(f"{whole}.{part:0<6}+00:00").timestamp()
