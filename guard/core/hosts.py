"""What is remembered of a host between its events, so that most events cost one look-up.

A flood is many events of few hosts. Whether a host is exempt, and which ban is around it, is looked up once and holds
until the ledger or the allowlist changes; both count their changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.address import SITE_LENGTH, covers, is_special, site
from guard.core.generations import Generations
from guard.core.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.ledger import Ledger
    from guard.core.plain import Reader, Row, Value
    from guard.core.sourceset import SourceSet
    from guard.core.tally import Table

HOSTS_LIMIT = 131_072
"""Hosts remembered: some 300 bytes each, 40 MB when a spoofed flood fills it."""


class Host:
    """One host, or the site around it.

    `exempt` is the outcome of all its events if it is special or allowed, `cover` the strongest ban around it. Events
    are counted where `site` points to: in the host itself, or in the record of its /64.
    """

    __slots__ = ("cover", "events", "exempt", "site", "source", "version")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.site = self
        self.events = 0
        self.version = -1
        self.exempt: Outcome | None = None
        self.cover: Ban | None = None


class Hosts:
    """The hosts that were heard lately; the longest unheard are forgotten first."""

    def __init__(self, ledger: Ledger, allow: SourceSet, limit: int = HOSTS_LIMIT) -> None:
        self._ledger = ledger
        self._allow = allow
        self._hosts: Generations[Source, Host] = Generations(limit)

    @property
    def forgotten(self) -> int:
        """How many hosts were forgotten because the table was full."""
        return self._hosts.forgotten

    @property
    def table(self) -> Table:
        """How full the table is."""
        return self._hosts.table("hosts")

    def meet(self, source: Source) -> Host:
        """Return what is known of a host that has just been heard, and count that."""
        host = self.look(source)
        host.site.events += 1
        return host

    def look(self, source: Source) -> Host:
        """Return what is known of a host, without counting."""
        host = self._hosts.touch(source) or self._add(source)
        version = self._ledger.version + self._allow.version
        if host.version != version:
            self._look_up(host)
            host.version = version
        return host

    def dump(self) -> Iterator[Row]:
        """Give how many events were read of each host; those of a site are counted with it."""
        for source, host in self._hosts.items():
            yield source, host.events

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back how many events were read of a host."""
        source, events = row
        packed = read.source(source)
        host = self._hosts.touch(packed) or self._add(packed)
        host.events = read.whole(events)

    def events_of(self, source: Source, host: Source) -> int:
        """Tell how many events of a source were read, `host` being the one of it that is known best."""
        if source[1] >= SITE_LENGTH[source[0]]:
            known = self._hosts.get(host)
            return known.site.events if known else 0
        sites = {id(known.site): known.site for _, known in self._hosts.items() if covers(source, known.source)}
        return sum(known.events for known in sites.values())

    def _add(self, source: Source) -> Host:
        host = Host(source)
        around = site(source)
        if around != source:
            host.site = self._hosts.touch(around) or Host(around)
            self._hosts.put(around, host.site)
        self._hosts.put(source, host)
        return host

    def _look_up(self, host: Host) -> None:
        host.exempt = None
        if is_special(host.source):
            host.exempt = Outcome.SPECIAL
        elif self._allow.around(host.source):
            host.exempt = Outcome.ALLOWED
        host.cover = self._ledger.covering(host.source)
