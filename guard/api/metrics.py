"""What the guard has counted, for Prometheus: one reading in, the text of one scrape out.

Nothing is counted here. A scrape reads the tally and the tables as they stand, so between two of them metrics cost
nothing. A count of the tally becomes `astguard_NAME_total` by itself, dots as `_`; what has labels, or is no count, is
spelled out below. No label is an address or an account: those are the sender's to choose, and would be without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from guard.core.ban import Op
from guard.core.outcome import Outcome
from guard.core.rule import Scope
from guard.core.tally import NAMES
from guard.core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from guard.core.histogram import Histogram
    from guard.core.tally import Table

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LINK_STATES = ("connecting", "up", "lost", "refused", "no user")
SELF_TESTS = ("waiting", "ok", "failed")

Labels = TypeVar("Labels", bound=tuple[str, ...])
"""The values of a number's labels, in the order of the labels."""

_OUTCOME = "outcome."
_ELSEWHERE = {"bans.added", "bans.observed", *(f"{_OUTCOME}{outcome}" for outcome in Outcome)}
"""Counts that are told of by rule or by outcome instead."""
_OF_TABLES = (".forgotten", ".evicted")
"""Ends of the names of counts that are told of table by table instead."""
_OF_ATTEMPTS = (Outcome.FOLDED, Outcome.COUNTED, Outcome.OBSERVED, Outcome.BANNED)
"""What can come of an attempt under a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one scrape shows.

    `bans` and `outcomes` count by rule, those of the rules in force stand there even if nothing was counted;
    `active` is by scope and family, `dropped` packets and bytes by scope, empty if the kernel did not tell. Histograms
    are in nanoseconds, `heard` by what brought a ban. `warnings` is how many `astguard status` has.
    """

    version: str
    python: str
    enforcing: bool
    paused: bool
    rules: Sequence[str]
    counts: Mapping[str, int]
    outcomes: Mapping[tuple[str, Outcome], int]
    bans: Mapping[tuple[Op, str, Scope], int]
    active: Mapping[tuple[Scope, int], int]
    allowed: int
    backend: str
    firewall_ok: bool
    store_ok: bool
    dropped: Mapping[Scope, tuple[int, int]]
    link: str
    self_test: str
    lag: Histogram
    decided: Histogram
    heard: Mapping[str, Histogram]
    tables: Iterable[Table]
    journal_lost: int
    warnings: int


class Metrics(Collector):
    """Writes scrapes. `read` gives what there is to tell, at once."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def page(self) -> bytes:
        """Return the text of one scrape."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give the families of one scrape."""
        return families(self._read())

    def describe(self) -> Iterator[Metric]:
        """Give nothing: to know our names nobody has to read the guard."""
        return iter(())


def families(reading: Reading) -> Iterator[Metric]:
    """Give everything that is told, family by family."""
    version = {(reading.version, reading.python): 1}
    yield _gauge("build_info", "which version this is; always 1", version, "version", "python")
    yield _gauge("enforcing", "1 if bans are made, 0 if they are only observed", {(): reading.enforcing})
    yield _gauge("paused", "1 while a pause lasts: nobody is kept out", {(): reading.paused})
    yield from _counts(reading.counts)
    yield from _of_rules(reading)
    yield from _of_the_firewall(reading)
    yield from _of_the_link(reading)
    yield from _of_tables(reading.tables)
    yield _counter("journal_lost", "lines that the journal did not take", {(): reading.journal_lost})
    yield _gauge("allowed_sources", "entries of the allowlist, own addresses among them", {(): reading.allowed})
    yield _gauge("warnings", "warnings that 'astguard status' has now", {(): reading.warnings})


def _counts(counts: Mapping[str, int]) -> Iterator[Metric]:
    for name, about in NAMES.items():
        if name not in _ELSEWHERE and not name.endswith(_OF_TABLES):
            yield _counter(name.replace(".", "_"), about, {(): counts[name]})
    by_outcome = {(outcome.value,): counts[f"{_OUTCOME}{outcome}"] for outcome in Outcome}
    yield _counter("outcomes", "events by their outcome; they sum to the events", by_outcome, "outcome")


def _of_rules(reading: Reading) -> Iterator[Metric]:
    weighed = dict.fromkeys(((rule, outcome.value) for rule in reading.rules for outcome in _OF_ATTEMPTS), 0)
    weighed |= {(rule, outcome.value): count for (rule, outcome), count in reading.outcomes.items()}
    about = "attempts by what came of them under a rule; one attempt may be weighed under several"
    yield _counter("rule_outcomes", about, weighed, "rule", "outcome")
    for op, name, about in (
        (Op.ADD, "bans", "bans by rule and scope"),
        (Op.OBSERVE, "observed_bans", "bans that an observing rule would have made, by rule and scope"),
    ):
        made = dict.fromkeys(((rule, scope.value) for rule in reading.rules for scope in Scope), 0)
        made |= {(rule, scope.value): count for (of, rule, scope), count in reading.bans.items() if of is op}
        yield _counter(name, about, made, "rule", "scope")


def _of_the_firewall(reading: Reading) -> Iterator[Metric]:
    active = {(scope.value, f"ipv{family}"): count for (scope, family), count in reading.active.items()}
    yield _gauge("active_bans", "bans in force now, by scope and family", active, "scope", "family")
    about = "1 if the kernel has taken all changes, 0 while it refuses"
    yield _gauge("firewall_ok", about, {(reading.backend,): reading.firewall_ok}, "backend")
    about = "1 if the disk has all that is true, 0 while it refuses: bans would not outlive a reboot"
    yield _gauge("store_ok", about, {(): reading.store_ok})
    for part, unit in enumerate(("packets", "bytes")):
        about = f"{unit} that the kernel has dropped since our table was made, by scope"
        dropped = {(scope.value,): numbers[part] for scope, numbers in reading.dropped.items()}
        yield _counter(f"dropped_{unit}", about, dropped, "scope")
    about = "from the instant at which an event was read until the kernel had taken the ban it brought"
    yield _histogram("ban_seconds", about, {(): reading.decided})
    about = "from the instant of the event, by Asterisk's clock, until the kernel had taken the ban it brought"
    yield _histogram("event_to_kernel_seconds", about, {(by,): of for by, of in reading.heard.items()}, "by")


def _of_the_link(reading: Reading) -> Iterator[Metric]:
    states = {(state,): state == reading.link for state in LINK_STATES}
    yield _gauge("link_state", "1 for the state that the link to Asterisk is in", states, "state")
    results = {(result,): result == reading.self_test for result in SELF_TESTS}
    yield _gauge("self_test", "1 for what is known of whether Asterisk's events reach us", results, "result")
    yield _histogram("ami_lag_seconds", "how old events of AMI were when they were read", {(): reading.lag})


def _of_tables(tables: Iterable[Table]) -> Iterator[Metric]:
    held = list(tables)
    yield _gauge("table_entries", "entries of a table now", {(one.name,): one.entries for one in held}, "table")
    about = "what a table may hold; where entries differ in size, the sum of their sizes"
    yield _gauge("table_limit", about, {(one.name,): one.limit for one in held}, "table")
    about = "entries that a full table has forgotten, or has not taken in"
    yield _counter("table_evictions", about, {(one.name,): one.evicted for one in held}, "table")


def _gauge(name: str, about: str, values: Mapping[Labels, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"astguard_{name}", about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def _counter(name: str, about: str, values: Mapping[Labels, float], *labels: str) -> Metric:
    """Return a counter, to whose name the library adds `_total`."""
    family = CounterMetricFamily(f"astguard_{name}", about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, about: str, values: Mapping[Labels, Histogram], *labels: str) -> Metric:
    family = HistogramMetricFamily(f"astguard_{name}", about, labels=labels)
    for key, of in values.items():
        ends = [*(str(bound / SECOND) for bound in of.bounds), "+Inf"]
        family.add_metric(key, list(zip(ends, accumulate(of.counts), strict=True)), of.total / SECOND)
    return family
