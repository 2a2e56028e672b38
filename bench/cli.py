"""How soon does a command answer, from a cold start of its process, with 1,000 bans?

Each run is a process of its own, started with -IB as Debian's package does; runs of all commands take turns, so that a
busy machine is so for each. `python3 -c pass` is the floor that no command of Python can be below.
"""

from __future__ import annotations

import asyncio
import compileall
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figure import Figure, interleave
from guard.core.address import host, show
from tests.daemon.test_service import configure, guarding

TREE = Path(__file__).parents[1]
RUNS = 31
BANS = 1_000
FLOOR = "python3 -c pass"
TARGETS = {"astguard bans list": (80, 50), "astguard status": (80, 50)}
START = f"import sys; sys.path.insert(0, {str(TREE)!r}); from guard.cli import main; sys.exit(main(sys.argv[1:]))"
COMMANDS = ("bans list", "bans list -o json", "bans show {one}", "explain {one}", "status", "history", "--help")


def processes(socket, one):
    """Give the commands, each with its name."""
    yield FLOOR, [sys.executable, "-IB", "-c", "pass"]
    for words in COMMANDS:
        asked = words.format(one=one).split()
        yield f"astguard {words.split(' {')[0]}", [sys.executable, "-IB", "-c", START, *asked, "--socket", str(socket)]


def timed(commands, rounds):
    """Return the milliseconds of each run of each command; they take turns."""
    compileall.compile_dir(TREE / "guard", quiet=1)  # as a package does, and -B would not
    for name, command in commands.items():
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"{name} failed: {done.stderr.decode()}")

    def run(command):
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        return (time.perf_counter() - started) * 1e3

    return interleave(rounds, {name: lambda command=command: run(command) for name, command in commands.items()})


async def commands_timed(count, rounds):
    """Start a guard with so many bans, and time the commands."""
    with tempfile.TemporaryDirectory() as folder:
        config = configure(Path(folder), 1, more="allow: []\n")  # nothing listens there: the guard alone is asked
        async with guarding(config, until="astguard is up") as guard:
            sources = [host((10 << 24 | number).to_bytes(4, "big")) for number in range(1, count + 1)]
            await add(Path(folder) / "control.sock", sources)
            if len(await guard.ask("bans", "list")) != count:
                sys.exit("not all bans were made")
            commands = dict(processes(Path(folder) / "control.sock", show(sources[count // 2])))
            return await asyncio.to_thread(timed, commands, rounds)


async def add(socket, sources):
    """Ban by hand over the control socket, as programs do."""
    from aiohttp import ClientSession, UnixConnector  # noqa: PLC0415 - only here

    async with ClientSession(connector=UnixConnector(str(socket))) as session:
        for source in sources:
            async with session.post("http://localhost/v1/bans", json={"source": show(source), "for": "1d"}) as answer:
                answer.raise_for_status()


def measure(*, quick):
    found = asyncio.run(commands_timed(BANS, 7 if quick else RUNS))
    floor = found.pop(FLOOR)
    for name, times in found.items():
        must, aim = TARGETS.get(name, (None, None))
        yield Figure(name, times, "ms", must, aim, beside={FLOOR: floor})
