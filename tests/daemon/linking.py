"""What the daemon's tests share: a link on short timing, and waiting with a deadline."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager
from pathlib import Path

from guard.core.tally import Tally
from guard.sensors.amilink import AmiLink, Endpoint, Timing

PATIENCE = 60  # only what hangs may meet it, on a busy machine too
SECRET = "open-sesame-73"
CERTIFICATE = Path(__file__).with_name("localhost.pem")  # its key is of no use anywhere else
QUICK = Timing(connect=0.5, ping=0.1, self_test=0.2, lost=(0.01, 0.04), refused=(0.01, 0.04))


def run(story):
    """Run a story to its end; one that hangs fails."""

    async def within():
        async with asyncio.timeout(PATIENCE):
            return await story

    return asyncio.run(within())


async def until(true):
    """Wait until something is true; the deadline is the story's."""
    while not true():  # noqa: ASYNC110 - what is waited for has no events of its own
        await asyncio.sleep(0.002)


def server_tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_tls(*, trusting=True):
    return ssl.create_default_context(cafile=CERTIFICATE if trusting else None)


@asynccontextmanager
async def linked(
    port, on_events=None, *, secret=SECRET, username="astguard", tls=None, timing=QUICK, host="127.0.0.1", ends=False
):
    """Run a link to a port for as long as the block; `link.got` is the events it brought."""
    got = []
    tally = Tally()
    link = AmiLink(
        Endpoint(host, port, username, secret, tls),
        on_events or got.extend,
        tally,
        mono_ns=time.monotonic_ns,
        wall_ns=time.time_ns,
        timing=timing,
    )
    link.got, link.counts = got, tally.counts
    link.task = task = asyncio.create_task(link.run())
    try:
        yield link
        assert ends or not task.done(), "a link never ends by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
