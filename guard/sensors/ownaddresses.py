"""This host's own addresses, which nobody may ban, and which come and go with its lines.

The kernel tells when an address has come or gone (rtnetlink(7), RTM_NEWADDR and RTM_DELADDR); which they are is read
whole each time. Should it not tell, they are read every REFRESH seconds all the same.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from guard.core.address import is_special, parse_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guard.core.address import Source

log = logging.getLogger("astguard.names")

REFRESH = 60.0
"""Seconds between two looks when the kernel has told nothing."""
SETTLE = 0.2
"""Seconds from news to the look: a line that comes up brings several addresses."""
_GROUPS = 0x10 | 0x100  # linux/rtnetlink.h: RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_NETLINK_ROUTE = 0
_DATAGRAM = 1 << 16


async def own_addresses() -> frozenset[Source]:
    """Return the addresses of this host's interfaces in this network namespace, from the kernel."""
    return await asyncio.to_thread(_own_addresses)


async def watch_own(on_change: Callable[[frozenset[Source]], None]) -> None:
    """Tell this host's addresses whenever they may have changed, until cancelled; the last ones stay on a fault."""
    failing = False
    news = asyncio.Event()
    news.set()  # something may have come or gone since the start
    with _listening(news.set):
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH):
                    await news.wait()
                    await asyncio.sleep(SETTLE)
            news.clear()
            try:
                found = await own_addresses()
            except Exception as error:  # noqa: BLE001 - pyroute2's errors are of no common kind, and the next try may do
                if not failing:
                    log.warning("this host's own addresses cannot be read (%s); the last ones stay allowed", error)
                failing = True
            else:
                failing = False
                on_change(found)


@contextmanager
def _listening(on_news: Callable[[], None]) -> Iterator[None]:
    """Call back when the kernel tells of addresses; what it tells is not read, only that it did."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE) as listener:
        try:
            listener.bind((0, _GROUPS))
        except OSError as error:
            log.warning("the kernel tells nothing of addresses (%s); they are read every %.0f s", error, REFRESH)

        def heard() -> None:
            with suppress(OSError):  # a queue that ran over is news too
                listener.recv(_DATAGRAM)
            on_news()

        loop.add_reader(listener, heard)
        try:
            yield
        finally:
            loop.remove_reader(listener)


def _own_addresses() -> frozenset[Source]:
    # In a thread: pyroute2 0.9 runs an event loop of its own inside every call.
    from pyroute2 import IPRoute  # noqa: PLC0415 - heavy, and only the daemon needs it

    with IPRoute() as route:
        found = {message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS") for message in route.get_addr()}
    return frozenset(source for text in found if text and not is_special(source := parse_host(text)))
