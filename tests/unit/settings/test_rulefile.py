"""Rule files: the language, its mistakes all at once and in their places, and folders over folders."""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.event import Kind, Sensor, Service
from guard.core.rule import Across, Mode, Rule, Scope, Trusted
from guard.core.units import DAY, HOUR, MINUTE, SECOND, format_duration
from guard.errors import ConfigError
from guard.settings.mistakes import MAX_MISTAKES, Place
from guard.settings.possible import ACL_NAMES, IN_MESSAGES, POSSIBLE, provable, told
from guard.settings.rulefile import MAX_RULES, Folder, load_rule, load_rules, stock_rules_folder

STOCK = Path(__file__).parents[3] / "rules"

SHORT = "events: [InvalidAccountID]\nthreshold: 3\nwindow: 10m\nban: 1h\n"


def rule(tmp_path, text, name="a-rule.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return load_rule(path)


def mistakes_of(tmp_path, text, name="a-rule.yaml"):
    with pytest.raises(ConfigError) as caught:
        rule(tmp_path, text, name)
    return [line.removeprefix(f"{tmp_path}/{name}:") for line in caught.value.mistakes]


def test_the_shortest_rule_has_the_documented_defaults(tmp_path):
    assert rule(tmp_path, SHORT) == Rule(
        name="a-rule",
        weights={Kind.INVALID_ACCOUNT_ID: 1},
        threshold=3,
        window=10 * MINUTE,
        ban=(HOUR,),
        about="",
        services=None,
        acls=None,
        accounts=None,
        proven_only=False,
        scope=Scope.ALL,
        prefix={4: 32, 6: 64},
        forget=30 * DAY,
        mode=None,
        distinct=False,
        trusted=Trusted.SLOW,
        across=None,
        sensors=None,
    )


def test_every_key_is_read(tmp_path):
    text = """
about: >
  Two lines
  of words.
service: [PJSIP, AMI]
events: {FailedACL: 100, ChallengeResponseFailed: 1}
sensor: [ami, security]
distinct: account
account: [<unknown>, anonymous, "", 0123, no]
evidence: proven
threshold: 500
window: 7d
ban: [1s, 1h30m, 1h30m, 30d]
forget: 366d
prefix: {ipv4: 8, ipv6: 128}
across: {sources: 64, threshold: 499}
scope: slow
trusted: alarm
mode: observe
cases: {sends: 1 FailedACL, then: nothing}
"""
    assert rule(tmp_path, text) == Rule(
        name="a-rule",
        about="Two lines of words.",
        services=frozenset({Service.PJSIP, Service.AMI}),
        weights={Kind.FAILED_ACL: 100, Kind.CHALLENGE_RESPONSE_FAILED: 1},
        sensors=frozenset({Sensor.AMI, Sensor.SECURITY}),
        distinct=True,
        across=Across(sources=64, threshold=499),
        trusted=Trusted.ALARM,
        accounts=frozenset({"<unknown>", "anonymous", "", "0123", "no"}),
        proven_only=True,
        threshold=500,
        window=7 * DAY,
        ban=(SECOND, 90 * MINUTE, 90 * MINUTE, 30 * DAY),
        forget=366 * DAY,
        prefix={4: 8, 6: 128},
        scope=Scope.SLOW,
        mode=Mode.OBSERVE,
    )


def test_one_value_stands_for_a_list_of_one(tmp_path):
    text = (
        SHORT.replace("[InvalidAccountID]", "FailedACL") + "service: PJSIP\nacl: not_match_endpoint_acl\naccount: ''\n"
    )
    read = rule(tmp_path, text)
    assert (read.services, read.acls, read.accounts) == ({Service.PJSIP}, {"not_match_endpoint_acl"}, {""})
    assert read.weights == {Kind.FAILED_ACL: 1}


def test_every_mistake_of_a_file_is_named_at_once_in_its_place(tmp_path):
    text = """\
about: [not, text]
service: [PJSPI, AMI]
events:
  InvalidAcountID: 1
  FailedACL: 101
  ChallengeResponseFailed: 010
acl: not_match_endpoint_acll
evidence: prooven
treshold: 5
window: 1:30
ban: [1h, 10m, 31d, &x 1h]
forget: no
prefix: {ipv4: 7, ipv6: 1_28, ipv5: 9}
scope: everything
mode: enforced
mode: observe
"""
    assert mistakes_of(tmp_path, text) == [
        "1:8: 'about' takes one value here, not a list",
        "2:11: 'PJSPI' is not a service; did you mean 'PJSIP'?",
        "4:3: 'InvalidAcountID' is not an event; did you mean 'InvalidAccountID'?",
        "5:14: '101' is not a whole number from 1 to 100",
        "6:3: ChallengeResponseFailed names no ACL, so a rule with 'acl' never counts it",
        "6:28: '010' is not a whole number from 1 to 100",
        "7:6: 'not_match_endpoint_acll' is not the name of an ACL; did you mean 'not_match_endpoint_acl'?",
        "8:11: 'prooven' is not a kind of evidence; did you mean 'proven'?",
        "9:1: unknown key 'treshold'; did you mean 'threshold'?",
        "10:9: '1:30' is not a duration; write it like 90s, 5m, 1h30m or 2d",
        "11:11: each further ban must be at least as long as the one before",
        "11:16: '31d' is not from 1s to 30d",
        "11:21: anchors, aliases and tags are not used here; quote text beginning with & * !",
        "12:9: 'no' is not a duration; write it like 90s, 5m, 1h30m or 2d",
        "13:16: '7' is not a whole number from 8 to 32",
        "13:25: '1_28' is not a whole number from 32 to 128",
        "13:31: unknown key 'ipv5'; did you mean 'ipv6'?",
        "14:8: 'everything' is not a scope; write one of all, sip, slow",
        "15:7: 'enforced' is not a mode; did you mean 'enforce'?",
        "16:1: 'mode' is given twice, first in line 15",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("service: sip", "5:10: 'sip' is not a service; did you mean 'SIP'?"),
        ("service:", "5:9: 'service' has no value"),
        ("service: []", "5:10: 'service' has no value"),
        ("service: [PJSIP, AMI, PJSIP]", "5:23: 'PJSIP' is given twice"),
        ("service: [[PJSIP]]", "5:11: 'service' takes one value here, not a list"),
        ("account: [a: b]", "5:11: 'account' takes text here, not a mapping; put text with a colon into quotes"),
        ("mode: yes", "5:7: 'yes' is not a mode; write one of enforce, observe"),
        ("prefix: 24", "5:9: expected lines of 'key: value' such as ipv4 or ipv6"),
        ("prefix: {both: 64}", "5:10: unknown key 'both'; known are ipv4, ipv6"),
        ("scope:all\n", "5:1: not YAML: could not find expected ':'; is a text short of quotes?"),
        ("'scope:all':", "5:1: a key without a value; did you mean 'scope'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_one_line_is_one_mistake(tmp_path, line, said):
    (found,) = mistakes_of(tmp_path, SHORT + line)
    assert found in (said, said.replace("5:1: not", "6:1: not"))


@pytest.mark.parametrize(
    ("key", "bad", "column"),
    [
        ("threshold", ["0", "1001", "-1", "+1", "1.0", "1e1", "0x10", "007", "1_0", "3 ", "٣", "many", "9" * 5000], 12),
        ("window", ["0s", "8d", "604801s", "10", "10 m", "1:30", "12:30:45", "1m1h", "ten", "9" * 5000 + "s"], 9),
        ("ban", ["0s", "30d1s", "1w", "-1", "permanent"], 6),
    ],
)
def test_numbers_and_durations_have_one_way_to_be_written(tmp_path, key, bad, column):
    lines = dict(line.split(": ", 1) for line in SHORT.splitlines())
    for value in bad:
        text = "".join(f'{k}: "{value if k == key else ""}"\n' if k == key else f"{k}: {v}\n" for k, v in lines.items())
        (said,) = mistakes_of(tmp_path, text)
        assert said.startswith(f"{list(lines).index(key) + 1}:{column}: {value!r} is not"[:100])


def test_what_must_be_given_is_missed_unless_a_misspelt_key_meant_it(tmp_path):
    assert mistakes_of(tmp_path, "about: x\nevent: FailedACL\n") == [
        "1:1: 'ban' is missing",
        "1:1: 'threshold' is missing",
        "1:1: 'window' is missing",
        "2:1: unknown key 'event'; did you mean 'events'?",
    ]


@pytest.mark.parametrize("text", ["just words\n", "- a\n- b\n", '""\n'])
def test_a_file_that_is_no_mapping_is_one_mistake(tmp_path, text):
    assert mistakes_of(tmp_path, text) == ["1:1: expected lines of 'key: value' such as about or account"]


@pytest.mark.parametrize("events", ["[InvalidPasword]", "InvalidPasword", "{InvalidPasword: 2}"])
def test_a_misspelt_event_is_suggested_in_every_form(tmp_path, events):
    (said,) = mistakes_of(tmp_path, SHORT.replace("[InvalidAccountID]", events))
    assert said.endswith(" 'InvalidPasword' is not an event; did you mean 'InvalidPassword'?")


@pytest.mark.parametrize("events", ["[]", "{}", ""])
def test_a_rule_counts_something(tmp_path, events):
    (said,) = mistakes_of(tmp_path, SHORT.replace("[InvalidAccountID]", events))
    assert said.endswith(": 'events' has no value")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("service: PJSIP\nevents: [InvalidPassword]", "2:10: PJSIP never reports InvalidPassword"),
        ("service: AMI\nevents: {ChallengeSent: 2, FailedACL: 1}", "2:10: AMI never reports ChallengeSent"),
        ("service: [PJSIP, AMI]\nevents: [InvalidTransport, FailedACL]",
         "2:10: AMI or PJSIP never reports InvalidTransport"),
        ("service: [PJSIP, AMI]\nevents: RequestNotAllowed", "1:11: PJSIP reports none of the rule's events"),
        ("events: [FailedACL, MemoryLimit]", "1:21: Asterisk never reports MemoryLimit"),
        ("events: [SuccessfulAuth]", "1:10: 'SuccessfulAuth' is a success, and a success is no offence; leave it out"),
        ("service: AMI\nevents: FailedACL\nacl: not_match_endpoint_acl",
         "3:6: AMI never names the ACL not_match_endpoint_acl"),
        ("service: [PJSIP, AMI]\nevents: FailedACL\nacl: not_match_endpoint_acl", "1:18: AMI names no ACL"),
        ("service: PJSIP\nevents: FailedACL\nacl: peer_not_dynamic",
         "3:6: PJSIP never names the ACL peer_not_dynamic"),
        ("events: [FailedACL, InvalidAccountID]\nacl: peer_not_dynamic",
         "1:21: InvalidAccountID names no ACL, so a rule with 'acl' never counts it"),
        ("service: SIP\nevents: FailedACL\nevidence: proven",
         "3:11: chan_sip's addresses are the sender's own words and never proven"),
        ("service: IAX2\nevents: FailedACL\nevidence: proven",
         "3:11: only 'messages' tells of this, which names no transport: it is never proven"),
        ("events: UnknownExtension\nevidence: proven",
         "2:11: only 'messages' tells of this, which names no transport: it is never proven"),
        ("service: [IAX2, SIP]\nevents: FailedACL\nevidence: proven\nsensor: messages",
         "3:11: only 'messages' tells of this, which names no transport: it is never proven"),
        ("events: UnknownExtension\nsensor: [security, ami]",
         "1:9: ami and security never tells of UnknownExtension; the sensor messages does"),
        ("service: AMI\nevents: FailedACL\nsensor: messages",
         "2:9: messages never tells of FailedACL; the sensor ami or security does"),
        ("service: SIP\nevents: [FailedACL, SessionLimit]",
         ("2:21: of chan_sip 'messages' is read, which never tells of SessionLimit; "
          "'sensor: ami' counts what anybody can forge")),
        ("service: [IAX2, PJSIP]\nevents: ChallengeResponseFailed\nsensor: ami",
         "1:11: IAX2 reports none of the rule's events"),
        ("events: [ChallengeResponseFailed, ChallengeSent]",
         "1:35: ChallengeSent stands alone: it counts what was never answered; give it a rule of its own"),
    ],
)  # fmt: skip
def test_a_rule_that_could_never_count_is_a_mistake(tmp_path, lines, said):
    assert mistakes_of(tmp_path, f"{lines}\nthreshold: 1\nwindow: 1m\nban: 1m\n") == [said]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("across: {sources: 10, threshold: 9}", "4:34: what is enough here must be less than the rule's own 9"),
        ("across: {sources: 10}", "4:9: 'threshold' is missing"),
        ("across: {sources: 1, threshold: 2}", "4:19: '1' is not a whole number from 2 to 64"),
        ("across: 10", "4:9: expected lines of 'key: value' such as sources or threshold"),
        ("across: {sources: 10, threshold: 2, rules: 1}", "4:37: unknown key 'rules'; known are sources, threshold"),
        ("sensor: mesages", "4:9: 'mesages' is not a sensor; did you mean 'messages'?"),
        ("distinct: yes", "4:11: 'yes' is not what can be distinct; write one of account"),
        ("distinct: account\naccount: [a, b]",
         "4:11: the accounts named come to 2 at the most, each counted once: the threshold is never reached"),
        ("trusted: all",
         "4:10: 'all' is not what follows for trusted accounts; write one of ban, sip, slow, alarm"),
        ("scope: slow\ntrusted: sip", "5:10: trusted accounts would fare worse than others; take slow or alarm"),
    ],
)  # fmt: skip
def test_what_the_keys_of_judgement_say(tmp_path, lines, said):
    first = "events: ChallengeResponseFailed\nthreshold: 9\nwindow: 1m\n"
    assert mistakes_of(tmp_path, f"{first}{lines}\nban: 1m\n") == [said]


def test_across_is_about_guesses(tmp_path):
    text = "events: {0}\nthreshold: 9\nwindow: 1m\nban: 1m\nacross: {{sources: 10, threshold: 2}}\n"
    said = "5:9: 'across' is about accounts guessed at; the rule counts no ChallengeResponseFailed or InvalidPassword"
    assert mistakes_of(tmp_path, text.format("InvalidAccountID")) == [said]
    assert rule(tmp_path, text.format("[InvalidAccountID, InvalidPassword]")).across == (10, 2)


def test_chan_sip_is_told_by_messages_unless_the_rule_takes_ami_on_its_word():
    assert told(Service.SIP, None) == IN_MESSAGES[Service.SIP]
    assert told(Service.SIP, frozenset({Sensor.AMI})) == POSSIBLE[Service.SIP]
    assert told(Service.PJSIP, None) == POSSIBLE[Service.PJSIP]
    assert all(IN_MESSAGES[service] <= POSSIBLE[service] for service in Service)
    vouched_for = IN_MESSAGES[Service.PJSIP] - {Kind.UNKNOWN_EXTENSION}
    assert provable(Service.PJSIP, frozenset({Sensor.MESSAGES})) == vouched_for
    assert provable(Service.SIP, None) == provable(Service.IAX2, None) == frozenset()


def test_the_names_of_acls_are_told_in_the_same_order_each_time(tmp_path):
    text = "events: FailedACL\nacl: none_such\nthreshold: 1\nwindow: 1m\nban: 1m\n"
    (said,) = mistakes_of(tmp_path, text)
    names = said.removesuffix(" ...").partition("write one of ")[2].split(", ")[:-1]  # the last may be cut
    assert names == sorted(names)
    assert len(names) > 6


@pytest.mark.parametrize(("prefix", "column"), [("{ipv4: 31}", 16), ("{ipv6: 63}", 16), ("{ipv4: 32, ipv6: 48}", 26)])
def test_a_network_is_banned_on_proven_evidence_only(tmp_path, prefix, column):
    text = f"{SHORT}prefix: {prefix}\n"
    wanted = "banning a whole network needs 'evidence: proven', or forged senders could ban it for you"
    assert mistakes_of(tmp_path, text) == [f"5:{column}: {wanted}"]
    assert mistakes_of(tmp_path, text + "evidence: any\n") == [f"5:{column}: {wanted}"]
    assert rule(tmp_path, text + "evidence: proven\n").proven_only
    assert mistakes_of(tmp_path, text + "evidence: sure\n") == [
        "6:11: 'sure' is not a kind of evidence; write one of any, proven"
    ]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("service: [PJSPI, AMI]\nevents: ChallengeSent", "1:11: 'PJSPI' is not a service; did you mean 'PJSIP'?"),
        (
            "service: [PJSPI, AMI]\nevents: FailedACL\nacl: not_match_endpoint_acl",
            "1:11: 'PJSPI' is not a service; did you mean 'PJSIP'?",
        ),
        (
            "service: [PJSIP, AMI]\nevents: [RequestNotAllowed, ChalengeSent]",
            "2:29: 'ChalengeSent' is not an event; did you mean 'ChallengeSent'?",
        ),
        (
            "events: FailedACL\nprefix: {ipv4: 24}\nevidence: *proven",
            "3:11: anchors, aliases and tags are not used here; quote text beginning with & * !",
        ),
    ],
)
def test_a_wrong_word_is_not_blamed_on_the_keys_it_bears_on(tmp_path, lines, said):
    assert mistakes_of(tmp_path, f"{lines}\nthreshold: 1\nwindow: 1m\nban: 1m\n") == [said]


def test_a_narrower_prefix_than_usual_needs_no_proof(tmp_path):
    assert rule(tmp_path, f"{SHORT}prefix: {{ipv6: 128}}\n").prefix == {4: 32, 6: 128}


def test_a_ladder_has_an_end(tmp_path):
    assert len(rule(tmp_path, SHORT.replace("1h", f"[{', '.join(['1h'] * 20)}]")).ban) == 20
    (said,) = mistakes_of(tmp_path, SHORT.replace("1h", f"[{', '.join(['1h'] * 21)}]"))
    assert said == "4:87: more than 20 rungs"


@pytest.mark.parametrize(
    "name", ["Rule.yaml", "1rule.yaml", "a_rule.yaml", "-a.yaml", "é.yaml", f"{'a' * 41}.yaml", "a.yml"]
)
def test_a_file_name_that_is_no_name_of_a_rule_is_a_mistake(tmp_path, name):
    (said,) = mistakes_of(tmp_path, SHORT, name)
    assert said.startswith("1:1: a rule's file name is a to z, 0 to 9 and -")


def test_a_rule_is_not_called_manual(tmp_path):
    assert rule(tmp_path, SHORT, f"{'a' * 40}.yaml").name == "a" * 40
    assert mistakes_of(tmp_path, SHORT, "manual.yaml") == [
        "1:1: 'manual' means bans by command; choose another file name"
    ]


def test_thousands_of_unknown_keys_are_not_all_compared(tmp_path, monkeypatch):
    compared = []
    monkeypatch.setattr("difflib.get_close_matches", lambda word, *_, **__: compared.append(word) or [])
    assert len(mistakes_of(tmp_path, "".join(f"{n}{'x' * 90}: 1\n" for n in range(2_000)))) == MAX_MISTAKES
    assert len(compared) == MAX_MISTAKES  # all of them would take seconds
    assert {len(word) for word in compared} == {64}


@pytest.fixture
def folders(tmp_path):
    for name in ("stock", "local"):
        (tmp_path / name).mkdir()
    return Folder(tmp_path / "stock"), Folder(tmp_path / "local")


def test_rules_come_in_the_order_of_their_names(folders):
    stock, local = folders
    for path in (stock.path / "b.yaml", local.path / "a.yaml", stock.path / "c.yaml"):
        path.write_text(SHORT)
    rules = load_rules(folders)
    assert [rule.name for rule in rules.rules] == ["a", "b", "c"]
    assert rules.sources == {"a": local.path / "a.yaml", "b": stock.path / "b.yaml", "c": stock.path / "c.yaml"}
    assert (rules.off, rules.replaced) == ({}, {})
    assert [rule.name for rule in load_rules([local, stock]).rules] == ["a", "b", "c"]


def test_a_later_folder_replaces_a_file_whole_and_does_not_read_the_earlier_one(folders):
    stock, local = folders
    (stock.path / "a.yaml").write_text("nonsense: 1\n")
    (local.path / "a.yaml").write_text(SHORT.replace("3", "7"))
    rules = load_rules(folders)
    assert [rule.threshold for rule in rules.rules] == [7]
    assert rules.sources == {"a": local.path / "a.yaml"}
    assert rules.replaced == {"a": (stock.path / "a.yaml",)}
    with pytest.raises(ConfigError):
        load_rules([local, stock])


@pytest.mark.parametrize("content", ["", "# not here: phones retry all day\n", None])
def test_an_empty_file_or_a_link_to_the_null_device_switches_a_rule_off(folders, content):
    stock, local = folders
    (stock.path / "a.yaml").write_text(SHORT)
    (stock.path / "b.yaml").write_text(SHORT)
    if content is None:
        (local.path / "a.yaml").symlink_to(os.devnull)
    else:
        (local.path / "a.yaml").write_text(content)
    rules = load_rules(folders)
    assert [rule.name for rule in rules.rules] == ["b"]
    assert rules.off == {"a": local.path / "a.yaml"}
    assert rules.replaced == {"a": (stock.path / "a.yaml",)}
    assert "a" not in rules.sources


def test_the_mistakes_of_all_files_come_together(folders):
    stock, local = folders
    (stock.path / "a.yaml").write_text(SHORT + "mode: off\n")
    (stock.path / "b.yaml").write_text(SHORT)
    (local.path / "c.yaml").write_text("threshold: x\n" + SHORT)
    (local.path / "d.yml").write_text(SHORT)
    (local.path / "e.yaml").mkdir()
    with pytest.raises(ConfigError) as caught:
        load_rules(folders)
    assert list(caught.value.mistakes) == [
        f"{local.path}/c.yaml:1:12: 'x' is not a whole number from 1 to 1000",
        f"{local.path}/c.yaml:3:1: 'threshold' is given twice, first in line 1",
        f"{local.path}/d.yml:1:1: a rule file ends in .yaml; rename it to d.yaml",
        f"{local.path}/e.yaml:1:1: cannot be read: Is a directory",
        f"{stock.path}/a.yaml:5:7: 'off' is not a mode; write one of enforce, observe",
    ]


def test_what_editors_and_dpkg_leave_behind_is_passed_over(folders):
    stock, _ = folders
    for name in (".a.yaml", ".#a.yaml", "a.yaml~", "a.yaml.dpkg-dist", "a.yaml.swp", "README"):
        (stock.path / name).write_text("nonsense: 1\n")
    assert load_rules(folders).rules == ()


def test_only_a_default_folder_may_be_missing(tmp_path):
    gone = tmp_path / "gone"
    assert load_rules([Folder(gone)]).rules == ()
    with pytest.raises(ConfigError) as caught:
        load_rules([Folder(gone, Place("astguard.yaml", 7, 9))])
    assert caught.value.mistakes == (
        f"astguard.yaml:7:9: the folder '{gone}' cannot be read: No such file or directory",
    )


def test_a_file_in_place_of_a_default_folder_is_a_mistake(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as caught:
        load_rules([Folder(tmp_path / "file")])
    assert caught.value.mistakes == (
        f"{tmp_path}/file:1:1: the folder '{tmp_path}/file' cannot be read: Not a directory",
    )


def test_rules_are_limited_in_number(folders):
    stock, _ = folders
    for number in range(MAX_RULES):
        (stock.path / f"r{number}.yaml").touch()
    assert len(load_rules(folders).off) == MAX_RULES
    (stock.path / "one-more.yaml").touch()
    with pytest.raises(ConfigError, match="201 rules; at most 200 are read"):
        load_rules(folders)


def test_the_stock_rules_are_those_of_the_same_code_wherever_it_is_installed(monkeypatch, tmp_path):
    assert stock_rules_folder() == STOCK
    monkeypatch.setattr("guard.settings.rulefile.__file__", str(tmp_path / "guard/settings/rulefile.py"))
    assert stock_rules_folder() == tmp_path / "rules"  # beside the package: Debian's, or a tree's
    (tmp_path / "guard/rules").mkdir(parents=True)
    assert stock_rules_folder() == tmp_path / "guard/rules"  # within it: a wheel's


@pytest.mark.parametrize("path", sorted(STOCK.iterdir()), ids=lambda path: path.name)
def test_a_stock_rule_explains_itself_and_harms_no_healthy_phone(path):
    rule = load_rule(path)
    assert rule.name == path.stem
    assert len(rule.about.split(". ")) == 2  # what it catches, and who could be hit by mistake
    assert rule.services
    # Over AMI chan_sip's addresses are the sender's own words.
    assert Service.SIP not in rule.services or rule.sensors is None
    # Successes, and what a phone raises after it has authenticated.
    assert {Kind.SUCCESSFUL_AUTH, Kind.REQUEST_NOT_SUPPORTED, Kind.SESSION_LIMIT}.isdisjoint(rule.weights)
    if Kind.FAILED_ACL in rule.weights and Service.PJSIP in rule.services:
        assert rule.acls == {"not_match_endpoint_acl", "not_match_endpoint_contact_acl"}
    if Kind.REQUEST_NOT_ALLOWED in rule.weights:
        assert rule.accounts == {""}
    if rule.prefix != {4: 32, 6: 64}:
        assert rule.trusted is Trusted.ALARM  # the neighbours of a phone are not banned with it


def test_there_are_stock_rules_for_every_service():
    services = [rule.services for rule in load_rules([Folder(STOCK)]).rules]
    assert all({service} in services for service in Service)


def written(rule):
    """Write a rule as YAML: JSON values are YAML too."""
    fields = {
        "about": rule.about,
        "events": {str(kind): str(weight) for kind, weight in rule.weights.items()},
        "threshold": str(rule.threshold),
        "window": f"{rule.window // SECOND}s",
        "ban": [f"{rung // SECOND}s" for rung in rule.ban],
        "forget": format_duration(rule.forget),
        "prefix": {f"ipv{family}": str(length) for family, length in rule.prefix.items()},
        "scope": str(rule.scope),
        "evidence": "proven" if rule.proven_only else "any",
        "trusted": str(rule.trusted),
    }
    if rule.across:
        fields["across"] = {key: str(number) for key, number in rule.across._asdict().items()}
    if rule.distinct:
        fields["distinct"] = "account"
    lists = (("service", rule.services), ("acl", rule.acls), ("account", rule.accounts), ("sensor", rule.sensors))
    for key, values in lists:
        if values is not None:
            fields[key] = sorted(map(str, values))
    if rule.mode:
        fields["mode"] = str(rule.mode)
    return json.dumps(fields, ensure_ascii=False)


@st.composite
def rules(draw):
    service = draw(st.sampled_from([Service.PJSIP, Service.AMI]))
    sensors = draw(st.none() | st.sets(st.sampled_from([Sensor.AMI, Sensor.SECURITY]), min_size=1))
    sensors = sensors and frozenset(sensors)
    kinds = st.sampled_from(sorted(provable(service, sensors) - {Kind.SUCCESSFUL_AUTH, Kind.CHALLENGE_SENT}))
    acls = draw(st.none() | st.sets(st.sampled_from(sorted(ACL_NAMES[Service.PJSIP])), min_size=1))
    if acls:
        service, kinds = Service.PJSIP, st.just(Kind.FAILED_ACL)
    proven = draw(st.booleans())
    words = st.text("aZ09:#'\"<>&*!äé€-[]{}|%@,?~\\", max_size=8)
    weights = draw(st.dictionaries(kinds, st.integers(1, 100), min_size=1))
    threshold = draw(st.integers(1, 1000))
    guesses = {Kind.CHALLENGE_RESPONSE_FAILED, Kind.INVALID_PASSWORD} & weights.keys()
    across = st.builds(Across, st.integers(2, 64), st.integers(1, max(1, threshold - 1)))
    accounts = draw(st.none() | st.frozensets(words, min_size=1, max_size=4))
    scope = draw(st.sampled_from(Scope))
    return Rule(
        name="a-rule",
        about=" ".join(draw(st.lists(words.filter(bool), max_size=3))),
        services=draw(st.none() | st.just(frozenset({service}))),
        weights=weights,
        sensors=sensors,
        across=draw(st.none() | across) if guesses and threshold > 1 else None,
        distinct=accounts is None and draw(st.booleans()),
        trusted=draw(st.sampled_from([word for word in Trusted if word != "sip" or scope != "slow"])),
        acls=frozenset(acls) if acls else None,
        accounts=accounts,
        proven_only=proven,
        threshold=threshold,
        window=draw(st.integers(1, 7 * 86400)) * SECOND,
        ban=tuple(n * SECOND for n in sorted(draw(st.lists(st.integers(1, 30 * 86400), min_size=1, max_size=20)))),
        forget=draw(st.integers(1, 366)) * DAY,
        prefix={
            4: draw(st.integers(8 if proven else 32, 32)),
            6: draw(st.integers(32 if proven else 64, 128)),
        },
        scope=scope,
        mode=draw(st.none() | st.sampled_from(Mode)),
    )


@given(wanted=rules())
def test_a_rule_written_down_is_read_back_the_same(tmp_path_factory, wanted):
    assert rule(tmp_path_factory.getbasetemp(), written(wanted)) == wanted


schema_like = st.recursive(
    st.sampled_from(["FailedACL", "PJSIP", "1h", "5", "", "proven", "~", "2 FailedACL at once", "ban"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ipv4", "FailedACL", "sends", "then", "after", "sources", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
KEYS = [
    "about",
    "service",
    "events",
    "acl",
    "account",
    "evidence",
    "threshold",
    "window",
    "ban",
    "forget",
    "prefix",
    "scope",
    "mode",
    "sensor",
    "distinct",
    "across",
    "trusted",
    "cases",
    "other",
]


@given(
    data=st.binary(max_size=60) | st.dictionaries(st.sampled_from(KEYS), schema_like).map(json.dumps).map(str.encode)
)
def test_any_file_gives_a_rule_or_mistakes(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(data)
    try:
        read, mistakes = load_rule(path), []
    except ConfigError as error:
        read, mistakes = None, error.mistakes
    assert read is None or (read.ban and read.weights)
    assert all(line.startswith(f"{path}:") for line in mistakes)


# --- docs/rules.md ---------------------------------------------------------------------------------------------------

MANUAL = (Path(__file__).parents[3] / "docs/rules.md").read_text()


def test_the_manual_quotes_stock_rules_as_they_are():
    quoted = re.findall(r"`rules/([a-z-]+\.yaml)`[^`]*```yaml\n(.*?)```", MANUAL, re.DOTALL)
    assert len(quoted) == MANUAL.count("```yaml") >= 3
    for name, text in quoted:
        assert text == (STOCK / name).read_text(), name


def test_the_manual_names_every_stock_rule():
    rows = set(re.findall(r"^\| `([a-z0-9-]+)` \|", MANUAL.split("## Stock rules")[1], re.MULTILINE))
    assert rows == {path.stem for path in STOCK.iterdir()}


def test_the_manual_names_every_key_and_no_other(tmp_path):
    (said,) = mistakes_of(tmp_path, SHORT + "qqq: 1\n")
    rows = re.findall(r"^\| `([a-z]+)` \|", MANUAL.split("## All keys")[1].split("###")[0], re.MULTILINE)
    assert ", ".join(rows) == said.partition("known are ")[2]


def test_the_manual_says_what_asterisk_reports():
    section = MANUAL.split("## What Asterisk reports")[1].split("## Stock rules")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:6]] for line in section.splitlines() if line.startswith("| `")]
    for service, column in ((Service.PJSIP, 1), (Service.SIP, 2), (Service.AMI, 3), (Service.IAX2, 4)):
        named = {row[0].strip("`") for row in rows if row[column] == "yes"}
        assert named == POSSIBLE[service] - {Kind.SUCCESSFUL_AUTH}
    text = section.split("ACL names of PJSIP:")[1]
    for service, words in zip((Service.PJSIP, Service.SIP), text.split("Of chan_sip:"), strict=True):
        assert set(re.findall(r"`(\w+)`", words)) == ACL_NAMES[service]
