"""A guard in the PBX's namespace: one process with its console, its start, its end, and what it has said."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.asterisk.network import end

TREE = Path(__file__).parents[2]
PATIENCE = 60.0


class NotUpError(Exception):
    """A tool did not come up; the message holds what it said."""


class Tool:
    """What all have in common; each says how it is set up, when it is up, and what decides."""

    name = ""

    def __init__(self, pbx, root=None):
        self.pbx, self.root, self.process = pbx, root, None
        self.folder = pbx.folder / self.name

    def start(self):
        """Set it up, start it, and wait until it is up; NotUpError when it has ended or the patience has."""
        self.folder.mkdir()
        self.set_up()
        command = self.pbx.host.command(*self.command())
        with (self.folder / "console").open("w") as console:
            self.process = subprocess.Popen(command, cwd=TREE, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        deadline = time.monotonic() + PATIENCE
        while not self.is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise NotUpError(self.log()[-3000:])
            time.sleep(0.1)

    def stop(self):
        """Stop it."""
        if self.process is not None:
            end(self.process)

    def pids(self):
        """Give its one process; those it starts and that end count as its own."""
        return [self.process.pid]

    def log(self):
        """Give what it said."""
        files = [self.folder / "console", *sorted(self.folder.glob(self.logs))]
        return "".join(file.read_text() for file in files if file.exists())

    logs = "log"
    """Where it writes beside its console."""
