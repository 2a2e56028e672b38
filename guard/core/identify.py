"""How this Asterisk knows its phones: at once, or only by their answer.

Where endpoints are identified by auth_username, a good phone is challenged as `<unknown>` first, and weak attempts have
to wait for its success. Where nobody was ever seen to look unknown before he succeeded, waiting is of no use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.generations import Generations
from guard.core.units import DAY, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guard.core.address import Source
    from guard.core.plain import Reader, Row, Value
    from guard.core.tally import Table

PLAIN_ENOUGH = 10
"""Accounts that authenticated for the first time, none of them unknown first, that show that phones are known at once.
Later successes show nothing: a phone then sends by itself what it was asked for before."""
LATE_LASTS = Duration(30 * DAY)
NAMES_LIMIT = 50
"""Names under which one account may look unknown in a day. A gateway that calls under the caller's number has many, an
insider who clears his scan by his own successes has more."""
CLEARED_LIMIT = 32_768


class Identification:
    """What successes have shown."""

    def __init__(self) -> None:
        self._plain = 0
        self._late_until = Instant(0)
        self._names: Generations[tuple[Source, str], tuple[Instant, frozenset[str]]] = Generations(CLEARED_LIMIT)

    @property
    def forgotten(self) -> int:
        """How many accounts' names were forgotten because the table was full."""
        return self._names.forgotten

    @property
    def table(self) -> Table:
        """How full the table is."""
        return self._names.table("account_names")

    def is_late(self, now: Instant) -> bool:
        """Tell whether a phone may still look unknown first."""
        return self._plain < PLAIN_ENOUGH or now < self._late_until

    def dump(self) -> Iterator[Row]:
        """Give all that successes have shown."""
        yield "plain", self._plain, self._late_until
        for (site, account), (since, names) in self._names.items():
            yield "names", site, account, since, tuple(sorted(names))

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back what successes had shown."""
        match row:
            case ["plain", plain, until]:
                self._plain, self._late_until = read.whole(plain), read.end(until)
            case ["names", site, account, since, names]:
                key, known = (
                    (read.source(site), read.text(account)),
                    frozenset(map(read.text, read.many(names, NAMES_LIMIT))),
                )
                self._names.put(key, (read.instant(since), known))
            case _:
                raise ValueError("an unknown row of what successes have shown")

    def see_plain(self) -> None:
        """Take note of an account's first success, which did not look unknown before."""
        self._plain += 1

    def see_late(self, site: Source, account: str, name: str, now: Instant) -> bool:
        """Take note of a success that looked unknown first, as `name`; False if that is one name too many."""
        since, names = self._names.touch((site, account)) or (now, frozenset())
        if now - since >= DAY:
            since, names = now, frozenset()
        if name not in names and len(names) >= NAMES_LIMIT:
            return False
        self._names.put((site, account), (since, names | {name}))
        self._late_until = Instant(now + LATE_LASTS)
        return True
