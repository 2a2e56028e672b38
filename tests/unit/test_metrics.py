"""What Prometheus reads: every count, under its name, from an engine that has seen something of everything."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from guard.api.metrics import Metrics, Reading
from guard.core.address import parse_source
from guard.core.ban import Op
from guard.core.engine import Engine
from guard.core.event import Kind, Service
from guard.core.histogram import Histogram
from guard.core.outcome import Outcome
from guard.core.rule import Mode, Scope
from guard.core.tally import NAMES
from guard.core.units import MINUTE, SECOND
from tests.events import event, rule

T = 1_000 * SECOND
HOSTILE = 'evil"} 1\n# HELP x'


def histogram(*values):
    made = Histogram((SECOND // 1000, SECOND, 60 * SECOND))
    for value in values:
        made.add(value)
    return made


def reading(engine, **changes):
    given = {
        "version": "1.2.3", "python": "3.11.2", "enforcing": True, "paused": False, "rules": [rule.name for rule in engine.rules],
        "counts": engine.tally.counts, "outcomes": engine.outcomes(), "bans": engine.tally.bans,
        "active": engine.ledger.sizes(), "allowed": len(engine.allow), "backend": "nftables", "firewall_ok": True, "store_ok": True,
        "dropped": {Scope.SIP: (7, 700)}, "link": "up", "self_test": "ok", "lag": histogram(0, SECOND),
        "decided": histogram(SECOND // 2000), "heard": {"event": histogram(2 * SECOND), "log": histogram()},
        "tables": engine.tables(), "journal_lost": 3, "warnings": 1,
    }  # fmt: skip
    return Reading(**(given | changes))


def scrape(engine, **changes):
    """Return the samples of a page as {(name, labels...): value}."""
    page = Metrics(lambda: reading(engine, **changes)).page().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def value(samples, name, **labels):
    return samples[(f"astguard_{name}", *sorted(labels.items()))]


def total(samples, name, **labels):
    return sum(
        number
        for key, number in samples.items()
        if key[0] == f"astguard_{name}" and labels.items() <= dict(key[1:]).items()
    )


@pytest.fixture
def engine():
    """Return an engine that has banned by two rules, observed by a third, and was called by hand."""
    weak = rule("watching", mode=Mode.OBSERVE, threshold=2)
    iax = rule("iax", services=frozenset({Service.IAX2}), weights={Kind.INVALID_PASSWORD: 1})
    engine = Engine([rule(), weak, iax], allow=[parse_source("192.0.2.0/24")])
    for last in (7, 8):
        engine.handle([event(f"198.51.100.{last}", at=T) for _ in range(4)], T, T)
    engine.handle([event("2001:db8::7", Kind.INVALID_PASSWORD, Service.IAX2, at=T) for _ in range(3)], T, T)
    engine.handle([event("192.0.2.1", at=T)], T, T)
    engine.ban(parse_source("203.0.113.0/24"), MINUTE, T)
    return engine


def test_every_count_of_the_tally_is_told_once(engine):
    """A count that comes later is told without a word said here; one with labels has to sum to it."""
    samples = scrape(engine)
    for name in NAMES:
        if name.startswith("outcome."):
            told = total(samples, "outcomes_total", outcome=name.removeprefix("outcome."))
        elif name in {"bans.added", "bans.observed"}:
            told = total(samples, {"bans.added": "bans_total", "bans.observed": "observed_bans_total"}[name])
        elif name.endswith((".forgotten", ".evicted")):
            continue  # see the tables
        else:
            told = value(samples, name.replace(".", "_") + "_total")
        assert told == engine.tally.counts[name], name
    assert engine.tally.counts["bans.added"] == 4
    assert engine.tally.counts["bans.observed"] == 2


def test_no_count_is_kept_that_nobody_has_named(engine):
    """It would be told of nowhere."""
    assert engine.tally.counts.keys() == NAMES.keys()


def test_the_outcomes_sum_to_the_events(engine):
    samples = scrape(engine)
    assert total(samples, "outcomes_total") == value(samples, "events_total") == 12


def test_bans_are_told_by_rule_and_scope(engine):
    samples = scrape(engine)
    assert total(samples, "bans_total", rule="guessing") == 2
    assert total(samples, "bans_total", rule="iax") == 1
    assert value(samples, "bans_total", rule="manual", scope="all") == 1
    assert total(samples, "observed_bans_total", rule="watching") == 2


def test_what_came_of_attempts_is_told_by_rule(engine):
    samples = scrape(engine)
    assert value(samples, "rule_outcomes_total", rule="guessing", outcome="banned") == 2
    assert value(samples, "rule_outcomes_total", rule="guessing", outcome="counted") == 4
    assert value(samples, "rule_outcomes_total", rule="watching", outcome="observed") > 0
    assert value(samples, "rule_outcomes_total", rule="iax", outcome="counted") == 2


def test_a_rule_that_has_counted_nothing_stands_at_nought():
    """Or the first ban of a rule would be no increase to Prometheus, which has seen nothing before it."""
    samples = scrape(Engine([rule("quiet")]))
    assert [value(samples, "bans_total", rule="quiet", scope=scope) for scope in Scope] == [0, 0, 0]
    assert value(samples, "rule_outcomes_total", rule="quiet", outcome="banned") == 0


def test_a_rule_that_a_reload_took_away_is_told_of_no_more(engine):
    engine.reload([rule("other")])
    assert {rule for rule, _ in engine.outcomes()} <= {"other"}


def test_active_bans_go_down_again_with_their_end(engine):
    samples = scrape(engine)
    assert total(samples, "active_bans", family="ipv4") == 3
    assert total(samples, "active_bans", family="ipv6") == 1
    engine.tick(T + 100 * MINUTE)
    assert total(scrape(engine), "active_bans") == 0


def test_what_the_kernel_dropped_is_told_by_scope_and_missing_if_it_does_not_say(engine):
    samples = scrape(engine)
    assert value(samples, "dropped_packets_total", scope="sip") == 7
    assert value(samples, "dropped_bytes_total", scope="sip") == 700
    assert total(scrape(engine, dropped={}), "dropped_packets_total") == 0
    assert not [key for key in scrape(engine, dropped={}) if key[0].startswith("astguard_dropped")]


def test_exactly_one_state_of_the_link_is_true(engine):
    for state in ("connecting", "up", "lost", "refused", "no user"):
        samples = scrape(engine, link=state)
        assert value(samples, "link_state", state=state) == total(samples, "link_state") == 1
    for result in ("waiting", "ok", "failed"):
        samples = scrape(engine, self_test=result)
        assert value(samples, "self_test", result=result) == total(samples, "self_test") == 1


def test_histograms_are_in_seconds_and_cumulative(engine):
    samples = scrape(engine)
    assert value(samples, "ami_lag_seconds_bucket", le="0.001") == 1
    assert value(samples, "ami_lag_seconds_bucket", le="1.0") == value(samples, "ami_lag_seconds_count") == 2
    assert value(samples, "ami_lag_seconds_sum") == 1
    assert value(samples, "event_to_kernel_seconds_bucket", le="60.0", by="event") == 1
    assert value(samples, "event_to_kernel_seconds_count", by="log") == 0
    assert value(samples, "ban_seconds_sum") == 0.0005


def test_every_table_has_a_limit_and_none_is_over_it(engine):
    samples = scrape(engine)
    tables = {dict(key[1:])["table"] for key in samples if key[0] == "astguard_table_entries"}
    assert {"bans", "strikes", "hosts", "senders", "windows", "trusted_sites", "waiting_bans"} <= tables
    for table in tables:
        assert 0 <= value(samples, "table_entries", table=table) <= value(samples, "table_limit", table=table)
        assert value(samples, "table_evictions_total", table=table) == 0


def test_what_a_full_table_forgot_is_told_under_its_name():
    engine = Engine([rule()], capacity=2)
    for last in range(5):
        engine.ban(parse_source(f"198.51.100.{last}"), MINUTE, T)
    samples = scrape(engine)
    assert value(samples, "table_entries", table="bans") == value(samples, "table_limit", table="bans") == 2
    assert value(samples, "table_evictions_total", table="bans") == 3


def test_no_address_and_no_account_is_in_a_page(engine):
    """Whoever chooses an address chooses how many series there are, and what a page shows."""
    engine.handle([event("203.0.113.250", at=T, account=HOSTILE)] * 5, T, T)
    page = Metrics(lambda: reading(engine)).page().decode()
    assert not re.search(r"198\.51\.100|203\.0\.113|192\.0\.2|2001:db8|evil|\b101\b", page)
    labels = {name for family in text_string_to_metric_families(page) for s in family.samples for name in s.labels}
    assert labels <= {
        "version", "python", "outcome", "rule", "scope", "family", "backend", "state", "result", "table", "by", "le",
    }  # fmt: skip


def test_reading_changes_nothing(engine):
    """Two scrapes in a row are the same, the process's own numbers apart."""
    assert {key: n for key, n in scrape(engine).items() if key[0].startswith("astguard")} == {
        key: n for key, n in scrape(engine).items() if key[0].startswith("astguard")
    }


def test_every_series_that_may_be_is_there_from_the_start():
    """What appears later is the rules that a reload brings, bans by hand, and nothing else."""
    fresh, used = Engine([rule()]), Engine([rule()])
    used.handle([event(at=T) for _ in range(9)], T, T)
    assert scrape(used).keys() == scrape(fresh).keys()
    assert {op for op, _, _ in used.tally.bans} == {Op.ADD}
    assert Outcome.BANNED in {outcome for _, outcome in used.outcomes()}
