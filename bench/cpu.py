"""What share of a core does the daemon take at a steady rate of events, each written by itself?

One by one is what costs: every event wakes it up. All come from hosts that are banned by then, as in an attack over
connections that stand. Everything is on, as in `throughput`. Beside it, in the same run, a bare asyncio reader.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager

from bench.figure import Figure, interleave
from bench.flood import event
from bench.guarded import working
from bench.machine import cpu_of

RATES = ((100, 3, 1.5), (1_000, 8, 4), (10_000, 35, 18))
HOSTS = 200
BARE = """
import asyncio, sys
class Reader(asyncio.Protocol):
    def data_received(self, data):
        data.count(b"\\r\\n\\r\\n")
    def connection_lost(self, _):
        asyncio.get_running_loop().stop()
async def main():
    await asyncio.get_running_loop().create_connection(Reader, "127.0.0.1", int(sys.argv[1]))
loop = asyncio.new_event_loop()
loop.create_task(main())
loop.run_forever()
"""


def paced(send, rate, seconds):
    """Write events one by one at this rate."""
    events = [event(number, f"{number:x}-{rate}") for number in range(HOSTS)]
    count = int(rate * seconds)
    started = time.perf_counter()
    for number in range(count):
        wait = started + number / rate - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        send(events[number % HOSTS])


@contextmanager
def astguard():
    """Run the daemon, with HOSTS banned; give what writes to it, and what tells its seconds of a processor."""
    with working() as (ami, guard):
        for number in range(HOSTS):
            ami.send(b"".join(event(number, f"{number}-{at}") for at in range(8)))
        time.sleep(1)
        yield ami.send, guard.cpu


@contextmanager
def bare():
    """Run the bare reader; give the same."""
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as server:
        reader = subprocess.Popen([sys.executable, "-c", BARE, str(server.getsockname()[1])])
        link, _ = server.accept()
        with link:
            time.sleep(0.3)
            yield link.sendall, lambda: cpu_of(reader.pid)
        reader.wait()


def share(run, rate, seconds):
    """Return the per cent of a core."""
    with run() as (send, cpu):
        before, started = cpu(), time.perf_counter()
        paced(send, rate, seconds)
        return (cpu() - before) / (time.perf_counter() - started) * 100


def measure(*, quick):
    seconds = 3 if quick else 15
    for rate, must, aim in RATES:
        found = interleave(
            2 if quick else 3,
            {
                "astguard": lambda rate=rate: share(astguard, rate, seconds),
                "bare": lambda rate=rate: share(bare, rate, seconds),
            },
        )
        what = f"{rate:,} events a second, one by one"
        yield Figure(what, found["astguard"], "%", must, aim, beside={"a bare asyncio reader": found["bare"]})
