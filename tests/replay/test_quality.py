"""The bench of judgement: it counts and expects what its page says, before any tool is asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from bench.quality import crowdsec
from bench.quality.ami import events, logged, reported, source_of
from bench.quality.expectations import check, is_false, must_be_stopped
from bench.quality.files import covers, overlaps, source
from bench.quality.judged import Ban, Judged
from bench.quality.logs import messages
from bench.quality.page import BEGIN, END, write_page
from bench.quality.recordings import CORPUS, LabelError, Recording, find
from bench.quality.report import Report, table
from bench.quality.tries import GUESS, Tries, Try, tries_of

ATTACKER, PHONE, OFFICE = "198.51.100.7", "192.0.2.21", "192.0.2.50"
RECORDING = Recording("made up", attackers={ATTACKER: ["guesses"]}, legit={PHONE: ["phone"]})


def by(address, at=0.0, *, slow=False, all_ports=False):
    return Ban(address, at, "rule", all_ports=all_ports, slow=slow)


def guesses(count, *, sessions=True, service="PJSIP", account="101"):
    return Tries(tuple(Try(float(at), GUESS, service, account, f"{at * sessions}") for at in range(count)))


def failures(recording, judged, tries):
    return [f"{each.source} {each.failure}" for each in check(recording, judged, tries) if each.failure]


# What is labelled.


@pytest.fixture(scope="module")
def mix():
    (recording,) = find(["mixed-20k"])
    return recording


def test_the_mix_has_its_attackers_and_its_innocent(mix):
    assert (len(mix.attackers), len(mix.legit)) == (23, 4)
    assert all((mix.ami, mix.messages, mix.security))


def test_every_label_is_of_somebody_who_is_there():
    for recording in find():
        there = {who for _, event in reported(recording.ami) if (who := source_of(event))} | set(tries_of(recording))
        labels = [*recording.attackers, *recording.legit]
        assert any(covers(label, each) for label in labels for each in there), recording.name


def test_a_recording_that_is_not_there_is_named():
    with pytest.raises(LabelError, match="no-such-thing"):
        find(["no-such-thing"])


# The yardstick.


def test_each_attacker_of_the_mix_is_counted_in_what_he_does(mix):
    units = {who: tries.unit for who, tries in tries_of(mix).items()}
    for word, unit in (
        ("enumerates", "requests"),
        ("slow scan", "requests"),
        ("toll-fraud", "requests"),
        ("password guessing", "guesses"),
        ("unanswered", "challenges"),
        ("AMI login", "logins"),
    ):
        assert {units[each] for each in mix.attackers if word in mix.who(each)} == {unit}


def test_retransmits_count_once_and_answers_that_differ_each():
    def block(response, session="c"):
        return (
            f"Event: ChallengeResponseFailed\r\nEventTV: 2026-01-01T00:00:00.000+0000\r\nService: PJSIP\r\nAccountID: 1\r\n"
            f"SessionID: {session}\r\nRemoteAddress: IPV4/UDP/{ATTACKER}/5060\r\nChallenge: n\r\nResponse: {response}\r\n\r\n"
        )

    counts = [tries_of_stream(block("a") * 4), tries_of_stream(block("a") + block("b") + block("a", "d"))]
    assert counts == [1, 3]


def tries_of_stream(text):
    from bench.quality.tries import _from_ami

    return len(_from_ami([(float(at), event) for at, event in enumerate(events(text.encode()))])[ATTACKER])


def test_no_two_failures_of_a_source_have_one_time(mix):
    told = Counter((at, event["Event"], event.get("RemoteAddress")) for at, event in reported(mix.ami))
    assert set(told.values()) == {1}


@pytest.mark.parametrize("name", ["pjsip-svcrack", "pjsip-acl-denied", "pjsip-methods-unauth", "ami-v6-wrong-secret"])
def test_a_security_log_written_from_the_stream_is_that_of_asterisk(name):
    def told(lines):
        return [line.partition(" res_security_log.c: ")[2] for line in lines]

    path = CORPUS / "22.10.1" / name
    written = told(logged(at, event) for at, event in reported((path.with_suffix(".ami"),)))
    assert sorted(written) == sorted(told(path.with_suffix(".log").read_text().splitlines()))


def test_a_line_has_the_time_of_its_event():
    (story,) = find(["slow-guesser-one-call-id"])
    times = {at for at, event in reported(story.ami) if event["Event"] == "ChallengeResponseFailed"}
    lines = [at for at, line in messages(story) if line.endswith("- Failed to authenticate")]
    assert len(lines) == 16
    assert set(lines) <= times


def test_what_no_event_tells_of_is_counted_in_messages():
    (muted,) = find(["hostile-57"])
    assert tries_of(muted)["198.51.100.11"].count(GUESS) == 30


# What has to happen.


@pytest.mark.parametrize(
    ("judged", "failed"),
    [
        (Judged((by(ATTACKER, 7),)), []),
        (Judged((by("198.51.100.0/24", 7),)), []),
        (Judged((by(ATTACKER, 8),)), [f"{ATTACKER} 9 guesses seen"]),
        (Judged(), [f"{ATTACKER} not banned", f"{ATTACKER} 30 guesses seen"]),
        (Judged((by(ATTACKER, 3, slow=True),)), [f"{ATTACKER} slowed"]),
        (Judged((by(ATTACKER, 3), by("192.0.2.0/24"))), [f"{PHONE} banned"]),
        (Judged((by(ATTACKER, 3), by("127.0.0.1"))), ["127.0.0.1 banned, and no label knows it"]),
    ],
)
def test_what_is_expected_where_a_label_says_nothing_more(judged, failed):
    assert failures(RECORDING, judged, {ATTACKER: guesses(30)}) == failed


def test_bursts_may_have_more_guesses_and_ami_fewer_with_every_port_closed():
    judged = Judged((by(ATTACKER, 20),))
    assert failures(RECORDING, judged, {ATTACKER: guesses(30, sessions=False)}) == []
    assert failures(RECORDING, judged, {ATTACKER: guesses(30, service="AMI")}) == [
        f"{ATTACKER} 21 logins seen",
        f"{ATTACKER} the AMI port stays open",
    ]


@pytest.mark.parametrize(
    ("word", "judged", "holds"),
    [
        ("nothing", Judged(), True),
        ("nothing", Judged((by(OFFICE, slow=True),)), False),
        ("at most slow", Judged((by(OFFICE, slow=True),)), True),
        ("at most slow", Judged((by(OFFICE),)), False),
        ("slow or ban", Judged((by(OFFICE, slow=True),)), True),
        ("slow or ban", Judged(), False),
        ("alarm:101", Judged(alarms=({"account": "101", "source": OFFICE},)), True),
        ("alarm:101", Judged(alarms=({"text": f"account 101 of {OFFICE}: an old password"},)), True),
        ("alarm:101", Judged(alarms=({"account": "101", "source": "192.0.2.101"},)), False),
        ("alarm:101", Judged(alarms=({"account": "102", "source": OFFICE},)), False),
        ("a ban, please", Judged(), False),
    ],
)
def test_each_word_of_a_label(word, judged, holds):
    recording = Recording("made up", legit={OFFICE: ["ten phones"]}, expect={OFFICE: [word]})
    assert (not failures(recording, judged, {})) is holds


def test_an_alarm_of_the_whole_story_may_name_no_source():
    recording = Recording("made up", expect={"*": ["alarm:101"]})
    assert not failures(recording, Judged(alarms=({"accounts": ["101"]},)), {})
    assert failures(recording, Judged(), {}) == ["* no alarm names 101"]


def test_limits_of_a_label_come_first():
    recording = replace(RECORDING, expect={ATTACKER: ["ban"]}, limits={ATTACKER: {"accounts": 0}})
    assert failures(recording, Judged((by(ATTACKER, 25),)), {ATTACKER: guesses(30)}) == [f"{ATTACKER} 1 accounts seen"]


def test_a_network_that_hops_is_stopped_by_a_ban_of_all_of_it():
    hopper = Recording("made up", attackers={"2001:db8:b0:7::/64": ["hops"]})
    assert failures(hopper, Judged((by("2001:db8:b0:7::1"),)), {}) == ["2001:db8:b0:7::/64 not banned"]
    assert failures(hopper, Judged((by("2001:db8:b0::/56"),)), {}) == []


def test_who_need_not_be_stopped_is_not_missed():
    recording = replace(RECORDING, expect={ATTACKER: []})
    assert not must_be_stopped(recording, ATTACKER)
    assert not is_false(recording, Judged((by(ATTACKER),)), ATTACKER)
    assert is_false(recording, Judged((by(PHONE),)), PHONE)


# What is printed.


def test_the_sums_of_a_tool():
    answers = {"good": {"made up": Judged((by(ATTACKER, 4),))}, "bad": {"made up": Judged((by(PHONE),))}}
    report = Report([RECORDING], {"made up": {ATTACKER: guesses(30), PHONE: Tries()}}, answers)
    assert report.summary("good") == {"attackers": 1, "missed": [], "false": [], "median": 5, "max": 5}
    sums = report.summary("bad")
    assert (sums["missed"], sums["false"]) == ([["made up", ATTACKER]], [["made up", PHONE]])
    assert list(report.rows(RECORDING)) == [
        [ATTACKER, "guesses", "30g", "5g", "-"],
        [PHONE, "phone", "nothing seen", "", "FALSE"],
    ]


def test_a_page_is_written_between_its_marks_and_nowhere_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n")
    write_page(page, Report([RECORDING], {"made up": {}}, {"tool": {"made up": Judged()}}), {"fail2ban": "9"})
    text = page.read_text()
    assert "old" not in text
    assert "fail2ban 9" in text
    assert text.endswith(f"{END}\n\nrest\n")
    page.write_text("# Title\n")
    with pytest.raises(SystemExit):
        write_page(page, Report([], {}, {}), {})


def test_columns_are_as_wide_as_their_widest():
    assert table(["a", "bb"], [["ccc", 1]]) == "a    bb\nccc  1"
    assert table(["a"], [["x|y"]], markdown=True) == "| a |\n| --- |\n| x/y |"


def test_a_line_of_crowdsec_says_whom_it_bans_and_when():
    line = (
        'time="23-11-2026 02:58:31" level=info msg="Ip 2001:db8:b0::1 performed \'crowdsecurity/asterisk_bf\' '
        '(6 events over 609ms) at 2026-11-22 13:41:14.97 +0000 UTC"'
    )
    ((address, rule, at),) = crowdsec._PERFORMED.findall(line)
    assert (address, rule) == ("2001:db8:b0::1", "asterisk_bf")
    assert crowdsec._time(at) == crowdsec._time("2026-11-22 13:41:14.970000")


def test_addresses_have_one_form():
    assert source("[2001:DB8:0::1]") == "2001:db8::1"
    assert source("::ffff:192.0.2.1") == "192.0.2.1"
    assert source("2001:db8::5/64") == "2001:db8::/64"
    assert source("nobody") is None
    assert not covers("192.0.2.0/24", "2001:db8::1")
    assert overlaps("192.0.2.0/24", "192.0.2.1")
