"""Events and instants in; outcomes, changes and one deadline out."""

from __future__ import annotations

import pytest

from guard.core.address import parse_source, show
from guard.core.ban import Op
from guard.core.engine import MAX_AGE, Engine
from guard.core.event import Kind, Service, Transport
from guard.core.hosts import Hosts
from guard.core.outcome import Outcome
from guard.core.rule import Evidence, Mode, Scope
from guard.core.units import DAY, HOUR, MINUTE, SECOND
from tests.events import each, event, rule

T = 1_000 * SECOND


def engine(*rules, **options):
    return Engine(rules or [rule()], **options)


def feed(guard, *events, now=T, wall=None):
    return guard.handle(each(events), now, now if wall is None else wall)


def bans(guard):
    return [change.ban for change in guard.take_changes() if change.op is Op.ADD]


def test_the_third_offence_bans_and_the_fourth_finds_the_source_banned():
    guard = engine()
    assert feed(guard, *[event(at=T)] * 4) == [
        Outcome.COUNTED, Outcome.COUNTED, Outcome.BANNED, Outcome.ALREADY_BANNED,
    ]  # fmt: skip
    (ban,) = bans(guard)
    assert (show(ban.source), ban.rule, ban.strike, ban.offences, ban.events) == (
        "198.51.100.7/32",
        "guessing",
        1,
        3,
        3,
    )
    assert (ban.since, ban.until) == (T, T + 10 * MINUTE)


def test_a_ban_states_all_events_of_its_source_that_were_read_before():
    guard = engine()
    feed(guard, event(at=T, kind=Kind.CHALLENGE_SENT), event(at=T, source="198.51.100.8"), *[event(at=T)] * 3)
    assert bans(guard)[0].events == 4


def test_a_flood_of_others_does_not_make_a_ban_forget_the_events_of_its_source():
    guard, phone = engine(rule(prefix={4: 32, 6: 48}), rule("site")), "2001:db8:1:2::3"
    guard._hosts = guard._judge._hosts = guard._judge._responder.hosts = Hosts(guard.ledger, guard.allow, 20)
    for flood in range(5):
        crowd = [f"198.51.100.{flood * 40 + last}" for last in range(12)]
        feed(guard, event(phone, at=T, kind=Kind.CHALLENGE_SENT), *[event(one, at=T) for one in crowd])
    feed(guard, *[event(phone, at=T)] * 3)
    assert bans(guard)[0].events == 8
    assert guard.tally.counts["hosts.forgotten"] >= 30


def test_outcomes_sum_to_events():
    guard = engine(allow=[parse_source("192.0.2.0/24")])
    feed(guard, event(at=T), event(at=T, source="192.0.2.1"), event(at=T, source="127.0.0.1"),
         event(at=T, kind=Kind.SUCCESSFUL_AUTH, password=True), *[event(at=T)] * 5)  # fmt: skip
    counts = guard.tally.counts
    assert sum(count for name, count in counts.items() if name.startswith("outcome.")) == counts["events"] == 9


def test_an_event_happened_when_asterisk_says_but_never_in_the_future_nor_long_ago():
    guard = engine()
    wall = 10 * DAY
    # Two happened 61 s ago: outside the minute. One claims to come from the future: it happened now.
    old, future = event(at=wall - 61 * SECOND), event(at=wall + HOUR)
    assert feed(guard, old, old, future, event(at=wall), wall=wall) == [
        Outcome.COUNTED, Outcome.COUNTED, Outcome.COUNTED, Outcome.COUNTED,
    ]  # fmt: skip
    assert feed(guard, event(at=wall), wall=wall) == [Outcome.BANNED]


def test_an_event_that_claims_the_future_leaves_the_window_like_any_other():
    guard = engine()
    feed(guard, event(at=T + HOUR), wall=T)
    later = T + 61 * SECOND
    assert Outcome.BANNED not in feed(guard, event(at=later), event(at=later), now=later)


def test_an_event_is_never_older_than_an_hour():
    guard = engine(rule(window=2 * HOUR))
    now = 5 * HOUR
    outcomes = feed(guard, *[event(at=0)] * 3, now=now, wall=365 * DAY)
    assert outcomes[-1] is Outcome.BANNED
    assert MAX_AGE == HOUR


def test_a_drained_backlog_spreads_over_the_past():
    guard = engine()
    wall = DAY
    backlog = [event(at=wall - second * SECOND) for second in (590, 400, 200, 100)]
    assert Outcome.BANNED not in feed(guard, *backlog, wall=wall)
    close = [event("198.51.100.9", at=wall - second * SECOND) for second in (3, 2, 1)]
    assert feed(guard, *close, wall=wall)[-1] is Outcome.BANNED
    assert bans(guard)[0].since == T  # a ban starts now


def test_the_engine_time_never_goes_back():
    guard = engine()
    feed(guard, event(at=T), now=T)
    feed(guard, event(at=T), now=T - HOUR, wall=T)
    assert guard.now == T
    feed(guard, event(at=T), now=T - HOUR, wall=T)
    assert bans(guard)[0].since == T
    assert guard.tally.counts["clock.backwards"] == 2


@pytest.mark.parametrize("source", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "ff02::1"])
def test_special_sources_are_never_banned(source):
    guard = engine()
    assert set(feed(guard, *[event(source, at=T)] * 9)) == {Outcome.SPECIAL}
    assert not guard.take_changes()


def test_the_allowlist_wins():
    guard = engine(allow=[parse_source("198.51.100.0/24")])
    assert set(feed(guard, *[event(at=T)] * 9)) == {Outcome.ALLOWED}
    assert not guard.take_changes()


def test_a_network_that_holds_somebody_allowed_narrows_to_the_host():
    wide = rule(prefix={4: 24, 6: 48}, proven_only=True)
    guard = engine(wide, allow=[parse_source("198.51.100.200")])
    feed(guard, *[event(at=T, transport=Transport.TCP)] * 3)
    assert [show(ban.source) for ban in bans(guard)] == ["198.51.100.7/32"]


def test_hosts_of_a_network_are_counted_together_where_the_rule_says_so():
    guard = engine(rule(prefix={4: 24, 6: 48}, proven_only=True))
    outcomes = feed(guard, *[event(f"198.51.100.{last}", at=T, transport=Transport.TCP) for last in (1, 2, 3, 4)])
    assert outcomes[2:] == [Outcome.BANNED, Outcome.ALREADY_BANNED]
    (ban,) = bans(guard)
    assert (show(ban.source), ban.events) == ("198.51.100.0/24", 3)


def test_an_ipv6_site_is_its_64():
    guard = engine()
    feed(guard, *[event(f"2001:db8::{last}", at=T) for last in (1, 2, 3)])
    assert [show(ban.source) for ban in bans(guard)] == ["2001:db8::/64"]


def test_neighbours_on_the_link_share_a_64_and_are_told_apart():
    guard = engine(rule(prefix={4: 24, 6: 48}))
    feed(guard, *[event("fe80::1", at=T)] * 2, event("fe80::2", at=T))
    assert not bans(guard)
    feed(guard, event("fe80::1", at=T))
    assert [(show(ban.source), ban.events) for ban in bans(guard)] == [("fe80::1/128", 3)]


def test_allowing_a_host_in_a_banned_64_narrows_later_bans_to_the_other_hosts():
    guard = engine(allow=[parse_source("2001:db8::5")])
    feed(guard, *[event("2001:db8::1", at=T)] * 3)
    assert [show(ban.source) for ban in bans(guard)] == ["2001:db8::1/128"]


def test_unproven_evidence_closes_the_sip_ports_only_and_for_an_hour_at_most():
    guard = engine(rule(ban=(DAY,)))
    feed(guard, *[event(at=T)] * 3)
    lengths, now = [], T
    for _ in range(4):
        (ban,) = bans(guard)
        assert (ban.evidence, ban.scope) == (Evidence.UNPROVEN, Scope.SIP)
        lengths.append(ban.until - ban.since)
        now = ban.until
        feed(guard, *[event(at=now)] * 3, now=now)
    assert lengths == [10 * MINUTE, 30 * MINUTE, HOUR, HOUR], "a short ladder of its own"


def test_proven_evidence_closes_everything_for_the_whole_rung():
    guard = engine(rule(ban=(DAY,)))
    feed(guard, *[event(at=T, transport=Transport.TLS)] * 3)
    (ban,) = bans(guard)
    assert (ban.evidence, ban.scope, ban.until - ban.since) == (Evidence.PROVEN, Scope.ALL, DAY)


def test_forged_offences_do_not_make_a_phones_own_mistake_a_proven_ban():
    guard = engine()
    feed(guard, event(at=T), event(at=T), event(at=T, transport=Transport.TCP))
    (ban,) = bans(guard)
    assert ban.evidence is Evidence.UNPROVEN


def test_a_rule_that_demands_proof_does_not_count_without():
    guard = engine(rule(proven_only=True))
    assert set(feed(guard, *[event(at=T)] * 9)) == {Outcome.UNMATCHED}


def test_a_ban_of_the_sip_ports_is_no_shield_where_it_does_not_reach():
    guard = engine()
    feed(guard, *[event(at=T)] * 3)
    as_asterisk_16_reports_it = {"transport": Transport.WS, "port": 5060}
    assert feed(guard, *[event(at=T, **as_asterisk_16_reports_it)] * 4) == [
        Outcome.COUNTED, Outcome.COUNTED, Outcome.BANNED, Outcome.ALREADY_BANNED,
    ]  # fmt: skip
    assert [ban.scope for ban in bans(guard)] == [Scope.SIP, Scope.ALL]


def test_what_observes_foresees_what_enforcing_would_do():
    stream = [event(at=T)] * 5 + [event(at=T, transport=Transport.WSS, port=5060)] * 5
    said = []
    for mode in Mode:
        guard = engine(mode=mode)
        feed(guard, *stream)
        said.append([(change.ban.scope, change.ban.evidence, change.ban.strike) for change in guard.take_changes()])
    assert said[0] == said[1] == [(Scope.SIP, Evidence.UNPROVEN, 1), (Scope.ALL, Evidence.PROVEN, 1)]


def test_the_configured_sip_ports_are_the_closed_ones():
    guard = engine(sip_ports=[5071])
    feed(guard, *[event(at=T)] * 3)
    assert feed(guard, event(at=T, transport=Transport.TLS, port=5071)) == [Outcome.ALREADY_BANNED]
    assert guard.sip_ports == (5060, 5071), "the one at which he was heard is learnt"


def test_nobody_is_banned_anew_for_what_the_same_ban_would_not_stop():
    guard = engine(rule(scope=Scope.SIP))
    feed(guard, *[event(at=T)] * 3)
    assert set(feed(guard, *[event(at=T, port=5071)] * 9)) == {Outcome.ALREADY_BANNED}  # forged, for all we know
    assert set(feed(guard, *[event(at=T, transport=Transport.WSS)] * 9)) == {Outcome.COUNTED}
    (ban,) = bans(guard)
    assert (ban.strike, ban.until) == (1, T + 10 * MINUTE)


def test_a_source_whose_sip_ports_are_closed_is_still_judged_on_ami():
    ami = rule("ami", services=frozenset({Service.AMI}), weights={Kind.INVALID_PASSWORD: 3})
    guard = engine(rule(services=frozenset({Service.PJSIP})), ami)
    feed(guard, *[event(at=T)] * 3)
    login = event(at=T, kind=Kind.INVALID_PASSWORD, service=Service.AMI, transport=Transport.TCP)
    assert feed(guard, event(at=T), login, event(at=T)) == [
        Outcome.ALREADY_BANNED, Outcome.BANNED, Outcome.ALREADY_BANNED,
    ]  # fmt: skip
    first, second = bans(guard)
    assert (first.scope, second.scope) == (Scope.SIP, Scope.ALL)
    assert len(guard.ledger) == 1


def test_an_acl_or_an_account_restricts_what_counts():
    guard = engine(
        rule("acl", weights={Kind.FAILED_ACL: 1}, acls=frozenset({"not_match_endpoint_acl"})),
        rule("account", weights={Kind.CHALLENGE_RESPONSE_FAILED: 1}, accounts=frozenset({"100"})),
    )
    assert feed(
        guard,
        event(at=T, kind=Kind.FAILED_ACL, acl="registrar_attempt_without_configured_aors"),
        event(at=T, kind=Kind.FAILED_ACL, acl="not_match_endpoint_acl"),
        event(at=T, account="101"),
        event(at=T, account="100"),
    ) == [Outcome.UNMATCHED, Outcome.COUNTED, Outcome.UNMATCHED, Outcome.COUNTED]


@pytest.mark.parametrize("by", ["rule", "daemon"])
def test_an_observing_rule_says_and_bans_nobody(by):
    guard = engine(rule(mode=Mode.OBSERVE)) if by == "rule" else engine(mode=Mode.OBSERVE)
    outcomes = feed(guard, *[event(at=T)] * 5)
    assert outcomes == [Outcome.COUNTED, Outcome.COUNTED, Outcome.OBSERVED, Outcome.OBSERVED, Outcome.OBSERVED]
    changes = guard.take_changes()
    assert [change.op for change in changes] == [Op.OBSERVE]
    assert not len(guard.ledger)
    assert guard.tally.counts["bans.observed"] == 1


def test_an_observing_rule_does_not_keep_an_enforcing_one_from_banning():
    guard = engine(rule("a", threshold=1, mode=Mode.OBSERVE), rule("b", threshold=2))
    assert feed(guard, event(at=T), event(at=T)) == [Outcome.OBSERVED, Outcome.BANNED]


def test_the_ladder_is_climbed_by_who_comes_back():
    guard = engine(rule(ban=(MINUTE, 2 * MINUTE, 3 * MINUTE), forget=HOUR))
    now, lengths = T, []
    for _ in range(4):
        feed(guard, *[event(at=now, transport=Transport.TCP)] * 3, now=now)
        (ban,) = bans(guard)
        lengths.append((ban.strike, ban.until - ban.since))
        now = ban.until
    assert lengths == [(1, MINUTE), (2, 2 * MINUTE), (3, 3 * MINUTE), (4, 3 * MINUTE)]
    now += HOUR
    feed(guard, *[event(at=now, transport=Transport.TCP)] * 3, now=now)
    assert bans(guard)[0].strike == 1


def test_the_deadline_is_the_end_of_the_next_ban_and_is_over_once_handled():
    guard = engine()
    assert guard.deadline is None
    feed(guard, *[event(at=T)] * 3)
    assert guard.deadline == T + 10 * MINUTE
    guard.take_changes()
    guard.tick(guard.deadline)
    assert [change.op for change in guard.take_changes()] == [Op.EXPIRE]
    assert guard.deadline is None


def test_a_ban_by_hand_and_its_end_by_hand():
    guard = engine()
    source = parse_source("203.0.113.0/24")
    assert guard.ban(source, HOUR, T, reason="abuse report")
    assert not guard.ban(source, HOUR, T)
    (change,) = guard.take_changes()
    assert (change.ban.origin, change.ban.reason, change.ban.scope) == ("manual", "abuse report", Scope.ALL)
    assert guard.unban(source, T + 1)
    assert not guard.unban(source, T + 2)
    assert [change.op for change in guard.take_changes()] == [Op.REMOVE]


@pytest.mark.parametrize("entry", ["198.51.100.7", "198.51.100.0/24", "198.51.0.0/16"])
def test_allowing_a_source_lifts_every_ban_it_touches(entry):
    guard = engine()
    feed(guard, *[event(at=T)] * 3)
    guard.allow_source(parse_source(entry), T)
    assert [change.op for change in guard.take_changes()] == [Op.ADD, Op.REMOVE]
    assert feed(guard, event(at=T)) == [Outcome.ALLOWED]


def test_allowing_a_host_lifts_the_ban_of_its_network():
    guard = engine()
    guard.ban(parse_source("198.51.100.0/24"), HOUR, T)
    guard.allow_source(parse_source("198.51.100.7"), T)
    assert not len(guard.ledger)


def test_who_is_taken_off_the_allowlist_is_judged_again():
    guard = engine(allow=[parse_source("198.51.100.7")])
    assert feed(guard, event(at=T)) == [Outcome.ALLOWED]
    assert guard.disallow_source(parse_source("198.51.100.7"))
    assert not guard.disallow_source(parse_source("198.51.100.7"))
    assert feed(guard, event(at=T)) == [Outcome.COUNTED]


def test_failed_authentications_are_counted_for_the_meters_whatever_the_outcome():
    guard = engine(allow=[parse_source("198.51.100.7")])
    feed(guard, event(at=T), event(at=T, kind=Kind.CHALLENGE_SENT), event("127.0.0.1", at=T))
    assert sum(guard.tally.take_failed().values()) == 2


def test_bans_of_an_earlier_life_are_adopted_with_the_time_they_have_left():
    guard = engine(allow=[parse_source("192.0.2.0/24")])
    held = {
        (parse_source("198.51.100.7"), Scope.SIP): MINUTE,
        (parse_source("203.0.113.0/24"), Scope.ALL): HOUR,
        (parse_source("203.0.113.9"), Scope.ALL): HOUR,  # inside the network: not needed
        (parse_source("192.0.2.7"), Scope.ALL): HOUR,  # allowed by now
    }
    guard.adopt(held, T)
    assert {show(ban.source): (ban.rule, ban.until - T) for ban in guard.ledger} == {
        "198.51.100.7/32": ("adopted", MINUTE),
        "203.0.113.0/24": ("adopted", HOUR),
    }
    assert {(change.op, show(change.ban.source)) for change in guard.take_changes()} == {
        (Op.REMOVE, "203.0.113.9/32"),
        (Op.REMOVE, "192.0.2.7/32"),
    }
    assert feed(guard, event(at=T)) == [Outcome.ALREADY_BANNED]
    assert guard.deadline == T + MINUTE
