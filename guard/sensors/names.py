"""The names on the allowlist, whose addresses change under us.

The system's resolver is asked in threads of our own: one that hangs holds up neither the event loop, nor other threads
of the daemon, nor its stop. What it does not say within PATIENCE seconds is no answer, and a name without an answer
keeps its last one for a day.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from guard.core.address import is_special, parse_host
from guard.core.units import DAY, Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from guard.core.address import Source

    Addresses = frozenset[Source]

log = logging.getLogger("astguard.names")

RECORDS_LIMIT = 16
"""Addresses taken from one name: a zone that answers with more may not open the door for a whole provider."""
REFRESH = 60.0
"""Seconds between look-ups."""
PATIENCE = 10.0
"""Seconds that a look-up may take: glibc gives each server 5 s by default, and asks the next one."""
AT_ONCE = 8
"""Look-ups at once, those that hang among them; the others wait their turn, for PATIENCE seconds at most."""
KEPT = DAY
"""How long the last good answer of a name stays."""


class Names:
    """Keeps looking names up; `on_change` gets a name's new addresses, none once it had no answer for a day.

    `known` has the addresses of each name, `failing` the names that were last asked for in vain, `cut` how many
    addresses were left out of the answers of those names that have more than 16.
    """

    def __init__(
        self,
        names: Iterable[str],
        on_change: Callable[[str, Addresses], None],
        *,
        mono_ns: Callable[[], int] = time.monotonic_ns,
        resolve: Callable[[str], Iterable[str]] | None = None,
    ) -> None:
        self.known: dict[str, Addresses] = dict.fromkeys(names, frozenset())
        self.failing: set[str] = set()
        self.cut: dict[str, int] = {}
        self._good_at: dict[str, Instant] = {}
        self._on_change = on_change
        self._mono_ns = mono_ns
        self._resolve = resolve or _resolve
        self._asked: set[str] = set()  # look-ups under way, and those that hang
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._anew = asyncio.Event()

    async def run(self) -> None:
        """Look all names up now, every REFRESH seconds and when they have changed, until cancelled."""
        while True:
            self._anew.clear()
            await self.refresh()
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH):
                    await self._anew.wait()

    def remember(self, name: str, addresses: Addresses) -> None:
        """Take an answer of an earlier life for the last good one, from now on for a day; nobody is told."""
        if name in self.known:
            self.known[name] = addresses
            self._good_at[name] = self._now()

    def change(self, names: Iterable[str]) -> None:
        """Keep to other names from now on; those that stay keep what is known of them. Nobody is told."""
        wanted = list(names)
        self.known = {name: self.known.get(name, frozenset()) for name in wanted}
        self.failing.intersection_update(wanted)
        for table in (self._good_at, self.cut):
            for name in table.keys() - self.known.keys():
                table.pop(name, None)
        self._anew.set()

    async def refresh(self) -> None:
        """Look every name up once."""
        await asyncio.gather(*map(self._refresh, list(self.known)))

    def unknown(self) -> list[str]:
        """Return the names that were asked for in vain and have no address."""
        return sorted(name for name in self.failing if not self.known[name])

    async def _refresh(self, name: str) -> None:
        try:
            found = await self._ask(name)
        except (OSError, UnicodeError, ValueError) as error:  # a timeout and a name that IDNA refuses among them
            found, reason = [], _reason(error)
        else:
            reason = "an answer without a usable address"
        if name not in self.known:  # the names have changed meanwhile
            return
        if found:
            self._take(name, found)
        else:
            self._miss(name, reason)

    def _take(self, name: str, found: list[Source]) -> None:
        self.failing.discard(name)
        self._good_at[name] = self._now()
        over = len(found) - RECORDS_LIMIT
        if over > 0 and name not in self.cut:
            log.warning("allow: %s has %d addresses; only the first %d are allowed", name, len(found), RECORDS_LIMIT)
        if over > 0:
            self.cut[name] = over
        else:
            self.cut.pop(name, None)
        self._change(name, frozenset(found[:RECORDS_LIMIT]))

    def _miss(self, name: str, reason: str) -> None:
        """Keep what a name had, for a day."""
        known = self.known[name]
        if name not in self.failing:
            stays = "its last ones stay allowed for a day" if known else "it protects nobody until it has one"
            log.warning("allow: %s has no address (%s); %s", name, reason, stays)
        self.failing.add(name)
        if known and self._now() - self._good_at[name] >= KEPT:
            log.warning(
                "allow: %s has had no address for a day (%s); its last ones are allowed no longer", name, reason
            )
            self._change(name, frozenset())

    def _change(self, name: str, addresses: Addresses) -> None:
        if addresses != self.known[name]:
            self.known[name] = addresses
            self._on_change(name, addresses)

    def _now(self) -> Instant:
        return Instant(self._mono_ns())

    async def _ask(self, name: str) -> list[Source]:
        """Ask the resolver, in a thread that nobody waits for; TimeoutError if there is no answer in time."""
        if name in self._asked:
            raise TimeoutError
        async with asyncio.timeout(PATIENCE):
            await self._turns.acquire()
            self._asked.add(name)
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[list[Source]] = loop.create_future()

            def done(found: list[Source] | None, error: Exception | None) -> None:
                self._asked.discard(name)
                self._turns.release()
                if answer.done():
                    pass  # it came too late
                elif error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(found or [])

            def ask() -> None:
                found, failed = None, None
                try:
                    found = _addresses(self._resolve(name))
                except Exception as error:  # noqa: BLE001 - it goes to whoever asked
                    failed = error
                with suppress(RuntimeError):  # the loop is closed: nobody asks any more
                    loop.call_soon_threadsafe(done, found, failed)

            threading.Thread(target=ask, name=f"look up {name}", daemon=True).start()
            return await answer


def _resolve(name: str) -> Iterable[str]:
    return [str(sockaddr[0]) for *_, sockaddr in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


def _addresses(texts: Iterable[str]) -> list[Source]:
    return sorted({source for source in map(parse_host, texts) if not is_special(source)})


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not error.strerror:
        return f"no answer within {PATIENCE:.0f} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
