"""Fifty clients on the live stream of a running guard under a flood, and one of them does not read."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.daemon.following import following
from tests.daemon.linking import SECRET, run, until
from tests.daemon.test_service import configure, guarding
from tests.scripted_asterisk import ScriptedAsterisk

CLIENTS = 50
RATE = 5_000
"""Events a second."""
BATCH = 100
BEHIND = 5_000
"""Events that the clients of the test may be behind; a third of what may wait for one of them."""
WARM = 2_500
"""Events before the memory is looked at: tables, buffers and code are there by then."""
GROWTH = 32 * 1024 * 1024
"""Bytes that the guard may grow by. Its own tables were seen to take 12 MB more without any client, the buffers of fifty
sockets as much again; whether 20,000 events follow or 50,000 makes no difference."""


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


class Counter:
    """Counts the outcomes that a client is told, without looking into them: fifty clients are one process here."""

    def __init__(self, follower):
        self.count = 0
        self.last = b""
        self._rest = b""
        self._reader = follower.reader
        self.task = asyncio.create_task(self._read())

    async def _read(self):
        while data := await self._reader.read(1 << 18):
            whole, mark, self._rest = (self._rest + data).rpartition(b"\n\n")
            self.count += whole.count(b"event: outcome\n")
            self.last = whole[-400:] if mark else self.last


async def flood(pbx, count, counters):
    """Send so many failures of 200 addresses at the rate, or slower where this one process cannot read as fast."""
    began, behind = time.monotonic(), counters[0].count
    for start in range(0, count, BATCH):
        await until(lambda: start + behind - min(counter.count for counter in counters) < BEHIND)  # noqa: B023
        batch = b"".join(
            pbx.event(
                "ChallengeResponseFailed", account=f"{number % 7}", session=f"call-{number}",
                remote=f"IPV4/UDP/203.0.113.{number % 200 + 1}/5060",
                tail="Challenge: 1795354577/ddc01744\r\nResponse: a13697eb64d5\r\nExpectedResponse: ",
            )
            for number in range(start, start + BATCH)
        )  # fmt: skip
        await pbx.send(batch)
        await asyncio.sleep(began + (start + BATCH) / RATE - time.monotonic())


@pytest.mark.parametrize("count", [20_000, pytest.param(50_000, marks=pytest.mark.long)])
def test_fifty_clients_hear_all_of_a_flood_and_the_one_that_does_not_read_is_dropped(tmp_path, count):
    async def told():
        async with (
            ScriptedAsterisk(secret=SECRET) as pbx,
            guarding(configure(tmp_path, pbx.port)) as guard,
            AsyncExitStack() as stack,
        ):
            control = tmp_path / "control.sock"
            readers = [await stack.enter_async_context(following(control, "?kind=outcome")) for _ in range(CLIENTS - 1)]
            counters = [Counter(reader) for reader in readers]
            await flood(pbx, WARM, counters)
            await until(lambda: min(counter.count for counter in counters) == WARM)
            before = (await guard.ask("status"))["counts"]
            memory = resident(guard.process.pid)

            deaf = await stack.enter_async_context(following(control))
            deaf.writer.transport.pause_reading()
            await flood(pbx, count, counters)
            await until(lambda: all(counter.count >= WARM + count or counter.task.done() for counter in counters))

            counts = (await guard.ask("status"))["counts"]
            grown = resident(guard.process.pid) - memory
            print(f"{count} events to {CLIENTS} clients: grown by {grown / 1024:.0f} KiB")
            assert [counter.count for counter in counters] == [WARM + count] * (CLIENTS - 1)
            assert counts["events"] - before["events"] == count
            assert sum(counts[name] - before[name] for name in counts if name.startswith("outcome.")) == count
            assert counts["stream.dropped"] == 1
            assert grown < GROWTH

            assert (await guard.ask("reload"))["changed"] == []
            began = time.monotonic()
            assert await guard.stop() == 0
            assert time.monotonic() - began < 10
            await asyncio.gather(*(counter.task for counter in counters))
            for counter in counters:
                last = json.loads(counter.last.rstrip().rpartition(b"data: ")[2])
                assert last == {"kind": "end", "text": "astguard stops"}

    run(told())
