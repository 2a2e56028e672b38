"""The several events of one try fold into one attempt; what a sender can gain by each field that he chooses."""

from __future__ import annotations

import pytest

from guard.core.attempt import HELD_LIMIT, OPEN_LIMIT, SESSIONS_LIMIT, Attempts
from guard.core.engine import Engine
from guard.core.event import Kind, Sensor, Service, Transport
from guard.core.identify import NAMES_LIMIT, PLAIN_ENOUGH
from guard.core.outcome import Outcome
from guard.core.sender import REPEAT, SESSIONS_OF_ONE
from guard.core.units import DAY, MINUTE, SECOND
from tests.events import event, rule

T = 1_000 * SECOND
ASKED, CHALLENGED, WRONG = Kind.INVALID_ACCOUNT_ID, Kind.CHALLENGE_SENT, Kind.CHALLENGE_RESPONSE_FAILED
BOTH = rule("both", weights={ASKED: 1, WRONG: 1, Kind.FAILED_ACL: 1}, threshold=100, window=5 * MINUTE)
GUESSING = rule("guessing", threshold=6, window=5 * MINUTE)


class Phone:
    """Somebody who sends; `total` is what a rule has against him."""

    def __init__(self, *rules, source="198.51.100.7"):
        self.guard = Engine(rules or [BOTH])
        self.now = T
        self.source = source

    def send(self, kind, count=1, **fields):
        """Send events of one kind; return the outcome of the last."""
        fields = {"session": "one", "source": self.source, "password": kind is Kind.SUCCESSFUL_AUTH} | fields
        for _ in range(count):
            (outcome,) = self.guard.handle([event(kind=kind, at=self.now, **fields)], self.now, self.now)
        return outcome

    def ask(self, account="999", **fields):
        """Ask for an account that is not there, as Asterisk tells of it."""
        first = self.send(ASKED, account=account, **fields)
        assert self.send(CHALLENGED, account="<unknown>", **fields) in {Outcome.FOLDED, Outcome.ALREADY_BANNED}
        return first

    def guess(self, response, account="101", **fields):
        return self.send(WRONG, account=account, response=str(response), **fields)

    def wait(self, span):
        end = self.now + span
        while (deadline := self.guard.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.guard.tick(deadline)
        self.now = end
        self.guard.tick(end)

    @property
    def counted(self):
        return self.guard.tally.counts["attempts.counted"]

    @property
    def total(self):
        """What the first rule has counted, read by its window."""
        track = self.guard._judge._tracks._all[0]
        return track._all.add(event(self.source).source, 0, 1, self.now, proven=False)


def test_an_exact_repeat_counts_nothing_more():
    phone = Phone()
    assert phone.guess("a") is Outcome.COUNTED
    for _ in range(3):
        assert phone.guess("a") is Outcome.FOLDED
    assert phone.total == 1


def test_an_unknown_account_is_one_attempt_however_many_events_tell_of_it():
    phone = Phone()
    assert phone.ask() is Outcome.HELD
    assert phone.ask() is Outcome.FOLDED, "the second request carries the answer"
    assert phone.guess("a", "<unknown>") is Outcome.COUNTED
    assert phone.total == 1
    assert phone.counted == 1


def test_a_wrong_answer_for_an_unknown_account_is_a_guess_under_a_rule_that_counts_only_those():
    phone = Phone(GUESSING)
    for number in range(3):
        phone.ask(session=f"call-{number}")
        phone.ask(session=f"call-{number}")
        phone.guess("a", "<unknown>", session=f"call-{number}")
    assert phone.total == 3


@pytest.mark.parametrize("first", [ASKED, CHALLENGED])
def test_twins_are_one_whichever_is_written_first(first):
    phone = Phone()
    accounts = {ASKED: "999", CHALLENGED: "<unknown>"}
    second = CHALLENGED if first is ASKED else ASKED
    assert phone.send(first, account=accounts[first]) is Outcome.HELD
    assert phone.send(second, account=accounts[second]) is Outcome.FOLDED
    phone.wait(4 * SECOND)
    assert phone.total == 1


def test_a_challenge_to_nobody_is_a_request_though_no_other_event_tells_of_it():
    phone = Phone()
    for number in range(3):
        assert phone.send(CHALLENGED, account="<unknown>", session=str(number)) is Outcome.HELD
    phone.wait(4 * SECOND)
    assert phone.total == 3


@pytest.mark.parametrize("challenged_first", [False, True])
def test_an_acl_refusal_and_its_unknown_twins_are_one(challenged_first):
    phone = Phone()
    if challenged_first:
        phone.send(CHALLENGED, account="<unknown>")
    assert phone.send(Kind.FAILED_ACL, acl="not_match_endpoint_acl") is Outcome.COUNTED
    assert phone.send(CHALLENGED, account="<unknown>") is Outcome.FOLDED
    assert phone.send(Kind.FAILED_ACL, acl="not_match_endpoint_acl") is Outcome.FOLDED
    assert phone.guess("a", "<unknown>") is Outcome.FOLDED
    phone.wait(4 * SECOND)
    assert phone.total == 1


def test_the_same_request_long_after_is_another_attempt():
    phone = Phone()
    phone.ask()
    phone.wait(REPEAT - 1)
    assert phone.ask() is Outcome.FOLDED
    phone.wait(1)
    assert phone.ask() is Outcome.HELD


def test_a_repeat_without_end_is_no_retransmission():
    phone = Phone(GUESSING)
    outcomes = [phone.guess("the same") for _ in range(60)]
    assert outcomes[:4] == [Outcome.COUNTED, *[Outcome.FOLDED] * 3], "a datagram that arrives four times"
    assert outcomes.index(Outcome.BANNED) < 30


def test_an_answer_of_which_nothing_is_told_is_never_a_repeat():
    phone = Phone(GUESSING)
    outcomes = [phone.guess("") for _ in range(21)]
    assert outcomes[-1] is Outcome.BANNED


def test_a_request_repeated_without_end_counts():
    phone = Phone(rule(weights={ASKED: 1}, threshold=8, window=2 * MINUTE))
    for _ in range(100):
        phone.send(ASKED, account="999")
        phone.send(CHALLENGED, account="<unknown>")
    phone.wait(3 * SECOND)
    assert phone.guard.take_changes()


def test_challenges_to_nobody_in_one_session_are_not_all_the_twin_of_one_request():
    phone = Phone(rule(weights={ASKED: 1}, threshold=8, window=2 * MINUTE))
    phone.send(ASKED, account="999")
    for _ in range(90):
        phone.send(CHALLENGED, account="<unknown>")
        phone.wait(1_300_000_000)
    assert phone.guard.take_changes()


def test_an_insider_s_successes_do_not_clear_a_scan():
    phone = Phone(rule(weights={ASKED: 1}, threshold=4, distinct=True))
    for number in range(200):
        phone.ask(str(number), session=str(number))
        phone.send(Kind.SUCCESSFUL_AUTH, session=str(number), account="777")
        phone.wait(SECOND)
    phone.wait(4 * SECOND)
    assert phone.guard.tally.counts["attempts.exonerated"] == NAMES_LIMIT
    assert phone.guard.take_changes()


def test_sessions_of_65_kilobytes_are_not_kept():
    attempts = Phone()
    for number in range(200):
        source = f"198.51.100.{number}"
        long = f"{number}" + "x" * 60_000
        attempts.guess(long, account="y" * 900, session=long, source=source)
        attempts.send(ASKED, account="y" * 900, session=long, source=source)
    senders = attempts.guard._judge._attempts._senders.items()
    requests = [
        held for _, sender in senders for session in sender.sessions.values() for held in session.requests.values()
    ]
    assert max(len(held.event.session) + len(held.event.account) for held in requests) <= 2 * 255
    failing = attempts.guard._judge._failing._sites.items()
    assert max(len(one.session) for _, accounts in failing for one in accounts.values()) <= 255


# What a sender gains by choosing each field.


def test_account_different_accounts_never_fold_whatever_the_session():
    phone = Phone(rule(weights={ASKED: 1}, threshold=100))
    assert phone.ask("100") is Outcome.HELD
    assert [phone.ask(str(101 + number)) for number in range(5)] == [Outcome.COUNTED] * 5, "and are held no longer"
    assert phone.total == 6


def test_account_nobody_is_called_unknown_so_that_requests_fold():
    phone = Phone(rule(weights={ASKED: 1}, threshold=100))
    for number in range(4):
        phone.send(ASKED, account="<unknown>" if number % 2 == 0 else str(number), session=f"{number // 2}")
    phone.wait(4 * SECOND)
    assert phone.total == 4


def test_account_answers_for_different_accounts_in_one_session_are_no_burst():
    phone = Phone(GUESSING)
    assert [phone.guess("a", str(account)) for account in range(6)][-1] is Outcome.BANNED


def test_session_a_new_one_each_time_makes_every_answer_count():
    phone = Phone(GUESSING)
    assert [phone.guess(n, session=str(n)) for n in range(6)] == [Outcome.COUNTED] * 5 + [Outcome.BANNED]


def test_session_the_first_sixteen_answers_of_one_weigh_as_one():
    phone = Phone(GUESSING)
    outcomes = [phone.guess(n) for n in range(21)]
    assert outcomes == [Outcome.COUNTED] + [Outcome.FOLDED] * 15 + [Outcome.COUNTED] * 4 + [Outcome.BANNED]


def test_session_bursts_in_new_sessions_gain_one_ration_only():
    phone = Phone(GUESSING)
    outcomes = [phone.guess(n, session=str(n // 15)) for n in range(20)]
    assert outcomes[:15] == [Outcome.COUNTED] + [Outcome.FOLDED] * 14
    assert outcomes[15:] == [Outcome.COUNTED] * 4 + [Outcome.BANNED]


def test_account_bursts_at_many_accounts_gain_two_rations_and_alternating_in_one_session_one():
    phone = Phone(GUESSING)
    outcomes = [phone.guess(n, str(n // 15), session=str(n // 15)) for n in range(34)]
    assert outcomes[30:] == [Outcome.COUNTED] * 3 + [Outcome.BANNED]
    alternating = Phone(GUESSING)
    outcomes = [alternating.guess(n, str(n % 2)) for n in range(20)]
    assert outcomes.index(Outcome.BANNED) < 10


def test_session_a_slow_guesser_in_one_session_has_no_burst():
    phone = Phone(GUESSING)
    outcomes = []
    for number in range(8):
        outcomes.append(phone.guess(number))
        phone.wait(12 * SECOND)
    assert Outcome.BANNED in outcomes


def test_session_more_than_are_remembered_fold_no_more():
    phone = Phone(rule(threshold=1_000))
    for number in range(SESSIONS_OF_ONE + 1):
        phone.guess("a", session=str(number))
    assert phone.guess("a", session="0") is Outcome.COUNTED


def test_session_a_long_one_folds_by_its_first_255_bytes():
    phone = Phone()
    phone.guess("a", session="x" * 60_000)
    assert phone.guess("a", session="x" * 60_000) is Outcome.FOLDED
    assert phone.guess("b", session="é" * 200) is Outcome.COUNTED
    assert phone.guess("b", session="é" * 128) is Outcome.FOLDED


@pytest.mark.parametrize("field", ["challenge", "response"])
def test_challenge_and_response_another_is_a_guess(field):
    phone = Phone(GUESSING)
    for number in range(6):
        outcome = phone.send(WRONG, session=str(number % 2), **{field: str(number)})
    assert outcome is Outcome.COUNTED
    assert phone.total == 4, "the first session's three weigh as one"


def test_source_a_hopper_inside_one_64_is_one_sender():
    phone = Phone(GUESSING)
    outcomes = [phone.guess(n, session=str(n), source=f"2001:db8:b::{n + 1:x}") for n in range(6)]
    assert outcomes[-1] is Outcome.BANNED
    assert phone.guess("a", session="0", source="2001:db8:c::1") is Outcome.COUNTED
    assert phone.guess("a", session="0", source="2001:db8:c::2") is Outcome.FOLDED


def test_transport_proof_is_not_passed_on_to_forged_events():
    phone = Phone(GUESSING)
    phone.guess("a", transport=Transport.TCP)
    for number in range(6):
        phone.guess(number, session=str(number))
    (change,) = phone.guard.take_changes()
    assert change.ban.evidence == "unproven"


def test_time_a_weak_attempt_counts_after_three_seconds():
    phone = Phone(rule(weights={ASKED: 1}, threshold=2))
    phone.ask("100", session="a")
    phone.ask("101", session="b")
    phone.wait(3 * SECOND - 1)
    assert not phone.guard.take_changes()
    phone.wait(1)
    (change,) = phone.guard.take_changes()
    assert change.ban.by == "timer"
    assert change.ban.since == phone.now


def test_time_a_scan_is_not_held():
    phone = Phone(rule(weights={ASKED: 1}, threshold=OPEN_LIMIT))
    outcomes = [phone.ask(str(number), session=str(number)) for number in range(OPEN_LIMIT + 1)]
    assert outcomes == [Outcome.HELD] * OPEN_LIMIT + [Outcome.BANNED]


def test_time_a_source_with_successes_may_have_one_more_open_for_each_account():
    phone = Phone(rule(weights={ASKED: 1}, threshold=1))
    for account in ("201", "202"):
        phone.send(Kind.SUCCESSFUL_AUTH, account=account, session=account)
    outcomes = [phone.ask(str(number), session=str(number)) for number in range(OPEN_LIMIT + 3)]
    assert outcomes[:-1] == [Outcome.HELD] * (OPEN_LIMIT + 2)
    assert outcomes[-1] is not Outcome.HELD


def test_an_account_of_his_own_clears_one_held_attempt_in_the_same_session():
    phone = Phone(rule(weights={ASKED: 1}, threshold=100))
    phone.ask("100", session="a")
    phone.ask("101", session="b")
    phone.send(Kind.SUCCESSFUL_AUTH, session="b", account="777")
    phone.send(Kind.SUCCESSFUL_AUTH, session="b", account="777")
    assert phone.guard.tally.counts["attempts.exonerated"] == 1
    phone.wait(4 * SECOND)
    counts = phone.guard.tally.counts
    assert (counts["attempts.opened"], counts["attempts.counted"], counts["attempts.exonerated"]) == (2, 1, 1)
    assert phone.total == 1


def test_a_success_clears_nothing_that_is_older_than_five_seconds():
    phone = Phone()
    phone.guard.handle([event(kind=ASKED, session="a", at=T - 6 * SECOND)], T, T)
    phone.send(Kind.SUCCESSFUL_AUTH, session="a")
    phone.wait(4 * SECOND)
    assert phone.total == 1


def test_ten_phones_that_are_known_by_their_auth_username_are_nobody_s_attempts():
    phone = Phone(rule(weights={ASKED: 1}, threshold=1))
    for number in range(10):
        phone.ask(f"did{number}", session=str(number))
    for number in range(10):
        phone.send(Kind.SUCCESSFUL_AUTH, account=str(number), session=str(number))
    phone.wait(4 * SECOND)
    assert not phone.guard.take_changes()
    assert phone.guard.tally.counts["attempts.exonerated"] == 10


def test_nothing_is_held_once_successes_show_that_phones_are_known_at_once():
    phone = Phone(rule(weights={ASKED: 1}, threshold=2))
    for number in range(PLAIN_ENOUGH):
        phone.send(Kind.SUCCESSFUL_AUTH, session=f"p{number}", source="192.0.2.9", account=str(number))
    assert [phone.ask(str(number), session=str(number)) for number in range(2)] == [Outcome.COUNTED, Outcome.BANNED]


def test_phones_that_register_again_and_again_show_nothing():
    phone = Phone(rule(weights={ASKED: 1}, threshold=2))
    for number in range(10 * PLAIN_ENOUGH):
        phone.send(Kind.SUCCESSFUL_AUTH, session=f"p{number}", source="192.0.2.9")
    assert phone.ask("1", session="1") is Outcome.HELD


def test_one_phone_that_looked_unknown_first_brings_holding_back_for_a_month():
    phone = Phone(rule(weights={ASKED: 1}, threshold=9))
    for number in range(PLAIN_ENOUGH):
        phone.send(Kind.SUCCESSFUL_AUTH, session=f"p{number}", source="192.0.2.9", account=str(number))
    phone.ask("did1", session="late", source="192.0.2.9")
    phone.send(Kind.SUCCESSFUL_AUTH, session="late", source="192.0.2.9")
    assert phone.ask("1", session="1") is Outcome.HELD
    phone.wait(30 * DAY)
    assert phone.ask("2", session="2") is Outcome.COUNTED


# The two sensors.


def line(kind, **fields):
    return {"kind": kind, "sensor": Sensor.MESSAGES, "transport": Transport.UNNAMED} | fields


def test_what_both_sensors_tell_is_one_attempt():
    phone = Phone()
    assert phone.guess("a") is Outcome.COUNTED
    assert phone.send(**line(WRONG)) is Outcome.FOLDED
    assert phone.counted == 1
    phone.send(**line(WRONG))
    assert phone.counted == 2, "AMI has told of one only"
    phone.guess("b")
    assert phone.counted == 2, "there it is"


def test_a_request_in_the_log_counts_at_once_unless_ami_has_told_of_it():
    phone = Phone()
    assert phone.ask("100", session="a") is Outcome.HELD
    assert phone.send(**line(ASKED, account="100", session="a")) is Outcome.FOLDED
    assert phone.send(**line(ASKED, account="100", session="b")) is Outcome.COUNTED
    assert phone.send(ASKED, account="100", session="b") is Outcome.FOLDED


def test_lines_of_long_ago_are_not_what_ami_tells_of_now():
    phone = Phone()
    phone.send(**line(WRONG))
    phone.wait(6 * SECOND)
    assert phone.guess("a") is not Outcome.FOLDED or phone.total == 1
    assert phone.send(**line(WRONG)) is Outcome.FOLDED


def test_what_ami_never_tells_of_is_counted_as_unseen_after_five_seconds():
    phone = Phone()
    for number in range(3):
        phone.send(**line(WRONG, session=f"muted-{number}"))
    phone.send(**line(WRONG, session="seen"))
    phone.guess("a", session="seen")
    phone.wait(6 * SECOND)
    assert phone.guard.tally.counts["log.unseen"] == 3


def test_a_line_is_unproven_unless_ami_saw_its_session_over_a_connection():
    phone = Phone(rule(threshold=2))
    phone.send(**line(WRONG, session="a"))
    phone.send(**line(WRONG, session="b"))
    phone.guess("x", session="c", transport=Transport.TCP, source="198.51.100.8")
    phone.guess("y", session="d", transport=Transport.TCP, source="198.51.100.8")
    bans = [change.ban for change in phone.guard.take_changes()]
    assert [(ban.evidence, ban.by) for ban in bans] == [("unproven", "log"), ("proven", "event")]


def test_a_line_of_a_proven_session_is_proven():
    phone = Phone(rule(threshold=3, proven_only=True))
    phone.guess("x", transport=Transport.TLS)
    assert phone.send(**line(WRONG)) is Outcome.FOLDED
    assert phone.send(**line(WRONG)) is not Outcome.UNMATCHED


def test_chan_sip_counts_by_its_log_line_only():
    phone = Phone(rule(weights={Kind.INVALID_PASSWORD: 1}, threshold=3))
    password = Kind.INVALID_PASSWORD
    assert phone.send(password, 5, service=Service.SIP) is Outcome.UNMATCHED
    burst = [phone.send(**line(password, service=Service.SIP, session="198.51.100.7:5060")) for _ in range(15)]
    assert burst == [Outcome.COUNTED] + [Outcome.FOLDED] * 14
    guesses = [phone.send(**line(password, service=Service.SIP, session=f"198.51.100.7:{n}")) for n in range(2)]
    assert guesses == [Outcome.COUNTED, Outcome.BANNED]


def test_one_account_in_the_log_is_one_under_a_rule_that_counts_accounts():
    phone = Phone(rule(weights={ASKED: 1}, threshold=4, window=60 * MINUTE, distinct=True))
    for number in range(10):
        phone.send(**line(ASKED, account="nobody", session=f"call-{number}"))
        phone.wait(MINUTE)
    assert not phone.guard.take_changes()
    for number in range(3):
        phone.send(**line(ASKED, account=str(number), session=f"other-{number}"))
    assert phone.guard.take_changes()


# Bounds.


def test_senders_are_forgotten_when_there_are_too_many_and_the_sum_still_holds(monkeypatch):
    monkeypatch.setattr("guard.core.attempt.SESSIONS_LIMIT", 100)
    monkeypatch.setattr("guard.core.attempt.HELD_LIMIT", 300)
    attempts = Attempts()
    for number in range(1_000):
        one = event(f"198.51.{number // 250}.{number % 250}", ASKED, session=str(number))
        attempts.take(one, one.source, T, T)
    assert attempts.forgotten > 0
    assert len(attempts._held) <= 300
    assert attempts.opened == attempts.counted + attempts.exonerated + attempts.open == 1_000
    attempts.release(T + 4 * SECOND)
    assert (attempts.open, attempts.counted) == (0, 1_000)
    assert (SESSIONS_LIMIT, HELD_LIMIT) == (32_768, 100_000)
