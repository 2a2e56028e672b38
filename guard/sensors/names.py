"""Addresses that change under us: the host's own, and those behind the names on the allowlist."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from guard.core.address import is_special, parse_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from guard.core.address import Source

log = logging.getLogger("astguard.names")

RECORDS_LIMIT = 16
"""Addresses taken from one name: a zone that answers with more may not open the door for a whole provider."""
REFRESH = 60.0
"""Seconds between look-ups."""


async def own_addresses() -> frozenset[Source]:
    """Return the addresses of this host's interfaces in this network namespace, from the kernel."""
    return await asyncio.to_thread(_own_addresses)


async def watch_own(on_change: Callable[[frozenset[Source]], None]) -> None:
    """Tell this host's addresses every REFRESH seconds, until cancelled; if they cannot be read, the last ones stay."""
    failing = False
    while True:
        await asyncio.sleep(REFRESH)
        try:
            found = await own_addresses()
        except Exception as error:  # noqa: BLE001 - pyroute2's errors are of no common kind, and the next try may do
            if not failing:
                log.warning("this host's own addresses cannot be read (%s); the last ones stay allowed", error)
            failing = True
        else:
            failing = False
            on_change(found)


def _own_addresses() -> frozenset[Source]:
    # In a thread: pyroute2 0.9 runs an event loop of its own inside every call.
    from pyroute2 import IPRoute  # noqa: PLC0415 - heavy, and only the daemon needs it

    with IPRoute() as route:
        found = {message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS") for message in route.get_addr()}
    return frozenset(source for text in found if text and not is_special(source := parse_host(text)))


class Names:
    """Keeps looking names up; `on_change` gets a name's new addresses. The last good answer stays until a new one."""

    def __init__(self, names: Iterable[str], on_change: Callable[[str, frozenset[Source]], None]) -> None:
        self.known: dict[str, frozenset[Source]] = dict.fromkeys(names, frozenset())
        self.failing: set[str] = set()
        self._on_change = on_change

    async def run(self) -> None:
        """Look all names up now and every REFRESH seconds, until cancelled."""
        while self.known:
            await self.refresh()
            await asyncio.sleep(REFRESH)

    async def refresh(self) -> None:
        """Look every name up once; one that does not answer keeps what it had."""
        answers = await asyncio.gather(*map(_look_up, self.known), return_exceptions=True)
        for name, answer in zip(list(self.known), answers, strict=True):
            if isinstance(answer, BaseException) or not answer:
                if name not in self.failing:
                    stays = "its last ones stay allowed" if self.known[name] else "it protects nobody until it has one"
                    log.warning("allow: %s has no address (%s); %s", name, _reason(answer), stays)
                self.failing.add(name)
                continue
            self.failing.discard(name)
            if answer != self.known[name]:
                self.known[name] = answer
                self._on_change(name, answer)

    def unknown(self) -> list[str]:
        """Return the names that were asked for in vain and never had an address."""
        return sorted(name for name in self.failing if not self.known[name])


def _reason(answer: BaseException | frozenset[Source]) -> str:
    if isinstance(answer, OSError):
        return answer.strerror or str(answer)
    return str(answer) if isinstance(answer, BaseException) else "an empty answer"


async def _look_up(name: str) -> frozenset[Source]:
    answers = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    found = (parse_host(str(sockaddr[0])) for *_, sockaddr in answers)
    return frozenset(sorted(source for source in found if not is_special(source))[:RECORDS_LIMIT])
