"""A resolver that hangs for a minute holds up neither the guard's start, nor its answers, nor its stop."""

from __future__ import annotations

import asyncio
import sys

from tests.daemon.linking import SECRET
from tests.daemon.test_reload import wait
from tests.daemon.test_service import SVCRACK, TREE, Guard, configure
from tests.scripted_asterisk import ScriptedAsterisk

PROGRAM = """
import socket, sys, time
socket.getaddrinfo = lambda *_, **__: time.sleep(60)
from guard.cli import main
sys.exit(main(sys.argv[1:]))
"""
NAMES = ", ".join(f"trunk{number}.example" for number in range(40))


def test_the_guard_goes_on_and_stops_at_once_while_the_resolver_hangs(tmp_path):
    async def whole():
        async with ScriptedAsterisk(secret=SECRET) as pbx:
            config = configure(tmp_path, pbx.port, more=f"allow: [{NAMES}]\n")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, "run", "--config", str(config), cwd=TREE,
                stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            guard = Guard(process, config)
            await guard.says("link to Asterisk")
            await pbx.play(SVCRACK)
            await guard.says("WARNING ban")
            assert (await guard.ask("reload"))["changed"] == []
            began = asyncio.get_running_loop().time()
            assert await guard.stop() == 0
            assert asyncio.get_running_loop().time() - began < 20, "it waited for the resolver"

    wait(40, whole())
