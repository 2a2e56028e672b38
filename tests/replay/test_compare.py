"""What-if: two sets of rules over one recording, and who of those they ban is a phone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from guard.core.address import parse_source
from guard.core.event import Kind, SecurityEvent, Service, Transport
from guard.core.rule import Rule
from guard.core.units import MINUTE, SECOND, Wall
from guard.replay import replay
from guard.replay.compare import ACCOUNTS_LIMIT, Phones, compare

ATTACK = Path(__file__).parents[1] / "corpus" / "22.10.1" / "pjsip-svcrack.ami"
STRICT = Rule(
    name="strict", weights={Kind.CHALLENGE_RESPONSE_FAILED: 1}, threshold=2, window=2 * MINUTE, ban=(10 * MINUTE,)
)
SLACK = replace(STRICT, name="slack", threshold=3)
NEVER = replace(STRICT, name="never", threshold=1000)

SUCCESS = SecurityEvent(
    at=Wall(10**18), kind=Kind.SUCCESSFUL_AUTH, service=Service.PJSIP, account="100", session="s",
    source=parse_source("198.51.100.11"), transport=Transport.UDP, local_port=5060, password=True,
)  # fmt: skip


def test_the_object_that_others_rely_on():
    report = compare([ATTACK], [STRICT], [SLACK]).as_json()
    assert list(report) == ["events", "tampered", "sources", "alarms", "phones_forgotten", "seconds"]
    assert (report["events"], report["tampered"], report["alarms"]) == (23, 0, {"a": [], "b": []})
    (source,) = report["sources"]
    assert (source["source"], source["accounts"], source["registered"]) == ("198.51.100.11/32", [], None)
    assert (source["a"]["rule"], source["b"]["rule"]) == ("strict", "slack")
    assert source["a"]["events"] < source["b"]["events"]
    assert source["a"]["at"] <= source["b"]["at"]


def test_each_side_is_what_a_replay_of_its_own_says():
    (source,) = compare([ATTACK], [STRICT], [SLACK]).as_json()["sources"]
    for key, rule in (("a", STRICT), ("b", SLACK)):
        assert source[key] == replay([ATTACK], [rule]).as_json()["bans"][0]


def test_a_source_that_one_side_leaves_alone_has_no_ban_there():
    (source,) = compare([ATTACK], [NEVER], [STRICT]).as_json()["sources"]
    assert (source["a"], source["b"]["rule"]) == (None, "strict")
    assert compare([ATTACK], [NEVER], []).as_json()["sources"] == []


def test_who_is_allowed_is_allowed_on_both_sides():
    allow = [parse_source("198.51.100.0/24")]
    assert compare([ATTACK], [STRICT], [SLACK], allow).as_json()["sources"] == []


def test_a_phone_that_registers_after_its_ban_is_told():
    comparison = compare([ATTACK], [STRICT], [NEVER])
    (ban,) = comparison.first[0].values()
    for offset, word in ((SECOND, "later"), (-SECOND, "before")):
        comparison.phones = Phones()
        comparison.phones.note(
            [replace_event(at=Wall(ban.since + offset)), replace_event(at=Wall(0), account="\x1b[m")]
        )
        (source,) = comparison.as_json()["sources"]
        assert (source["registered"], source["accounts"]) == (word, ["100", "\\x1b[m"])


def test_only_a_password_makes_a_phone():
    phones = Phones()
    phones.note([
        replace_event(password=False), replace_event(service=Service.AMI), replace_event(kind=Kind.CHALLENGE_SENT)
    ])  # fmt: skip
    assert phones.behind(SUCCESS.source) == {}


def test_phones_are_looked_for_in_the_whole_of_a_banned_network():
    phones = Phones()
    phones.note([SUCCESS, replace_event(source=parse_source("198.51.100.99"), account="101", at=Wall(7))])
    assert phones.behind(parse_source("198.51.100.0/24")) == {"100": SUCCESS.at, "101": 7}
    assert phones.behind(parse_source("198.51.100.99")) == {"101": 7}
    assert phones.behind(parse_source("2001:db8::/48")) == {}


def test_what_is_remembered_of_phones_is_bounded():
    phones = Phones(limit=4)
    for number in range(40):
        phones.note([replace_event(source=parse_source(f"198.51.100.{number}"))])
        phones.note([replace_event(account=str(number))])
    assert phones.forgotten > 30
    assert len(phones.behind(SUCCESS.source)) == ACCOUNTS_LIMIT


def replace_event(**fields):
    return SUCCESS._replace(**fields)
