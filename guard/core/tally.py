"""Every count astguard keeps, by fixed name. Meters, status and replay show these and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guard.core.address import Source
    from guard.core.ban import Ban, Op
    from guard.core.event import Service, Transport
    from guard.core.rule import Scope

NAMES = {
    "events.lost": "events that a fault of astguard itself lost; its log has the traceback",
    "events": "security events that matched the strict grammar",
    "outcome.special": "events whose source can never be a remote party: loopback, multicast ...",
    "outcome.allowed": "events of sources on the allowlist",
    "outcome.unmatched": "events that no rule counts",
    "outcome.folded": "events that tell again of an attempt",
    "outcome.held": "events that count later, or not at all if a success follows",
    "outcome.counted": "offences",
    "outcome.observed": "offences of a source that an observing rule would have banned",
    "outcome.banned": "offences that brought a ban",
    "outcome.after_ban": "events of sources that the kernel should have stopped: their bans do not bite",
    "outcome.already_banned": "events of sources while banned",
    "attempts.opened": "attempts: what the events of one try to get in fold into",
    "attempts.counted": "attempts handed to the rules; those that are neither counted nor exonerated are held",
    "attempts.exonerated": "attempts cleared by a success of their session",
    "attempts.forgotten": "senders whose repeats count anew, because a table was full",
    "tampered": "blocks on the AMI socket that broke the grammar, or stood beside one that did",
    "foreign": "whole blocks of another AMI class",
    "replies": "answers on the AMI socket to none of our actions",
    "bans.added": "bans",
    "bans.removed": "bans lifted before their time",
    "bans.expired": "bans that ended on time",
    "bans.observed": "bans that an observing rule would have made",
    "bans.dropped": "unproven bans dropped early because the table was full",
    "bans.vetoed": "bans not made because a supplement said no",
    "bans.shortened": "bans made shorter because a supplement said so",
    "bans.refused": "bans not made because the table was full of proven ones",
    "hosts.forgotten": "hosts whose events are counted from nought again, because the table was full",
    "strikes.forgotten": "sources whose former bans were forgotten, because the table was full",
    "window.evicted": "sources forgotten although they could still count, because a table was full",
    "trust.forgotten": "sites and accounts of whom nothing is known any more, because a table was full",
    "trails.forgotten": "sources of whose events before a ban nothing is known any more, because the table was full",
    "unproven.forgotten": "sources that waited for the limit on unproven bans and were lighter than others",
    "alarms.raised": "alarms",
    "alarms.dropped": "alarms not raised, because there were a hundred of their kind in a day",
    "log.lines": "lines of Asterisk's log files that told of an attempt",
    "log.tampered": "lines of Asterisk's log files that broke the grammar, or stood beside one that did",
    "log.muted": "security events that Asterisk could not issue, by its own log",
    "log.unseen": "failures in the log that AMI has not told of",
    "link.lost": "times the link to Asterisk broke",
    "link.refused": "logins that Asterisk refused",
    "link.made": "times the link came up",
    "allow.refused": "entries of the allowlist by command for which there was no room",
    "clock.backwards": "times the driver's clock went back and was held",
    "firewall.failed": "batches the kernel refused",
    "firewall.rebuilt": "times our table was gone, or others had changed it, and was made anew",
    "firewall.put_back": "bans that others had taken out of the kernel and that were put back",
    "priority.rests": "times astguard left its place before Asterisk, because it had used up its share of a core",
    "trust.unkept": "successes that a crash would forget, because there were too many in a minute",
    "lifted.forgotten": "lifted bans that a saved ruleset could bring back, because the table was full",
    "store.overflows": "records given up because too many waited for the disk; all that is true was written anew",
    "store.dropped": "rows of the history given up, because the disk refused or there were too many",
    "memory.dropped": "what was known at a clean stop and was too much to keep",
    "stream.dropped": "clients of the live stream that read too slowly and were dropped",
    "stream.refused": "clients of the live stream that were refused, because there were too many",
    "api.refused": "requests to the control API over TCP that showed no token, or came from a web page",
    "api.crowded": "connections to the control API over TCP that were hung up on, because there were too many",
    "metrics.crowded": "connections of scrapers over TCP that were hung up on, because there were too many",
    "supplements.told": "bans, ends of bans, alarms and outcomes handed to the supplements",
    "supplements.dropped": "... that were given up, because too much was waiting or the supplements had crashed",
    "supplements.failed": "calls of a supplement that raised an error, and supplements that could not be made",
    "supplements.restarts": "times the process of the supplements crashed or hung, and was started again",
    "supplements.unsaid": "lines that supplements wrote beyond what the log takes of them in a minute",
    "statsd.sent": "datagrams sent to the StatsD server",
    "statsd.failed": "datagrams that could not be sent",
}

FAILED_LIMIT = 8_192
"""Distinct addresses remembered between two flushes for the per-address meters; the rest count under no address."""

RULES_LIMIT = 4_096
"""Different rules and scopes of which bans are counted; more, after many reloads, count under the rule `OTHER`."""
OTHER = "other"


class Table(NamedTuple):
    """How full a table is. Of one whose entries differ in size, the limit is for the sum of the sizes.

    `evicted` counts what a full table has forgotten, or has not taken in.
    """

    name: str
    entries: int
    limit: int
    evicted: int


def as_one(name: str, tables: Iterable[Table]) -> Table:
    """Return several tables as if they were one."""
    entries, limits, evicted = 0, 0, 0
    for table in tables:
        entries, limits, evicted = entries + table.entries, limits + table.limit, evicted + table.evicted
    return Table(name, entries, limits, evicted)


class Tally:
    """Running totals since the start. A name outside NAMES is our mistake and a KeyError.

    `bans` has those made, and those that were only observed, by rule and scope.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(NAMES, 0)
        self.bans: dict[tuple[Op, str, Scope], int] = {}
        self._failed: dict[tuple[Service, Transport, Source | None], int] = {}

    def add(self, name: str, count: int = 1) -> None:
        """Count."""
        self.counts[name] += count

    def add_ban(self, op: Op, ban: Ban) -> None:
        """Count a ban that was made or observed, by its rule and scope."""
        key = (op, ban.rule, ban.scope)
        if key not in self.bans and len(self.bans) >= RULES_LIMIT:
            key = (op, OTHER, ban.scope)
        self.bans[key] = self.bans.get(key, 0) + 1

    @property
    def failed(self) -> Table:
        """How many addresses are remembered between two flushes of meters; the rest is counted, so none is lost."""
        return Table("failed_addresses", len(self._failed), FAILED_LIMIT, 0)

    def fail(self, senders: Iterable[tuple[Service, Transport, Source]]) -> None:
        """Count failed authentications of hosts, for the meters of res_auth_stats."""
        failed = self._failed
        for sender, count in Counter(senders).items():
            key: tuple[Service, Transport, Source | None] = sender
            if key not in failed and len(failed) >= FAILED_LIMIT:
                key = (sender[0], sender[1], None)
            failed[key] = failed.get(key, 0) + count

    def take_failed(self) -> dict[tuple[Service, Transport, Source | None], int]:
        """Return the failed authentications since the last call, by service, transport and host (None: the rest)."""
        failed, self._failed = self._failed, {}
        return failed
