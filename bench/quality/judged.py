"""What a tool made of a recording, in one form for all tools."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.quality.files import covers, overlaps

BAN, SLOW, NOTHING = "ban", "slow", "nothing"


@dataclass(frozen=True)
class Ban:
    """A source that was closed, or with `slow` let through slowly, from that time of the recording on."""

    source: str  # an address or a network
    at: float
    by: str  # the rule's name in the tool's own words
    all_ports: bool
    slow: bool = False


@dataclass(frozen=True)
class Judged:
    """One tool's answer to one recording.

    `blur` is how little its times tell: of the tries in so many seconds from the ban on, any may be the last it saw.
    """

    bans: tuple[Ban, ...] = ()
    alarms: tuple[dict, ...] = ()
    blur: float = 0.0

    def first(self, source):
        """Give the first ban of the whole of a source; one that only slows it counts if there is no other."""
        mine = [ban for ban in self.bans if covers(ban.source, source)]
        return min(mine, key=lambda ban: (ban.slow, ban.at, ban.by), default=None)

    def outcome(self, source):
        """Say what became of a source: ban, slow or nothing."""
        ban = self.first(source)
        return NOTHING if ban is None else SLOW if ban.slow else BAN

    def worst(self, source):
        """Say what became of any part of a source."""
        mine = [ban for ban in self.bans if overlaps(ban.source, source)]
        return NOTHING if not mine else SLOW if all(ban.slow for ban in mine) else BAN

    def closes_all(self, source):
        """Tell whether a ban of this source closes every port, AMI's among them."""
        return any(ban.all_ports and not ban.slow and covers(ban.source, source) for ban in self.bans)

    def alarmed(self, account, source=None):
        """Tell whether an alarm names this account, and this source where one is given."""
        return any(account in said and (source is None or _names(said, source)) for said in map(_words, self.alarms))


def _words(alarm):
    """Give the words of an alarm, in whatever field it says them."""
    if isinstance(alarm, dict):
        return {word for value in alarm.values() for word in _words(value)}
    if isinstance(alarm, list):
        return {word for value in alarm for word in _words(value)}
    return {word.strip(":.\"'") for word in re.split(r"[\s,;()]+", str(alarm))}


def _names(words, source):
    return any(word == source or ("/" in word and _covers(word, source)) for word in words)


def _covers(word, source):
    try:
        return covers(word, source)
    except ValueError:
        return False
