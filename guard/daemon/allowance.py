"""Keeps the allowlist true: what changes it, by whose word, and the timer for entries that end.

The configuration's entries are there from the start, its names are looked up all the time, this host's own addresses
come and go, and commands add and take back. Each change goes to the engine, which lifts the bans it touches, and to
the kernel; what a command says is kept in the store too.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from guard.core.address import is_special, parse_host, show, show_address, show_short
from guard.core.units import Duration, Instant, Wall
from guard.daemon.permits import OWN, Permits
from guard.daemon.wakeup import Wakeup
from guard.errors import ControlError
from guard.sensors.names import RECORDS_LIMIT, Names
from guard.wire.journal import MessageId, about

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping

    from guard.core.address import Source
    from guard.daemon.enforcer import Enforcer
    from guard.settings.config import Config
    from guard.store.records import Allowed
    from guard.wire.journal import About

log = logging.getLogger("astguard")

NAMES_NOTE = "names"
"""The store's key: a JSON object of what names were last, so that a start without a resolver knows them."""
NAMES_KEPT = 200
"""Names whose addresses are kept over a restart."""


def permits_of(config: Config, own: frozenset[Source]) -> Permits:
    """Return what is allowed before any name has been looked up."""
    permits = Permits()
    permits.configure((entry.source, str(entry.place)) for entry in config.allow)
    permits.replace(OWN, own)
    return permits


class Allowance:
    """Changes `permits`, and with them engine and kernel. `names` are those of the configuration."""

    def __init__(
        self, permits: Permits, enforcer: Enforcer, config: Config, *, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.permits = permits
        self._enforcer = enforcer
        self._places = _places(config)
        self._wakeup = Wakeup(self._expire, loop=loop, now=enforcer.now)
        self.names = Names(self._places, self._take_name)

    def restore(self, entries: Iterable[Allowed], note: str | None = None) -> list[Source]:
        """Take back, before the enforcer starts, what an earlier life allowed by command and by name; return whom.

        The time left is never more than the entry's own length, whatever the clock says. A note of names that cannot be
        read is none: they are looked up anyway.
        """
        now, wall = self._enforcer.now(), self._enforcer.wall()
        restored = []
        for source, until, at in entries:
            left = None if until is None else min(until - wall, until - at)
            if left is not None and left <= 0:
                continue
            try:
                self.permits.allow(source, None if left is None else Instant(now + left))
            except ControlError as error:
                log.warning("allow: %s is not allowed any more: %s", show(source), error)
                break
            restored.append(source)
        for name, found in _read_names(note).items():
            if name in self._places:
                self.names.remember(name, found)
                restored += self.permits.replace(self._places[name], found)[0]
        return restored

    def start(self) -> None:
        """Begin to end entries whose time is over."""
        self._wakeup.set(self.permits.deadline)

    def allow(self, source: Source, length: Duration | None) -> list[Source]:
        """Allow a source by command, for a time or for good; return whose bans that lifted.

        ControlError if commands have allowed too many.
        """
        now = self._enforcer.now()
        try:
            new = self.permits.allow(source, None if length is None else Instant(now + length))
        except ControlError:
            self._enforcer.engine.tally.add("allow.refused")
            raise
        keeper = self._enforcer.recorder.keeper
        if keeper is not None:
            keeper.allow(source, None if length is None else Wall(self._enforcer.wall() + length))
        self._wakeup.set(self.permits.deadline)
        log.info("allow %s origin=command", show(source), extra=about(MessageId.ALLOW, address=show_short(source)))
        return self._enforcer.allow({source}, ()) if new else []

    def disallow(self, source: Source) -> None:
        """Take back what a command allowed; NotFound if nobody allows it, ControlError if somebody else does too."""
        try:
            self.permits.remove(source)
        except ControlError:
            if not self.permits.origin(source):
                raise
            self._forget(source)  # if a command had allowed it too, that is over
            raise
        self._forget(source)
        log.info("disallow %s origin=command", show(source), extra=_disallow(source))
        self._enforcer.allow((), {source})
        self._wakeup.set(self.permits.deadline)

    def configure(self, config: Config) -> list[Source]:
        """Let another configuration say who is allowed, and return whose bans that lifted.

        Names that stay keep their addresses.
        """
        self._places = _places(config)
        self.names.change(self._places)
        entries = [(entry.source, str(entry.place)) for entry in config.allow]
        for name, found in self.names.known.items():
            entries += [(source, self._places[name]) for source in found]
        return self._change(*self.permits.configure(entries))

    def take_own(self, found: frozenset[Source]) -> None:
        """Take note of this host's own addresses."""
        self._change(*self.permits.replace(OWN, found))

    def stop(self) -> None:
        """Give up the timer."""
        self._wakeup.stop()

    def _take_name(self, name: str, found: frozenset[Source]) -> None:
        keeper = self._enforcer.recorder.keeper
        if keeper is not None:
            keeper.note(NAMES_NOTE, _write_names(self.names.known))
        self._change(*self.permits.replace(self._places[name], found))

    def _change(self, added: set[Source], gone: set[Source]) -> list[Source]:
        return self._enforcer.allow(added, gone) if added or gone else []

    def _forget(self, source: Source) -> None:
        keeper = self._enforcer.recorder.keeper
        if keeper is not None:
            keeper.disallow(source)

    def _expire(self, now: Instant) -> None:
        over, gone = self.permits.expire(now)
        for source in sorted(over):
            self._forget(source)
            stays = self.permits.origin(source)
            but = f", but it stays allowed by {stays}" if stays else ""
            log.info("disallow %s: its time is over%s", show(source), but, extra=_disallow(source))
        self._change(set(), gone)
        self._wakeup.set(self.permits.deadline)


def _write_names(known: Mapping[str, frozenset[Source]]) -> str:
    kept = list(known.items())[:NAMES_KEPT]
    return json.dumps({name: sorted(map(show_address, found)) for name, found in kept if found})


def _read_names(note: str | None) -> dict[str, frozenset[Source]]:
    """Read the note of names as anything from outside; what is no address is left out."""
    names: dict[str, frozenset[Source]] = {}
    try:
        for name, texts in json.loads(note or "{}").items():
            found = {source for source in map(parse_host, texts[:RECORDS_LIMIT]) if not is_special(source)}
            names[name] = frozenset(found)
    except (ValueError, TypeError, AttributeError, RecursionError):
        log.warning("the addresses of names in the store cannot be read; they count from the next answer on")
        return {}
    return names


def _disallow(source: Source) -> dict[str, About]:
    return about(MessageId.DISALLOW, address=show_short(source))


def _places(config: Config) -> dict[str, str]:
    """Return what an entry of a name is shown as, by name."""
    return {entry.name: f"{entry.place} ({entry.name})" for entry in config.allow_names}
