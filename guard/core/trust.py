"""Trust: which accounts have authenticated with their password, and from where.

Only a PJSIP success with `UsingPassword: 1` counts: its nonce is bound to the address, so nobody else can have it.
Trust makes a source's threshold higher, ten times at the most, and never makes it immune, because attackers own
accounts too. It fades over a day, and it is what a ban would cut off: the blast radius.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.address import covers
from guard.core.generations import Generations
from guard.core.units import DAY, MINUTE, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard.core.address import Source

LASTS = DAY
"""How long an account is trusted after its last success. Phones register anew every few minutes to hours."""
PER_ACCOUNT = 3
"""How much an account that has just authenticated adds to the factor for its site."""
MOST = 10
RECENT = MINUTE

SITES_LIMIT = 65_536
ACCOUNTS_LIMIT = 256
"""Accounts remembered of one site: an office; beyond, the longest silent is forgotten."""


class Trust:
    """The accounts that authenticated from each site, and when last."""

    def __init__(self, limit: int = SITES_LIMIT) -> None:
        self._sites: Generations[Source, dict[str, Instant]] = Generations(limit, len)

    @property
    def forgotten(self) -> int:
        """How many sites were forgotten because the table was full."""
        return self._sites.forgotten

    def succeed(self, site: Source, account: str, at: Instant) -> None:
        """Note a success with a password."""
        accounts = self._sites.touch(site)
        if accounts is None:
            self._sites.put(site, {account: at})
            return
        before = accounts.pop(account, None)
        if before is None and len(accounts) >= ACCOUNTS_LIMIT:
            del accounts[next(iter(accounts))]
        elif before is None:
            self._sites.grow(1)
        accounts[account] = at if before is None else max(at, before)

    def factor(self, site: Source, now: Instant) -> float:
        """Return by how much thresholds are higher for a site, 1 to 10."""
        accounts = self._sites.get(site)
        if not accounts:
            return 1.0
        freshness = sum(max(0.0, 1 - (now - at) / LASTS) for at in accounts.values())
        return min(float(MOST), 1 + PER_ACCOUNT * freshness)

    def knows(self, site: Source, account: str, now: Instant) -> bool:
        """Tell whether an account is trusted at a site."""
        at = (self._sites.get(site) or {}).get(account)
        return at is not None and now - at < LASTS

    def behind(self, source: Source, site: Source, now: Instant) -> Mapping[str, Instant]:
        """Return the accounts that a ban of `source` would cut off; `site` is the one of its hosts."""
        if source[1] >= site[1]:
            found = self._sites.get(site) or {}
        else:
            found = {}
            for other, accounts in self._sites.items():
                if covers(source, other):
                    found.update(accounts)
        return {account: at for account, at in found.items() if now - at < LASTS}

    def recent(self, site: Source, now: Instant, span: Duration = RECENT) -> int:
        """Return how many accounts a site has, if one of them had a success within `span`; else 0."""
        accounts = self._sites.get(site)
        if not accounts or now - max(accounts.values()) >= span:
            return 0
        return len(accounts)
