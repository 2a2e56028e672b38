"""Counts in, StatsD datagrams out: the meters of Asterisk's res_auth_stats, name for name, and astguard's own counts.

A datagram is one or more metrics `NAME:VALUE|TYPE` joined by newlines, without one at the end, as res_statsd writes
them (docs/asterisk.md). For each failed event res_auth_stats sent two meters, type `m`:

    security.failed_auth.PJSIP.count
    security.failed_auth.PJSIP.IPV4/UDP/198_51_100_7

and a receiver that knows no meters gets the counters NAME_meter instead, as Asterisk's statsd.conf documents for
`meter_support = no`. Here the repeats of one flush are summed, and the colons of IPv6 become `_` too, because a colon
ends a name. In every flush the address names of a service and its `other` sum to its `count`.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from typing import TYPE_CHECKING

from guard.core.address import Source, family, show_short
from guard.core.event import Service, Transport
from guard.core.units import DAY, Instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Sender = tuple[Service, Transport, Source | None]
"""Who failed, at which service, over what: each becomes one address name. None are those beyond the tally's limit."""

DATAGRAM_LIMIT = 1432
"""Bytes of one datagram: with the headers of IPv6 and UDP and 20 to spare it fits an Ethernet frame of 1,500."""

ADDRESSES_PER_DAY = 1_000
"""Distinct address names a day, which begins where `now` passes a multiple of DAY.

Each name may become a file at the receiver, and a spoofed flood brings millions.
"""

PREFIX_LIMIT = 40
"""Characters of the prefix, as in res_statsd."""

NAME_LIMIT = 128
"""Characters of one of astguard's own names. So the longest metric has some 200 bytes and always fits a datagram."""

_FAILED = "security.failed_auth.{}.{}"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_IN_NAME = str.maketrans(".:", "__")


class Meters:
    """Turns what happened since the last flush into datagrams. No method raises, and values may have 64 bits.

    `prefix` stands before every name, as `prefix.NAME`, cut to PREFIX_LIMIT characters; with `meter_support` false a
    meter `NAME` is sent as the counter `NAME_meter`. `capped` counts the failures that were sent under `other` because
    the day had no name left.
    """

    def __init__(self, prefix: str = "", meter_support: bool = True) -> None:
        self._prefix = _clean(prefix, PREFIX_LIMIT) + "." if prefix else ""
        self._meter = "{}{}:{}|m" if meter_support else "{}{}_meter:{}|c"
        self._day = 0
        self._named: dict[Sender, str] = {}  # at most ADDRESSES_PER_DAY
        self._last: dict[str, int] = {}
        self.capped = 0

    def collect(
        self, failed: Mapping[Sender, int], counts: Mapping[str, int], gauges: Mapping[str, int], now: Instant
    ) -> list[bytes]:
        """Return the datagrams of one flush.

        `failed` holds the failures since the last flush, by sender; only the three types of `core.event.FAILURES`
        belong there. `counts` are running totals, of which the differences are sent; a total that went down began
        anew. `gauges` are sent as they are, each time. Both are named without the `astguard.` that goes before them.
        A difference of nought is not sent.
        """
        metrics = [*self._failures(failed, now), *self._differences(counts)]
        # A receiver takes a signed gauge as a change to the old one, so there is none below nought.
        metrics += [f"{self._own(name)}:{max(value, 0)}|g" for name, value in gauges.items()]
        return list(_pack(metrics))

    def _failures(self, failed: Mapping[Sender, int], now: Instant) -> Iterator[str]:
        self._give_names(failed, now)
        sums: Counter[Service] = Counter()
        rest: Counter[Service] = Counter()
        named = []
        for sender, number in failed.items():
            if number > 0:
                sums[sender[0]] += number
                name = self._named.get(sender)
                if name is None:
                    rest[sender[0]] += number
                else:
                    named.append((name, number))
        self.capped += rest.total()
        counts = [(_FAILED.format(service, "count"), number) for service, number in sums.items()]
        others = [(_FAILED.format(service, "other"), number) for service, number in rest.items()]
        return (self._meter.format(self._prefix, name, number) for name, number in (*counts, *others, *named))

    def _give_names(self, failed: Mapping[Sender, int], now: Instant) -> None:
        """Give what is left of the day's names to the heaviest newcomers.

        Only those are formatted: a spoofed flood brings thousands of senders in one flush.
        """
        if now // DAY > self._day:
            self._day = now // DAY
            self._named.clear()
        room = ADDRESSES_PER_DAY - len(self._named)
        if room > 0:
            new = (
                (-number, service, transport, source)
                for (service, transport, source), number in failed.items()
                if number > 0 and source is not None and (service, transport, source) not in self._named
            )
            for _, service, transport, source in heapq.nsmallest(room, new):
                self._named[service, transport, source] = _address_name(service, transport, source)

    def _differences(self, counts: Mapping[str, int]) -> Iterator[str]:
        for name, total in counts.items():
            last = self._last.get(name, 0)
            self._last[name] = total
            difference = total - last if total >= last else total
            if difference > 0:
                yield f"{self._own(name)}:{difference}|c"

    def _own(self, name: str) -> str:
        return f"{self._prefix}astguard.{_clean(name, NAME_LIMIT)}"


def _address_name(service: Service, transport: Transport, source: Source) -> str:
    """Write RemoteAddress as Asterisk shows it, without its port: `IPV4/UDP/198_51_100_7`."""
    address = show_short(source).translate(_IN_NAME)
    return _FAILED.format(service, f"IPV{family(source)}/{transport}/{address}")


def _clean(name: str, limit: int) -> str:
    """Replace what a receiver would read as the end of a name, or drop, or show on a terminal."""
    return _UNSAFE.sub("_", name[:limit]) or "_"


def _pack(metrics: Iterable[str]) -> Iterator[bytes]:
    """Join metrics by newlines into datagrams of at most DATAGRAM_LIMIT bytes."""
    waiting: list[bytes] = []
    size = -1  # the first metric has no newline before it
    for metric in metrics:
        line = metric.encode("ascii")
        if waiting and size + 1 + len(line) > DATAGRAM_LIMIT:
            yield b"\n".join(waiting)
            waiting, size = [], -1
        waiting.append(line)
        size += 1 + len(line)
    if waiting:
        yield b"\n".join(waiting)
