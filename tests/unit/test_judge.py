"""Thresholds, trust, the blast radius, crowds, and the limit on unproven bans."""

from __future__ import annotations

import pytest

from guard.core.alarm import Kind as About
from guard.core.ban import Op
from guard.core.engine import Engine
from guard.core.event import Kind, Sensor, Service, Transport
from guard.core.failing import PHONE_PACE
from guard.core.limit import A_MINUTE, UnprovenLimit
from guard.core.outcome import Outcome
from guard.core.rule import Across, Evidence, Mode, Scope, Trusted
from guard.core.units import DAY, HOUR, MINUTE, SECOND
from tests.events import event, rule

T = 100 * DAY
OFFICE, PHONE, STRANGER = "192.0.2.50", "192.0.2.21", "198.51.100.7"
GUESSING = rule(threshold=6, window=5 * MINUTE, ban=(HOUR,))


class Pbx:
    """An engine, and what it has said."""

    def __init__(self, *rules, **options):
        self.guard = Engine(rules or [GUESSING], **options)
        self.now = T
        self.bans, self.alarms, self.outcomes = [], [], []

    def send(self, source=STRANGER, count=1, every=0, **fields):
        for number in range(count):
            if number:
                self.wait(every)
            one = event(source, at=self.now, **({"response": str(number)} | fields))
            self.outcomes += self.guard.handle([one], self.now, self.now)
            self._collect()
        return self.outcomes[-1]

    def register(self, source, *accounts):
        for account in accounts:
            self.send(source, kind=Kind.SUCCESSFUL_AUTH, account=account, password=True)

    def wait(self, span):
        end = self.now + span
        while (deadline := self.guard.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.guard.tick(deadline)
            self._collect()
        self.now = end
        self.guard.tick(end)
        self._collect()

    def _collect(self):
        self.bans += [change.ban for change in self.guard.take_changes() if change.op in (Op.ADD, Op.OBSERVE)]
        self.alarms += self.guard.take_alarms()

    @property
    def about(self):
        return [(alarm.kind, alarm.account) for alarm in self.alarms]


# Trust.


def test_trust_raises_the_threshold_and_is_no_immunity():
    pbx = Pbx()
    pbx.register(PHONE, "110")
    pbx.send(PHONE, 23, account="101", transport=Transport.TCP)
    assert not pbx.bans
    pbx.send(PHONE, account="101", transport=Transport.TCP)
    assert [(ban.offences, ban.evidence, ban.scope) for ban in pbx.bans] == [(24, "proven", "all")]


def test_ten_times_is_the_most_and_a_day_later_it_is_gone():
    pbx = Pbx()
    pbx.register(OFFICE, *map(str, range(100, 120)))
    pbx.send(OFFICE, 59)
    assert not pbx.bans
    pbx.send(OFFICE, account="102")
    assert pbx.bans
    later = Pbx()
    later.register(OFFICE, *map(str, range(100, 120)))
    later.wait(DAY)
    later.send(OFFICE, 6)
    assert later.bans


def test_trust_fades():
    pbx = Pbx()
    pbx.register(PHONE, "110")
    pbx.wait(DAY * 2 // 3)
    pbx.send(PHONE, 12, account="101")
    assert [ban.offences for ban in pbx.bans] == [12]


@pytest.mark.parametrize(
    "success",
    [
        {"password": False},
        {"service": Service.AMI, "transport": Transport.TCP},
        {"service": Service.SIP, "password": True},
        {"account": "101", "password": True, "sensor": Sensor.MESSAGES},
    ],
)
def test_only_a_pjsip_success_with_a_password_is_trusted(success):
    pbx = Pbx()
    pbx.send(PHONE, kind=Kind.SUCCESSFUL_AUTH, **success)
    pbx.send(PHONE, 6)
    assert pbx.bans


def test_a_success_takes_off_its_account_s_failures():
    pbx = Pbx()
    pbx.send(PHONE, 5, account="110")
    pbx.register(PHONE, "110")
    pbx.wait(DAY)
    guard = pbx.guard._judge._tracks._all[0]
    assert len(guard._all) == 0


def test_a_success_takes_off_nobody_else_s_failures():
    pbx = Pbx()
    pbx.send(STRANGER, 5, account="101")
    pbx.register(STRANGER, "777")
    pbx.send(STRANGER, 19, account="101")
    assert [ban.offences for ban in pbx.bans] == [24]


def test_fifteen_wrong_answers_and_then_the_right_one_are_a_typo():
    pbx = Pbx()
    pbx.send(PHONE, 15, session="one", account="110")
    pbx.register(PHONE, "110")
    assert not pbx.bans
    assert not pbx.alarms


@pytest.mark.parametrize("session", ["one", None])
def test_a_success_right_after_many_failures_is_an_alarm_that_names_the_account(session):
    pbx = Pbx(rule(threshold=100))
    pbx.send(STRANGER, 17, session=session, account="110")
    pbx.register(STRANGER, "110")
    assert pbx.about == [(About.GUESSED_PASSWORD, "110")]
    assert "110" in pbx.alarms[0].text


# The blast radius.


def test_one_account_that_fails_at_a_phone_s_pace_is_a_broken_phone_told_once_a_day():
    pbx = Pbx()
    pbx.register(OFFICE, *map(str, range(100, 109)))
    for burst in range(240):
        for number in range(15):
            pbx.send(OFFICE, session=f"burst-{burst}", account="109", response=f"{burst}-{number}")
        pbx.wait(30 * SECOND)
        if burst % 20 == 0:
            pbx.register(OFFICE, *map(str, range(100, 109)))
    assert not pbx.bans
    assert pbx.about == [(About.BROKEN_PHONE, "109")]
    pbx.wait(DAY)
    pbx.register(OFFICE, *map(str, range(100, 109)))
    pbx.send(OFFICE, 100, every=SECOND, account="109")
    assert pbx.about == [(About.BROKEN_PHONE, "109")] * 2


def test_a_broken_phone_is_told_of_before_it_is_in_danger():
    pbx = Pbx()
    pbx.register(OFFICE, *map(str, range(100, 109)))
    pbx.send(OFFICE, 6, every=5 * SECOND, account="109")
    assert pbx.about == [(About.BROKEN_PHONE, "109")]


def test_five_passwords_tried_by_a_person_are_no_alarm():
    pbx = Pbx()
    pbx.send(PHONE, 5, every=20 * SECOND, account="110")
    pbx.register(PHONE, "110")
    assert not pbx.alarms


def test_faster_than_a_phone_is_an_attacker_and_the_account_is_named():
    pbx = Pbx()
    pbx.register(OFFICE, *map(str, range(100, 109)))
    pbx.send(OFFICE, PHONE_PACE + 61, account="101")
    assert [ban.scope for ban in pbx.bans] == [Scope.SLOW]
    assert (About.TRUSTED_SOURCE, "101") in pbx.about


@pytest.mark.parametrize(
    ("word", "transport", "scopes"),
    [
        (Trusted.SLOW, Transport.TCP, [Scope.SLOW]),
        (Trusted.SIP, Transport.TCP, [Scope.SIP]),
        (Trusted.BAN, Transport.TCP, [Scope.ALL]),
        (Trusted.ALARM, Transport.TCP, []),
        (Trusted.BAN, Transport.UDP, [Scope.SLOW]),
        (Trusted.SIP, Transport.UDP, [Scope.SLOW]),
        (Trusted.ALARM, Transport.UDP, []),
    ],
)
def test_the_rule_says_what_follows_for_a_source_with_trusted_accounts(word, transport, scopes):
    pbx = Pbx(rule(threshold=6, window=5 * MINUTE, trusted=word))
    pbx.register(OFFICE, "100", "101", "102")
    for number in range(70):
        pbx.send(OFFICE, account=str(200 + number % 3), transport=transport)
    assert [ban.scope for ban in pbx.bans] == scopes
    assert (About.TRUSTED_SOURCE, None) in pbx.about


def test_an_insider_with_one_account_who_guesses_others_is_slowed_or_banned():
    for transport, scope in ((Transport.UDP, Scope.SLOW), (Transport.TLS, Scope.ALL)):
        pbx = Pbx()
        pbx.register(STRANGER, "777")
        pbx.send(STRANGER, 60, every=2 * SECOND, account="101", transport=transport)
        assert [ban.scope for ban in pbx.bans] == [scope]


def test_a_lone_phone_with_an_old_password_is_told_and_left_alone():
    pbx = Pbx()
    pbx.register(PHONE, "110")
    pbx.send(PHONE, 60, every=2 * SECOND, account="110")
    assert not pbx.bans
    assert pbx.about == [(About.BROKEN_PHONE, "110")]


@pytest.mark.parametrize("own", ["777", "888"])
def test_a_broken_phone_excuses_its_own_wrong_answers_and_nothing_else(own):
    login = rule("ami", weights={Kind.INVALID_PASSWORD: 1}, threshold=3, window=10 * MINUTE, trusted=Trusted.BAN)
    walls = rule("acl", weights={Kind.FAILED_ACL: 1}, threshold=6, window=10 * MINUTE)
    flood = rule("flood", weights={Kind.CHALLENGE_SENT: 1}, threshold=60, window=MINUTE)
    ami = {"kind": Kind.INVALID_PASSWORD, "service": Service.AMI, "transport": Transport.TCP}
    acl = {"kind": Kind.FAILED_ACL, "acl": "not_match_endpoint_acl"}
    for sends, most in (
        (ami, 21),
        (acl, 42),
        (acl | {"transport": Transport.TCP}, 42),
        ({"kind": Kind.CHALLENGE_SENT}, 420),
    ):
        pbx = Pbx(login, walls, flood, GUESSING)
        pbx.register(STRANGER, "777", "888")
        pbx.wait(2 * MINUTE)
        for number in range(most):
            if number % 10 == 0:
                pbx.send(STRANGER, account=own)
            pbx.send(STRANGER, account=own, **sends)
        assert pbx.bans, sends


def test_of_forty_phones_two_may_be_broken_at_once():
    pbx = Pbx()
    pbx.register(OFFICE, *map(str, range(100, 140)))
    for number in range(200):
        pbx.send(OFFICE, account=str(200 + number % 2))
        pbx.wait(2 * SECOND)
    assert not pbx.bans
    assert sorted(pbx.about) == [(About.BROKEN_PHONE, "200"), (About.BROKEN_PHONE, "201")]


def test_what_only_the_log_tells_is_no_broken_phone_and_is_not_taken_off():
    pbx = Pbx(GUESSING)
    pbx.register(STRANGER, "777")
    for _ in range(40):
        pbx.send(STRANGER, account="777", sensor=Sensor.MESSAGES, transport=Transport.UNNAMED)
        pbx.register(STRANGER, "777")
    assert [ban.scope for ban in pbx.bans] == [Scope.SLOW]


def test_what_an_insider_can_guess_in_an_hour():
    """At one account, as a phone does: 96 a minute. At several he is slowed past ten times the threshold."""
    office = list(map(str, range(100, 110)))
    one = Pbx()
    one.register(OFFICE, *office)
    before = 0
    for _ in range(60):
        one.send(OFFICE, PHONE_PACE, every=0, account="101")
        one.wait(MINUTE)
        before += PHONE_PACE
    assert not one.bans
    assert before == 5_760
    one.send(OFFICE, PHONE_PACE + 1, every=0, account="101")
    one.wait(MINUTE)
    one.send(OFFICE, 61, every=0, account="101")
    assert [ban.scope for ban in one.bans] == [Scope.SLOW]
    several = Pbx()
    several.register(OFFICE, *office)
    guesses = 0
    while not several.bans:
        several.send(OFFICE, account=office[guesses % 2])
        guesses += 1
    assert guesses == 60
    assert several.bans[0].scope is Scope.SLOW


def test_a_phone_framed_by_forged_datagrams_is_slowed_at_the_most():
    flood = rule("flood", weights={Kind.CHALLENGE_SENT: 1}, threshold=60, window=MINUTE)
    unknown = rule("scan", weights={Kind.INVALID_ACCOUNT_ID: 1}, threshold=4, distinct=True)
    pbx = Pbx(GUESSING, flood, unknown)
    pbx.register(PHONE, "110")
    pbx.wait(2 * MINUTE)
    for number in range(300):
        for kind in (Kind.CHALLENGE_RESPONSE_FAILED, Kind.INVALID_ACCOUNT_ID, Kind.CHALLENGE_SENT):
            pbx.send(PHONE, kind=kind, account=str(number % 50))
    assert {ban.scope for ban in pbx.bans} == {Scope.SLOW}


def test_a_network_ban_looks_for_trusted_accounts_in_the_whole_network():
    crowd = rule(
        "crowd", threshold=10, window=5 * MINUTE, proven_only=True, prefix={4: 24, 6: 48}, trusted=Trusted.ALARM
    )
    for neighbours, bans in (([], 1), (["192.0.2.200"], 0), (["192.0.2.200", "192.0.2.201"], 0)):
        pbx = Pbx(crowd)
        for number, neighbour in enumerate(neighbours):
            pbx.register(neighbour, str(number))
        for number in range(10):
            pbx.send(f"192.0.2.{number + 1}", account=f"2{number}", transport=Transport.TCP)
        assert len(pbx.bans) == bans
        assert [kind for kind, _ in pbx.about] == [About.TRUSTED_SOURCE] * (1 - bans)


# Unanswered challenges.


def test_challenges_without_any_success_are_a_flood_and_of_a_phone_they_are_not():
    flood = rule("flood", weights={Kind.CHALLENGE_SENT: 1}, threshold=60, window=MINUTE)
    pbx = Pbx(flood)
    pbx.send(STRANGER, 60, kind=Kind.CHALLENGE_SENT, session="one")
    assert [ban.scope for ban in pbx.bans] == [Scope.SIP]
    phone = Pbx(flood)
    for _ in range(30):
        phone.register(PHONE, "110")
        phone.send(PHONE, 300, kind=Kind.CHALLENGE_SENT)
        phone.wait(50 * SECOND)
    assert not phone.bans


# Across sources.


def test_an_account_that_many_guess_at_is_an_alarm_and_they_are_banned_at_a_lower_threshold():
    pbx = Pbx(rule(threshold=6, window=5 * MINUTE, across=Across(10, 2)))
    pbx.register("192.0.2.9", "101", "102")
    for source in range(1, 41):
        pbx.send(f"198.51.100.{source}", 3, account="101")
        pbx.send("192.0.2.9", 1, account="102")
    assert [kind for kind in pbx.about if kind[1] == "101"] == [(About.ACCOUNT_UNDER_ATTACK, "101")]
    assert len(pbx.bans) == 31, "all but those who had gone before the crowd was known"
    assert {ban.scope for ban in pbx.bans} == {Scope.SIP}
    assert "192.0.2.9" not in {str(ban.source) for ban in pbx.bans}


def test_a_crowd_does_not_make_one_unproven_guess_a_ban():
    pbx = Pbx(rule(threshold=6, window=5 * MINUTE, across=Across(10, 1)))
    for source in range(1, 41):
        pbx.send(f"198.51.100.{source}", account="101")
    assert not pbx.bans
    pbx.send("198.51.100.200", account="101", transport=Transport.TCP)
    assert [(ban.scope, ban.offences) for ban in pbx.bans] == [(Scope.SIP, 1)]


# Unproven evidence.


def test_a_rung_is_climbed_only_if_the_source_went_on_after_its_last_ban():
    pbx = Pbx()
    pbx.send(STRANGER, 6)
    pbx.wait(10 * MINUTE)
    late = [event(STRANGER, at=pbx.now - SECOND, session=str(number)) for number in range(6)]
    pbx.guard.handle(late, pbx.now, pbx.now)
    pbx._collect()
    assert [(ban.strike, ban.until - ban.since) for ban in pbx.bans] == [(1, 10 * MINUTE)] * 2
    pbx.wait(10 * MINUTE)
    pbx.send(STRANGER, 6)
    assert pbx.bans[-1].strike == 2


def test_the_longest_unproven_ban_is_configured():
    pbx = Pbx(unproven_max=20 * MINUTE)
    for _ in range(3):
        pbx.send(STRANGER, 6)
        pbx.wait(20 * MINUTE)
    assert [ban.until - ban.since for ban in pbx.bans] == [10 * MINUTE, 20 * MINUTE, 20 * MINUTE]


def test_a_forged_flood_is_held_by_the_limit_and_the_heaviest_are_banned_first():
    pbx = Pbx()
    for number in range(200):
        pbx.send(f"203.0.113.{number}", 6, account=str(number))
    assert len(pbx.bans) == A_MINUTE // 2
    assert pbx.about == [(About.UNPROVEN_LIMIT, None)]
    pbx.send("198.51.100.1", 9, account="201")
    pbx.send("198.51.100.2", 30, account="202")
    pbx.wait(2 * SECOND)
    assert [(ban.source[2:].hex(), ban.offences, ban.by) for ban in pbx.bans[60:]] == [
        ("c6336402", 30, "timer"),
        ("c6336401", 9, "timer"),
    ]
    pbx.send("198.51.100.3", 60, account="203")
    assert pbx.bans[-1].offences == 60, "ten times over the threshold is banned at once"
    pbx.wait(57 * SECOND)
    assert len(pbx.bans) <= A_MINUTE + 1


def test_an_insider_is_slowed_however_many_are_forged():
    pbx = Pbx()
    pbx.register(OFFICE, *map(str, range(100, 110)))
    for number in range(200):
        pbx.send(f"203.0.113.{number}", 49, account=str(number))
    for number in range(60):
        pbx.send(OFFICE, account=str(200 + number % 3))
    assert pbx.bans[-1].scope is Scope.SLOW


def test_forged_failures_at_accounts_that_are_not_there_are_no_account_under_attack():
    pbx = Pbx(rule(threshold=100))
    for source in range(1, 41):
        for session in ("a", "b"):
            pbx.send(f"198.51.100.{source}", account="<unknown>", session=session)
    assert not pbx.alarms


def test_alarms_of_one_kind_are_a_hundred_a_day_at_the_most():
    pbx = Pbx(rule(threshold=1_000))
    for account in range(150):
        for source in range(1, 12):
            pbx.send(f"198.51.100.{source}", account=str(account))
    assert len(pbx.alarms) == 100
    assert pbx.guard.tally.counts["alarms.dropped"] == 50


def test_unproven_evidence_never_widens_whatever_a_rule_says():
    pbx = Pbx(rule(threshold=3, prefix={4: 24, 6: 48}))
    for host in (1, 2, 3):
        pbx.send(f"198.51.100.{host}")
    assert [ban.source[1] for ban in pbx.bans] == [32]


def test_proven_bans_know_no_limit():
    pbx = Pbx()
    for number in range(200):
        pbx.send(f"203.0.113.{number}", 6, transport=Transport.TCP)
    assert len(pbx.bans) == 200


def test_past_the_number_of_active_unproven_bans_only_ten_times_the_threshold_is_banned(monkeypatch):
    monkeypatch.setattr("guard.core.limit.ACTIVE", 1)
    limit = UnprovenLimit()
    assert limit.ask("a", 1.0, 30 * SECOND, "a", T)
    assert not limit.ask("b", 9.9, HOUR, "b", T)
    assert limit.ask("c", 10, HOUR, "c", T), "and it takes nobody's place"
    assert limit.serve(T + 29 * SECOND) is None
    assert limit.serve(T + 30 * SECOND) == "b"


def test_those_who_wait_are_bounded_and_the_lightest_go(monkeypatch):
    monkeypatch.setattr("guard.core.limit.WAITING_LIMIT", 100)
    limit = UnprovenLimit()
    for number in range(1_000):
        limit.ask(number, 1 + number / 1_000, HOUR, number, T)
        assert len(limit) <= 100
    assert limit.forgotten > 800
    assert limit.serve(T + SECOND) == 999


def test_who_has_not_been_heard_for_a_minute_waits_no_longer():
    limit = UnprovenLimit()
    for number in range(A_MINUTE // 2):
        limit.ask(number, 1.0, HOUR, number, T)
    limit.ask("a", 2.0, HOUR, "a", T)
    assert limit.deadline == T + SECOND
    assert limit.serve(T + MINUTE) is None
    assert limit.deadline is None


# What the security log tells of a time when nobody watched.


def test_what_is_past_counts_for_strikes_only():
    pbx = Pbx(rule(threshold=3, ban=(MINUTE, HOUR)))
    old = [
        event(STRANGER, at=T - HOUR // 2 + number, sensor=Sensor.SECURITY, transport=Transport.TCP)
        for number in range(3)
    ]
    assert set(pbx.guard.handle(old, T, T)) == {Outcome.COUNTED}
    pbx.send(STRANGER, 3, transport=Transport.TCP)
    assert [(ban.strike, ban.evidence) for ban in pbx.bans] == [(2, Evidence.PROVEN)]


def test_what_the_security_log_tells_of_the_last_minute_bans():
    pbx = Pbx(rule(threshold=3))
    now = [event(STRANGER, at=T - SECOND, sensor=Sensor.SECURITY) for number in range(3)]
    assert pbx.guard.handle(now, T, T)[-1] is Outcome.BANNED


# Observing.


def test_an_observing_rule_foresees_the_same():
    pbx = Pbx(mode=Mode.OBSERVE)
    pbx.register(OFFICE, "100", "101")
    for number in range(60):
        pbx.send(OFFICE, account=str(200 + number % 3))
    assert [ban.scope for ban in pbx.bans] == [Scope.SLOW]
    assert not len(pbx.guard.ledger)


def test_muted_events_are_an_alarm_a_day():
    pbx = Pbx()
    for _ in range(3):
        pbx.guard.muted(5, pbx.now)
    pbx._collect()
    assert pbx.about == [(About.MUTED, None)]
    assert pbx.guard.tally.counts["log.muted"] == 15
