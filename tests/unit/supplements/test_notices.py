"""Notices: gathered in a storm, tried again with a bound, and said in the form of each service."""

from __future__ import annotations

import json

import pytest

from guard.supplements.contract import Alarm, Ban
from guard.supplements.notice import lines, subject
from guard.supplements.outbox import EVERY, GATHER, ITEMS_LIMIT, LAST, TRIES, Notice, Outbox
from guard.supplements.payload import FORMATS

BAN = Ban("198.51.100.7", "guessing", "all", "proven", 2, 5, 9, 3600.0, stored=True)
ALARM = Alarm("broken-phone", "the phone of account <b>&101 keeps failing", "192.0.2.1", "<b>&101", None, "2026-01-01")


def take(box, now):
    notice = box.take(now)
    assert notice is not None
    return notice


def test_the_first_ban_waits_a_moment_for_others_and_goes():
    box = Outbox()
    assert (box.at, box.take(0)) == (None, None)
    box.put_ban(BAN, 0)
    box.put_alarm(ALARM, 0.5)
    assert (box.at, box.take(GATHER - 0.01)) == (GATHER, None)
    assert take(box, GATHER) == Notice((BAN,), (ALARM,), 0)
    box.sent(GATHER)
    assert (box.at, box.take(1_000)) == (None, None)


def test_a_storm_is_a_notice_every_half_minute_that_counts_what_it_does_not_name():
    box, notices = Outbox(), []
    for tick in range(1_000):  # a hundred seconds, a hundred bans a second
        now = tick / 10
        for _ in range(10):
            box.put_ban(BAN, now)
        if (notice := box.take(now)) is not None:
            notices.append(notice)
            box.sent(now)
    assert len(notices) == 1 + int((100 - GATHER) // EVERY)
    assert all(len(notice.bans) <= ITEMS_LIMIT for notice in notices)
    told = sum(len(notice.bans) + notice.more for notice in notices)
    assert told == 10_000 - 10 * round((100 - GATHER - 3 * EVERY) * 10 - 1)


def test_alarms_go_before_bans_in_a_full_notice():
    box = Outbox()
    for _ in range(2 * ITEMS_LIMIT):
        box.put_ban(BAN, 0)
    for _ in range(ITEMS_LIMIT + 3):
        box.put_alarm(ALARM, 0)
    notice = take(box, GATHER)
    assert (len(notice.alarms), len(notice.bans), notice.more) == (ITEMS_LIMIT, 0, 2 * ITEMS_LIMIT + 3)


def test_what_fails_is_tried_again_later_and_later_and_given_up():
    box = Outbox()
    box.put_ban(BAN, 0)
    now, waits = GATHER, []
    notice = take(box, now)
    while box.failed(now, again=True):
        waits.append(box.at - now)
        box.put_alarm(ALARM, now)
        assert box.take(box.at - 0.01) is None
        now = box.at
        assert take(box, now) == notice, "what came since is in the next one"
    assert waits == [2, 4, 8, 16, 32]
    assert (len(waits) + 1, box.given_up) == (TRIES, 1)
    assert all(wait <= LAST for wait in waits)
    assert take(box, now + EVERY) == Notice((), (ALARM,) * 5, 0)


def test_what_makes_no_sense_to_try_again_is_given_up_at_once():
    box = Outbox()
    box.put_ban(BAN, 0)
    take(box, GATHER)
    assert box.failed(GATHER, again=False) is False
    assert (box.given_up, box.at) == (1, None)


def test_at_the_end_nothing_waits():
    box = Outbox()
    box.hurry(5)
    assert box.take(5) is None
    box.put_ban(BAN, 5)
    box.hurry(5)
    assert take(box, 5).bans == (BAN,)


def test_what_the_guard_had_to_give_up_is_counted():
    box = Outbox()
    box.put_lost(7, 0)
    assert take(box, GATHER) == Notice((), (), 7)


@pytest.mark.parametrize(
    ("notice", "said"),
    [
        (Notice((BAN,), (), 0), "ban 198.51.100.7 (guessing)"),
        (Notice((), (ALARM,), 0), "alarm broken-phone"),
        (Notice((BAN, BAN), (ALARM,), 9), "1 alarm and 2 bans and 9 more"),
        (Notice((), (), 7), "7 more"),
    ],
)
def test_the_subject_says_what_it_is_about(notice, said):
    assert subject(notice) == said


def test_the_lines_say_everything():
    assert lines(Notice((BAN, BAN._replace(seconds=90.0, stored=False)), (ALARM,), 3)) == [
        "alarm broken-phone: the phone of account <b>&101 keeps failing",
        "ban 198.51.100.7 for 1h, rule guessing, scope all, evidence proven, strike 2, 5 offences",
        "ban 198.51.100.7 for 90s, rule guessing, scope all, evidence proven, strike 2, 5 offences, not stored",
        "and 3 more; 'astguard bans list' shows who is banned",
    ]


NOTICE = Notice((BAN,), (ALARM,), 0)


def test_the_form_of_each_service():
    body = json.loads(FORMATS["json"](NOTICE, "pbx", "t0ken").body)
    assert (body["source"], body["host"], body["more"]) == ("astguard", "pbx", 0)
    assert body["bans"] == [BAN._asdict()]
    assert body["alarms"] == [ALARM._asdict()]
    slack = json.loads(FORMATS["slack"](NOTICE, "pbx", "").body)
    assert slack.keys() == {"text"}
    assert "account &lt;b&gt;&amp;101 keeps" in slack["text"]
    teams = json.loads(FORMATS["teams"](NOTICE, "pbx", "").body)
    (attachment,) = teams["attachments"]
    assert (teams["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert attachment["content"]["body"][0]["inlines"][0]["text"] == "1 alarm and 1 ban on pbx\n"
    ntfy = FORMATS["ntfy"](NOTICE, "pbx", "")
    assert (ntfy.headers["Title"], ntfy.headers["Priority"]) == ("1 alarm and 1 ban on pbx", "high")
    assert ntfy.body.decode().splitlines() == lines(NOTICE)
    gotify = json.loads(FORMATS["gotify"](NOTICE, "pbx", "t0ken").body)
    assert (gotify["title"], gotify["priority"]) == ("1 alarm and 1 ban on pbx", 8)


@pytest.mark.parametrize(
    ("form", "header"), [("json", "Authorization"), ("ntfy", "Authorization"), ("gotify", "X-Gotify-Key")]
)
def test_the_token_stands_in_a_header_and_nowhere_else(form, header):
    request = FORMATS[form](NOTICE, "pbx", "t0ken")
    assert request.headers[header].endswith("t0ken")
    assert b"t0ken" not in request.body
    assert header not in FORMATS[form](NOTICE, "pbx", "").headers
