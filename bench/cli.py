"""How soon does a command answer, from a cold start of its process, with 1,000 bans?

    script/bench cli [COUNT]          1000 bans if no number is named

Each run is a process of its own, started with -IB as Debian's package does; runs of all commands take turns, so that a
busy machine is so for each. `python3 -c pass` is the floor that no command of Python can be below, and `fail2ban-client
status` is asked if there is one. Issue 8 wants `bans list` in 50 ms and needs it in 80; nothing here judges that.
"""

from __future__ import annotations

import asyncio
import compileall
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from guard.core.address import host, show
from tests.daemon.test_service import configure, guarding

TREE = Path(__file__).parents[1]
RUNS = 31
START = f"import sys; sys.path.insert(0, {str(TREE)!r}); from guard.cli import main; sys.exit(main(sys.argv[1:]))"
COMMANDS = ("bans list", "bans list -o json", "bans show {one}", "explain {one}", "status", "history", "--help")


def processes(socket, one):
    """Give the commands, each with its name."""
    yield "python3 -c pass", [sys.executable, "-IB", "-c", "pass"]
    for words in COMMANDS:
        asked = words.format(one=one).split()
        yield f"astguard {words.split(' {')[0]}", [sys.executable, "-IB", "-c", START, *asked, "--socket", str(socket)]
    if shutil.which("fail2ban-client"):
        yield "fail2ban-client status", ["fail2ban-client", "status"]


def measure(commands):
    """Return the seconds of each run of each command, by the wall and of the processor; they take turns."""
    compileall.compile_dir(TREE / "guard", quiet=1)  # as a package does, and -B would not
    times = {name: [] for name, _ in commands}
    for name, command in commands:
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode and not name.startswith("fail2ban"):
            sys.exit(f"{name} failed: {done.stderr.decode()}")
    for _ in range(RUNS):
        for name, command in commands:
            started = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            times[name].append((time.perf_counter() - started, used.ru_utime + used.ru_stime))
    return times


async def main(count):
    with tempfile.TemporaryDirectory() as folder:
        config = configure(Path(folder), 1, more="allow: []\n")  # nothing listens there: the guard alone is asked
        async with guarding(config, until="astguard is up") as guard:
            sources = [host((10 << 24 | number).to_bytes(4, "big")) for number in range(1, count + 1)]
            await add(Path(folder) / "control.sock", sources)
            if len(await guard.ask("bans", "list")) != count:
                sys.exit("not all bans were made")
            found = await asyncio.to_thread(
                measure, list(processes(Path(folder) / "control.sock", show(sources[count // 2])))
            )
    print(f"{count} bans, Python {platform.python_version()}, {os.cpu_count()} cores, medians of {RUNS} cold starts")
    print(f"{'':28}     median       best  processor")
    for name, times in found.items():
        walls, used = zip(*times, strict=True)
        figures = (statistics.median(walls), min(walls), statistics.median(used))
        print(f"{name:28}  {'  '.join(f'{figure * 1e3:6.1f} ms' for figure in figures)}")


async def add(socket, sources):
    """Ban by hand over the control socket, as programs do."""
    from aiohttp import ClientSession, UnixConnector  # noqa: PLC0415 - only here

    async with ClientSession(connector=UnixConnector(str(socket))) as session:
        for source in sources:
            async with session.post("http://localhost/v1/bans", json={"source": show(source), "for": "1d"}) as answer:
                answer.raise_for_status()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
