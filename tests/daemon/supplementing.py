"""Supplements that a test writes and installs, in a folder that anybody may read: as root the child is nobody."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import textwrap
import time
from pathlib import Path

from guard.core.address import parse_source
from guard.core.ban import Ban, Change, Op
from guard.core.tally import Tally
from guard.core.units import SECOND, Instant
from guard.daemon.supplements import Supplements
from guard.settings.config import parse_config


class Site:
    """A folder of installed packages."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="site-"))
        self.path.chmod(0o755)

    def install(self, name, code):
        """Install a supplement; its code makes it with `make(options)`."""
        folder = self.path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[astguard.supplements]\n{name} = supplement_{name}:make\n")
        (self.path / f"supplement_{name}.py").write_text(textwrap.dedent(code))

    def remove(self):
        shutil.rmtree(self.path)


def ban(number=7, op=Op.ADD):
    source = parse_source(f"198.51.100.{number}")
    return Change(op, Ban(source=source, rule="guessing", since=Instant(0), until=Instant(600 * SECOND)))


def wanted(text):
    return parse_config(text.encode(), Path("/etc/x/astguard.yaml")).supplements


class Running:
    """Supplements in their process, and what was logged of them."""

    def __init__(self, caplog):
        self.tally = Tally()
        self.supplements = Supplements(self.tally, now=time.monotonic_ns, wall=time.time_ns)
        self._caplog = caplog

    def count(self, name):
        return self.tally.counts[f"supplements.{name}"]

    @property
    def log(self):
        return [record.getMessage() for record in self._caplog.records if record.name == "astguard"]

    @property
    def said(self):
        """What supplements have written."""
        lines = (line for line in self.log if line.startswith("supplements: "))
        return [line.removeprefix("supplements: ") for line in lines]

    async def until(self, true, seconds=15.0):
        """Wait until something is so; the loop goes on meanwhile."""
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.01)

    async def up(self, times=1):
        await self.until(lambda: sum("supplements are up" in line for line in self.log) >= times)
