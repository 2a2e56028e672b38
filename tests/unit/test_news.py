"""The live stream without a socket: what passes a filter, and how what happens is written."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.address import parse_source
from guard.core.outcome import Outcome
from guard.errors import AddressError
from guard.wire.query import QUERY_LIMIT, read_query, write_query
from guard.wire.stream import Filter, Kind, News, make_filter, read_filter, show_filter, write_event, write_news
from tests.events import event

ONE, NETWORK, V6 = (parse_source(text) for text in ("198.51.100.7", "198.51.100.0/24", "2001:db8::/32"))
COUNTED = News(Kind.OUTCOME, ONE, None, Outcome.COUNTED, event(ONE))
BAN = News(Kind.BAN, ONE, "guessing", None, {"source": "198.51.100.7/32"})
ALARM = News(Kind.ALARM, None, None, None, {"text": "x"})
ALL = (COUNTED, BAN, ALARM)


@pytest.mark.parametrize(
    ("wanted", "passing"),
    [
        (Filter(), ALL),
        (Filter(kinds=frozenset({Kind.BAN, Kind.ALARM})), (BAN, ALARM)),
        (Filter(source=NETWORK), (COUNTED, BAN)),
        (Filter(source=V6), ()),
        (Filter(source=ONE, kinds=frozenset({Kind.OUTCOME})), (COUNTED,)),
        (Filter(rule="guessing"), (BAN,)),
        (Filter(rule="other"), ()),
        (Filter(outcomes=frozenset({Outcome.COUNTED})), (COUNTED,)),
        (Filter(outcomes=frozenset({Outcome.HELD})), ()),
    ],
)
def test_what_passes_a_filter(wanted, passing):
    assert tuple(news for news in ALL if wanted.passes(news)) == passing


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", Filter()),
        ("kind=ban,alarm", Filter(kinds=frozenset({Kind.BAN, Kind.ALARM}))),
        ("address=198.51.100.0/24&rule=guessing", Filter(source=NETWORK, rule="guessing")),
        ("address=198.51.100.0%2F24", Filter(source=NETWORK)),
        ("address=2001:db8::%2F32&outcome=counted", Filter(source=V6, outcomes=frozenset({Outcome.COUNTED}))),
        ("rule=gr%C3%BCn", Filter(rule="grün")),
    ],
)
def test_a_filter_is_read_from_a_query(query, wanted):
    assert read_filter(query) == wanted


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("kind=bans", r"'bans' is no kind; known are outcome, ban, would_ban, unban, expire, alarm"),
        ("outcome=counted,good", r"'good' is no outcome; known are special, "),
        ("kind=", r"'kind=' has no place in this query; expected KEY=VALUE of kind, address, rule, outcome"),
        ("colour=red", r"'colour=red' has no place"),
        ("kind=ban&kind=alarm", r"'kind' is given twice; write its values with commas between"),
        ("kind=ban&", r"'' has no place"),
        ("rule=%0a", r"'\\n' is not the name of a rule"),
        ("rule=%ff", r"is not UTF-8"),
        ("rule=" + "x" * 81, r"is not the name of a rule"),
        ("rule=x&outcome=counted", r"an outcome belongs to no single rule"),
        ("kind=ban&outcome=counted", r"of the kind ban nothing has 'outcome'; leave one of them out"),
        ("kind=outcome&rule=x", r"of the kind outcome nothing has 'rule'"),
        ("kind=" + "a" * QUERY_LIMIT, r"the query has 2005 characters, at most 2000 are read"),
    ],
)
def test_a_wrong_filter_says_what_is_wrong(query, says):
    with pytest.raises(ValueError, match=says):
        read_filter(query)


def test_a_wrong_address_says_so():
    with pytest.raises(AddressError):
        read_filter("address=nobody")


filters = st.builds(
    Filter,
    st.frozensets(st.sampled_from(Kind)),
    st.none() | st.sampled_from([ONE, NETWORK, V6]),
    st.text(max_size=20).filter(str.isprintable),
).filter(lambda wanted: not wanted.rule or wanted.kinds != {Kind.OUTCOME})


@given(filters)
def test_a_filter_that_is_shown_can_be_read(wanted):
    assert read_filter(show_filter(wanted).removeprefix("?")) == wanted


@given(st.text(max_size=100))
def test_any_query_is_read_or_refused(text):
    with suppress(ValueError):
        read_query(text, ("kind",))


@given(st.dictionaries(st.sampled_from(["kind", "rule"]), st.text(min_size=1, max_size=20).filter(str.isprintable)))
def test_a_query_is_read_as_it_was_written(values):
    assert read_query(write_query(values).removeprefix("?"), ("kind", "rule")) == values


def test_an_event_is_two_lines_whatever_its_account_holds():
    account = "a\r\n\r\nevent: ban\ndata: {}\x1b[2J\u202e\u2028"
    written = write_news(News(Kind.OUTCOME, ONE, None, Outcome.BANNED, event(ONE, account=account, at=10**9)))
    name, data, *rest = written.split(b"\n")
    assert (name, rest) == (b"event: outcome", [b"", b""])
    assert written.isascii()
    assert b"\r" not in written
    assert json.loads(data.removeprefix(b"data: ")) == {
        "kind": "outcome", "at": "1970-01-01T00:00:01.000Z", "source": "198.51.100.7/32", "outcome": "banned",
        "event": "ChallengeResponseFailed", "service": "PJSIP",
        "account": r"a\r\n\r\nevent: ban\ndata: {}\x1b[2J\u202e\u2028", "transport": "UDP", "port": 5060, "sensor": "ami",
    }  # fmt: skip


def test_a_ban_keeps_what_it_has():
    assert write_news(BAN) == b'event: ban\ndata: {"kind": "ban", "source": "198.51.100.7/32"}\n\n'
    assert write_event("end", {"text": "ü"}) == b'event: end\ndata: {"text": "\\u00fc"}\n\n'


def test_words_of_a_command_make_a_filter():
    assert make_filter(kind="ban", address="198.51.100.0/24") == Filter(frozenset({Kind.BAN}), NETWORK)
