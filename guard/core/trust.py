"""Trust: which accounts have authenticated with their password, and from where.

Only a PJSIP success with `UsingPassword: 1` counts: its nonce is bound to the address, so nobody else can have it.
Trust makes a source's threshold higher, ten times at the most, and never makes it immune, because attackers own
accounts too. It fades over a day, and it is what a ban would cut off: the blast radius.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.address import covers
from guard.core.generations import Generations
from guard.core.units import DAY, MINUTE, NEVER, SECOND, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard.core.address import Source
    from guard.core.tally import Table

LASTS = DAY
"""How long an account is trusted after its last success. Phones register anew every few minutes to hours."""
PER_ACCOUNT = 3
"""How much an account that has just authenticated adds to the factor for its site."""
MOST = 10
RECENT = MINUTE

SITES_LIMIT = 65_536
CHANGED_LIMIT = 65_536
"""Successes that wait to be kept; more than that in a minute are kept the next time the account succeeds."""
ACCOUNTS_LIMIT = 256
"""Accounts remembered of one site: an office; beyond, the longest silent is forgotten."""


class Home:
    """The accounts of one site, the longest silent first.

    Forged failures ask for them by the thousand, so the answers are worked out once a second.
    """

    __slots__ = ("_factor", "_trusted", "_until", "accounts", "newest")

    def __init__(self) -> None:
        self.accounts: dict[str, Instant] = {}
        self.newest = NEVER
        self._until = Instant(0)
        self._factor = 1.0
        self._trusted: Mapping[str, Instant] = {}

    def size(self) -> int:
        """Return what it takes in its table."""
        return max(1, len(self.accounts))

    def succeed(self, account: str, at: Instant) -> bool:
        """Note a success; tell whether it is the account's first."""
        before = self.accounts.pop(account, None)
        if before is None and len(self.accounts) >= ACCOUNTS_LIMIT:
            del self.accounts[next(iter(self.accounts))]
        self.accounts[account] = at if before is None else max(at, before)
        self.newest = max(self.newest, at)
        self._until = Instant(0)
        return before is None

    def factor(self, now: Instant) -> float:
        """Return by how much thresholds are higher here, 1 to 10."""
        self._work_out(now)
        return self._factor

    def trusted(self, now: Instant) -> Mapping[str, Instant]:
        """Return the accounts that are trusted now, with their last success."""
        self._work_out(now)
        return self._trusted

    def _work_out(self, now: Instant) -> None:
        if now < self._until:
            return
        self._until = Instant(now + SECOND)
        self._trusted = {account: at for account, at in self.accounts.items() if now - at < LASTS}
        freshness = sum(1 - max(now - at, 0) / LASTS for at in self._trusted.values())
        self._factor = min(float(MOST), 1 + PER_ACCOUNT * freshness)


class Trust:
    """The accounts that authenticated from each site, and when last."""

    def __init__(self, limit: int = SITES_LIMIT) -> None:
        self._homes: Generations[Source, Home] = Generations(limit, Home.size)
        self.unkept = 0
        self._changed: dict[tuple[Source, str], Instant] = {}

    @property
    def forgotten(self) -> int:
        """How many sites were forgotten because the table was full."""
        return self._homes.forgotten

    @property
    def table(self) -> Table:
        """How full the table is."""
        return self._homes.table("trusted_sites")

    def succeed(self, site: Source, account: str, at: Instant) -> bool:
        """Note a success with a password; tell whether it is the first of this account at this site."""
        if len(self._changed) < CHANGED_LIMIT:
            self._changed[site, account] = at
        else:
            self.unkept += 1
        return self.restore(site, account, at)

    def take_changed(self) -> dict[tuple[Source, str], Instant]:
        """Return the successes since the last call, the last of each account."""
        changed, self._changed = self._changed, {}
        return changed

    def restore(self, site: Source, account: str, at: Instant) -> bool:
        """Take back a success that is known already; tell whether it is the first of this account at this site."""
        home = self._homes.touch(site)
        if home is None:
            home = Home()
            home.succeed(account, at)
            self._homes.put(site, home)
            return True
        first = home.succeed(account, at)
        if first:
            self._homes.grow(1)
        return first

    def factor(self, site: Source, now: Instant) -> float:
        """Return by how much thresholds are higher for a site, 1 to 10."""
        home = self._homes.get(site)
        return 1.0 if home is None else home.factor(now)

    def knows(self, site: Source, account: str, now: Instant) -> bool:
        """Tell whether an account is trusted at a site."""
        home = self._homes.get(site)
        return home is not None and account in home.trusted(now)

    def behind(self, source: Source, site: Source, now: Instant) -> Mapping[str, Instant]:
        """Return the accounts that a ban of `source` would cut off; `site` is the one of its hosts.

        For a network this looks at all sites: ask when it is about to be banned, not before.
        """
        if source[1] >= site[1]:
            home = self._homes.get(site)
            return {} if home is None else home.trusted(now)
        found: dict[str, Instant] = {}
        for other, home in self._homes.items():
            if covers(source, other):
                found.update(home.trusted(now))
        return found

    def recent(self, site: Source, now: Instant, span: Duration = RECENT) -> int:
        """Return how many accounts are trusted at a site, if one of them had a success within `span`; else 0."""
        home = self._homes.get(site)
        return 0 if home is None or now - home.newest >= span else len(home.trusted(now))
