"""Outcome: the engine's one answer to an event."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """Every event gets exactly one, final when it is given, and they sum to the events."""

    SPECIAL = "special"  # the source can never be a remote party: loopback, multicast ...
    ALLOWED = "allowed"  # ... or is on the allowlist
    UNMATCHED = "unmatched"  # no rule counts it
    FOLDED = "folded"  # it tells again, or from another side, of an attempt that was told of before
    HELD = "held"  # weak: it counts in three seconds, unless a success shows that it was a good phone
    COUNTED = "counted"  # an offence
    OBSERVED = "observed"  # an offence of a source that an observing rule would have banned
    BANNED = "banned"  # the offence that brought a ban
    AFTER_BAN = "after_ban"  # the kernel had long been told to stop its source: the ban does not bite
    ALREADY_BANNED = "already_banned"  # the source is banned, and that is all that can be done
