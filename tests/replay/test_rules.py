"""The stock rules by their own cases, and that running a case proves something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guard.core.event import Kind, Sensor, Service, Transport
from guard.core.rule import Mode
from guard.core.units import MINUTE, SECOND
from guard.replay.prove import events_of, prove
from guard.settings.cases import Then
from guard.settings.rulefile import load_rule_file

STOCK = sorted((Path(__file__).parents[2] / "rules").iterdir())
CASES = [(path.stem, number) for path in STOCK for number in range(len(load_rule_file(path)[1]))]
FOLDER = STOCK[0].parent
BANS = {Then.BAN, Then.SIP, Then.SLOW}

RULE = """\
service: PJSIP
events: [ChallengeResponseFailed]
threshold: 3
window: 10m
ban: 1h
cases:
"""


def read(tmp_path, cases, rule=RULE):
    path = tmp_path / "a-rule.yaml"
    path.write_text(rule + cases)
    return load_rule_file(path)


def proofs(tmp_path, cases, rule=RULE):
    rule, cases = read(tmp_path, cases, rule)
    return [prove(rule, case) for case in cases]


@pytest.mark.parametrize(("name", "number"), CASES, ids=[f"{name}-{number + 1}" for name, number in CASES])
def test_a_case_of_a_stock_rule_comes_to_what_it_says(name, number):
    rule, cases = load_rule_file(FOLDER / f"{name}.yaml")
    proof = prove(rule, cases[number])
    assert proof.ok, f"{proof.case}: {proof.words}"


@pytest.mark.parametrize("path", STOCK, ids=lambda path: path.stem)
def test_a_stock_rule_has_a_case_that_bans_and_the_one_that_stops_one_offence_short(path):
    _, cases = load_rule_file(path)
    bans = {_without_words(case) for case in cases if case.then in BANS}
    short = {_without_words(case, more=1) for case in cases if case.then not in BANS}
    assert bans & short


def _without_words(case, more=0):
    *before, last = (replace(step, words="") for step in case.steps)
    return (*before, replace(last, count=last.count + more))


def test_a_case_that_comes_to_something_else_says_what(tmp_path):
    found = proofs(tmp_path, """
  - {sends: 3 ChallengeResponseFailed every 1m, then: nothing}
  - {sends: 2 ChallengeResponseFailed every 1m, then: ban}
  - {sends: 3 ChallengeResponseFailed every 1m, transport: tls, then: ban}
""")  # fmt: skip
    assert [(proof.ok, proof.words) for proof in found] == [
        (False, "sip for 10m after 3 events"),
        (False, "nothing"),
        (True, "ban for 1h after 3 events"),
    ]


def test_a_rule_that_only_observes_is_proven_as_if_it_did_not(tmp_path):
    (proof,) = proofs(
        tmp_path, "  - {sends: 3 ChallengeResponseFailed every 1m, then: sip}\n", "mode: observe\n" + RULE
    )
    assert proof.ok


def test_what_is_held_counts_when_its_time_has_come(tmp_path):
    rule = RULE.replace("ChallengeResponseFailed", "InvalidAccountID")
    (proof,) = proofs(tmp_path, "  - {sends: 3 InvalidAccountID every 1m, then: sip}\n", rule)
    assert proof.ok


def test_the_events_of_a_case(tmp_path):
    _, (case,) = read(tmp_path, """
  - after: {sends: 2 SuccessfulAuth at once, account: each, transport: tcp, later: 10m}
    sends: 3 ChallengeResponseFailed every 2s
    session: same
    sources: 2
    then: nothing
""")  # fmt: skip
    events = list(events_of(case))
    begin = events[0].at - 10 * MINUTE
    assert [(event.at - begin - 10 * MINUTE) // SECOND for event in events] == [0, 0, 1, 3, 5]
    assert [event.account for event in events] == ["100", "101", "100", "100", "100"]
    assert [event.session for event in events] == ["case-0", "case-1", "case", "case", "case"]
    assert [event.source[1] for event in events] == [32] * 5
    assert [event.source == events[0].source for event in events] == [True, True, True, False, True]
    assert [event.password for event in events] == [True, True, False, False, False]
    assert [event.transport for event in events] == [Transport.TCP] * 2 + [Transport.UDP] * 3
    assert len({(event.challenge, event.response) for event in events[2:]}) == 3
    assert {event.sensor for event in events} == {Sensor.AMI}
    assert {event.service for event in events} == {Service.PJSIP}
    assert {event.local_port for event in events} == {5060}
    assert [event.kind for event in events][1:3] == [Kind.SUCCESSFUL_AUTH, Kind.CHALLENGE_RESPONSE_FAILED]


def test_no_stock_rule_only_observes():
    assert {load_rule_file(path)[0].mode for path in STOCK} == {None}
    assert Mode.OBSERVE
