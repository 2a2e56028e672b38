"""Rule: what counts, how much, how many in what window, and for how long a source is then banned.

Rules are data. They are read from one YAML file each by `guard.settings.rulefile`; the file's name is the rule's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import SITE_LENGTH
from guard.core.event import Sensor, Service
from guard.core.units import DAY, Duration

if TYPE_CHECKING:
    from guard.core.event import Kind, SecurityEvent

FORGET = Duration(30 * DAY)
"""Quiet time after which strikes are dropped, unless a rule says otherwise."""


SIP_PORTS = (5060, 5061, 4569)
"""What a ban of scope `sip` or `slow` is about, UDP and TCP, unless the configuration says otherwise."""


class Mode(StrEnum):
    """Whether bans are applied, or only said."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class Evidence(StrEnum):
    """Whether the sender showed that it owns its address."""

    PROVEN = "proven"
    UNPROVEN = "unproven"


class Scope(StrEnum):
    """What a ban closes: everything, the SIP ports only, or the SIP ports beyond a packet rate."""

    ALL = "all"
    SIP = "sip"
    SLOW = "slow"


class Trusted(StrEnum):
    """What a rule does to a source behind which two or more trusted accounts live."""

    BAN = "ban"  # what it does to any other
    SIP = "sip"  # close the SIP ports
    SLOW = "slow"  # let it through to the SIP ports at a rate
    ALARM = "alarm"  # only tell


class Across(NamedTuple):
    """An account at which `sources` or more guess inside the window: for them `threshold` is enough."""

    sources: int
    threshold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, checked by its reader: `threshold` > 0, the ladder `ban` not empty and never falling.

    `weights` gives each counted kind its weight (1 to 100). `services`, `acls` and `accounts` restrict what matches;
    None means any. `prefix` is what one source is, by family. Total weight of at least `threshold` inside the
    half-open window (now - window, now] brings the next rung of `ban`; strikes are forgotten after the quiet time
    `forget`. `mode` None follows the daemon's mode.

    `distinct` counts each account of a source once inside the window, whatever its weight. `trusted` is what follows
    for a source with trusted accounts. `sensors` None means any, but chan_sip's events count only as `messages` has
    them: over AMI their address is the sender's own word. A rule that counts ChallengeSent counts nothing else, and
    only such as went to an existing account of a source without any success inside the window.
    """

    name: str
    weights: Mapping[Kind, int]
    threshold: int
    window: Duration
    ban: tuple[Duration, ...]
    about: str = ""
    services: frozenset[Service] | None = None
    acls: frozenset[str] | None = None
    accounts: frozenset[str] | None = None
    proven_only: bool = False
    scope: Scope = Scope.ALL
    prefix: Mapping[int, int] = field(default_factory=SITE_LENGTH.copy)
    forget: Duration = FORGET
    mode: Mode | None = None
    distinct: bool = False
    trusted: Trusted = Trusted.SLOW
    across: Across | None = None
    sensors: frozenset[Sensor] | None = None

    def counts(self, event: SecurityEvent, *, proven: bool) -> bool:
        """Tell whether this rule counts an event whose kind and service already match."""
        if self.sensors is None:
            if event.service is Service.SIP and event.sensor is not Sensor.MESSAGES:
                return False
        elif event.sensor not in self.sensors:
            return False
        if self.proven_only and not proven:
            return False
        if self.acls is not None and event.acl not in self.acls:
            return False
        return self.accounts is None or event.account in self.accounts

    def counts_as(self, other: Rule) -> bool:
        """Tell whether both count the same offences of the same sources, whatever follows from how many."""
        return all(getattr(self, name) == getattr(other, name) for name in _WHAT_COUNTS)

    @property
    def fingerprint(self) -> str:
        """What counts under this rule, as a text that is the same in every process."""
        return "; ".join(f"{name}={_plain(getattr(self, name))}" for name in _WHAT_COUNTS)

    def rung(self, strike: int) -> Duration:
        """Return the length of the strike-th ban, counted from 1; past the ladder's end its last rung."""
        return self.ban[min(strike, len(self.ban)) - 1]


_WHAT_COUNTS = ("name", "weights", "services", "acls", "accounts", "proven_only", "prefix", "distinct", "sensors")


def _plain(value: object) -> str:
    """Write a value of a rule; sets and mappings in order, whatever their own is."""
    if isinstance(value, Mapping):
        return str(sorted((str(key), number) for key, number in value.items()))
    return str(sorted(map(str, value)) if isinstance(value, frozenset) else value)
