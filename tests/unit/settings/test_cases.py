"""Cases in rule files: how they are read, what a step takes from its rule, and their mistakes in their places."""

import pytest

from guard.core.event import Kind, Sensor, Service, Transport
from guard.core.units import DAY, HOUR, MINUTE, SECOND
from guard.errors import ConfigError
from guard.settings.cases import MAX_CASES, MAX_STEPS, Then
from guard.settings.rulefile import Folder, load_rule_file, load_rules

RULE = "events: ChallengeResponseFailed\nthreshold: 3\nwindow: 10m\nban: 1h\n"


def cases_of(tmp_path, cases, rule=RULE):
    path = tmp_path / "a-rule.yaml"
    path.write_text(f"{rule}cases:\n{cases}")
    return load_rule_file(path)[1]


def step_of(tmp_path, line, rule=RULE):
    ((step,),) = [case.steps for case in cases_of(tmp_path, f"  - {{{line}, then: ban}}\n", rule)]
    return step


def mistakes_of(tmp_path, cases, rule=RULE):
    with pytest.raises(ConfigError) as caught:
        cases_of(tmp_path, cases, rule)
    return [line.removeprefix(f"{tmp_path}/a-rule.yaml:") for line in caught.value.mistakes]


def test_a_short_case_takes_the_rest_from_its_rule(tmp_path):
    (case,) = cases_of(tmp_path, "  - sends: 3 ChallengeResponseFailed every 1m30s\n    then: sip\n")
    (step,) = case.steps
    assert (case.then, case.place.line, str(case)) == (Then.SIP, 6, "3 ChallengeResponseFailed every 1m30s")
    assert (step.count, step.kind, step.every, step.later) == (
        3, Kind.CHALLENGE_RESPONSE_FAILED, 90 * SECOND, SECOND
    )  # fmt: skip
    assert (step.service, step.sensor, step.transport) == (Service.PJSIP, Sensor.AMI, Transport.UDP)
    assert (step.account, step.same_session, step.sources, step.acl) == ("100", False, 1, "")


def test_everything_can_be_said(tmp_path):
    (case,) = cases_of(tmp_path, """
  - after:
      - {sends: 2 SuccessfulAuth at once, account: each, later: 1d}
      - {sends: 1 FailedACL, acl: registrar_invalid_contacts_provided, session: same}
    sends: 7 ChallengeResponseFailed at once
    sensor: security
    transport: wss
    account: ""
    session: same
    sources: 250
    later: 1h
    then: alarm
""")  # fmt: skip
    first, second, last = case.steps
    assert (first.kind, first.count, first.account, first.later) == (Kind.SUCCESSFUL_AUTH, 2, None, DAY)
    assert (second.count, second.acl, second.same_session) == (1, "registrar_invalid_contacts_provided", True)
    assert (last.count, last.every, last.sensor, last.transport) == (7, 0, Sensor.SECURITY, Transport.WSS)
    assert (last.account, last.same_session, last.sources, last.later) == ("", True, 250, HOUR)
    assert case.then is Then.ALARM
    assert str(case) == (
        "2 SuccessfulAuth at once, account each, later 1d; "
        "1 FailedACL, session same, acl registrar_invalid_contacts_provided; "
        "7 ChallengeResponseFailed at once, "
        "sensor security, transport wss, account '', session same, sources 250, later 1h"
    )


@pytest.mark.parametrize(
    ("keys", "kind", "wanted"),
    [
        ("service: AMI", "ChallengeResponseFailed", (Service.AMI, Sensor.AMI, Transport.TCP, "100", "")),
        ("service: [AMI, PJSIP]", "ChallengeResponseFailed", (Service.PJSIP, Sensor.AMI, Transport.UDP, "100", "")),
        ("service: SIP", "ChallengeResponseFailed", (Service.SIP, Sensor.MESSAGES, Transport.UNNAMED, "100", "")),
        ("service: SIP\nsensor: ami", "ChallengeSent", (Service.SIP, Sensor.AMI, Transport.UDP, "100", "")),
        ("service: IAX2", "FailedACL", (Service.IAX2, Sensor.MESSAGES, Transport.UNNAMED, "100", "")),
        ("about: x", "UnknownExtension", (Service.PJSIP, Sensor.MESSAGES, Transport.UNNAMED, "100", "")),
        ("sensor: [security, messages]", "FailedACL", (Service.PJSIP, Sensor.SECURITY, Transport.UDP, "100", "")),
        ("account: [b, a]", "FailedACL", (Service.PJSIP, Sensor.AMI, Transport.UDP, "a", "")),
        ("acl: not_match_endpoint_acl", "FailedACL",
         (Service.PJSIP, Sensor.AMI, Transport.UDP, "100", "not_match_endpoint_acl")),
        ("acl: not_match_endpoint_acl", "ChallengeResponseFailed",
         (Service.PJSIP, Sensor.AMI, Transport.UDP, "100", "")),
    ],
)  # fmt: skip
def test_what_a_step_does_not_say_is_what_its_rule_names(tmp_path, keys, kind, wanted):
    event = "FailedACL" if "acl:" in keys else kind
    step = step_of(tmp_path, f"sends: 1 {kind}", RULE.replace("ChallengeResponseFailed", event) + keys + "\n")
    assert (step.service, step.sensor, step.transport, step.account, step.acl) == wanted


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sends: 3", "'3' is nothing to send; write it like '6 FailedACL every 10s' or '15 FailedACL at once'"),
        ("sends: 0 FailedACL at once",
         "'0 FailedACL at once' is nothing to send; write it like '6 FailedACL every 10s' or '15 FailedACL at once'"),
        ("sends: 3 FailedACL", "'3 FailedACL' does not say how fast; write '3 FailedACL every 10s' or '3 FailedACL at once'"),
        ("sends: 3 FailedAcl at once", "'FailedAcl' is not an event; did you mean 'FailedACL'?"),
        ("sends: 10001 FailedACL at once", "'10001 FailedACL at once' sends more than 10000 events"),
        ("sends: 3 FailedACL every 10", "'10' is not a duration; write it like 90s, 5m, 1h30m or 2d"),
        ("sends: 1 InvalidPassword", "the sensor ami never tells of InvalidPassword of PJSIP"),
        ("sends: 1 LoadAverageLimit", "the sensor ami never tells of LoadAverageLimit of PJSIP"),
    ],
)  # fmt: skip
def test_what_is_sent_is_a_number_an_event_and_a_pace(tmp_path, line, said):
    (found,) = mistakes_of(tmp_path, f"  - {line}\n    then: ban\n")
    assert found == f"6:12: {said}"[: len(found)]
    assert found.endswith((said[-20:], "..."))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("then: ban", "6:5: 'sends' is missing"),
        ("sends: 1 FailedACL", "6:5: 'then' is missing"),
        ("sends: 1 FailedACL\n    then: all", "7:11: 'all' is not what can follow; write one of ban, sip, slow, alarm, nothing"),
        ("sends: 1 FailedACL\n    then: ban\n    session: new",
         "8:14: 'new' is not a word for sessions; write one of same, each"),
        ("sends: 1 FailedACL\n    then: ban\n    transport: sctp",
         "8:16: 'sctp' is not a transport; write one of udp, tcp, tls, ws, wss"),
        ("sends: 1 FailedACL\n    then: ban\n    sources: 251", "8:14: '251' is not a whole number from 1 to 250"),
        ("sends: 1 FailedACL\n    then: ban\n    sessions: each", "8:5: unknown key 'sessions'; did you mean 'session'?"),
        ("sends: 1 FailedACL\n    then: ban\n    after: {sends: 1 FailedACL, then: ban}",
         "8:33: unknown key 'then'; known are sends, service, sensor, transport, account, session, sources, acl, later"),
        ("sends: 1 FailedACL\n    then: ban\n    after:", "8:11: 'after' has no value"),
        ("sends: 1 FailedACL\n    then: ban\n    after: 1 FailedACL",
         "8:12: expected lines of 'key: value' such as account or acl"),
        ("sends: 1 FailedACL\n    then: ban\n    service: AMI\n    transport: udp",
         "9:16: AMI is spoken over tcp or tls, not udp"),
        ("sends: 1 FailedACL\n    then: ban\n    sensor: messages\n    transport: udp",
         "9:16: a line of 'messages' names no transport; leave it out"),
        ("sends: 1 SuccessfulAuth\n    then: ban\n    service: SIP\n    sensor: ami",
         "6:12: the sensor ami never tells of SuccessfulAuth of SIP"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_case_is_one_mistake_in_its_place(tmp_path, line, said):
    assert mistakes_of(tmp_path, f"  - {line}\n") == [said]


def test_cases_and_their_steps_are_limited_in_number(tmp_path):
    one = "  - {sends: 1 FailedACL, then: ban}\n"
    assert len(cases_of(tmp_path, one * MAX_CASES)) == MAX_CASES
    assert mistakes_of(tmp_path, one * (MAX_CASES + 1)) == ["26:5: more than 20 cases"]
    after = "  - {sends: 1 FailedACL, then: ban, after: [%s]}\n"
    steps = ["{sends: 1 FailedACL}"] * MAX_STEPS
    assert len(cases_of(tmp_path, after % ", ".join(steps[1:]))[0].steps) == MAX_STEPS
    assert mistakes_of(tmp_path, after % ", ".join(steps)) == ["6:243: a case has at most 10 steps"]


def test_a_rule_may_have_no_cases_but_not_an_empty_list_of_them(tmp_path):
    assert mistakes_of(tmp_path, "") == ["5:7: 'cases' has no value"]
    assert mistakes_of(tmp_path, "  []\n") == ["6:3: 'cases' has no value"]


def test_the_cases_of_all_folders_come_with_the_rules(tmp_path):
    (tmp_path / "one.yaml").write_text(RULE + "cases: {sends: 1 FailedACL, then: nothing}\n")
    (tmp_path / "two.yaml").write_text(RULE)
    (tmp_path / "off.yaml").touch()
    cases = load_rules([Folder(tmp_path)]).cases
    assert {name: len(found) for name, found in cases.items()} == {"one": 1, "two": 0}
    assert cases["one"][0].steps[0].later == SECOND < MINUTE
