"""The picture of `astguard top`: what stands where, that it fits, and that nothing in it is obeyed by a terminal."""

from __future__ import annotations

import pytest

from guard.cli.topview import SMALLEST, Seen, _columns, picture, rates

STATUS = {
    "version": "0.1.0", "pid": 812, "mode": "enforce", "paused": None, "uptime_seconds": 11_520, "bans": 1_212,
    "link": {"state": "up", "lag_ms": 2}, "firewall": {"dropped": 1_000},
    "counts": {"events": 21_055, "attempts.opened": 4_000, "bans.added": 40}, "warnings": [],
}  # fmt: skip
LATER = STATUS | {
    "firewall": {"dropped": 3_400}, "counts": {"events": 31_067, "attempts.opened": 4_007, "bans.added": 40},
}  # fmt: skip
BAN = {"rule": "pjsip-enumeration", "scope": "sip", "left_seconds": 593}
TOP = {
    "since": "2026-05-01T14:02:11.000Z", "seconds": 300,
    "sources": [
        {"source": f"198.51.100.{n}/32", "attempts": 10_000 // n, "accounts": n, "ban": BAN if n % 2 else None}
        for n in range(1, 60)
    ] + [{"source": "2001:db8:1234:5678::/64", "attempts": 3, "accounts": 1, "ban": None}],
    "accounts": [{"account": f"10{n}", "attempts": 900 - n, "sources": 7} for n in range(40)],
    "rules": [{"rule": "pjsip-guessing", "bans": 40, "observed": 0}, {"rule": "manual", "bans": 1, "observed": 0}],
}  # fmt: skip
NOW, BEFORE = Seen(12.0, LATER, TOP), Seen(10.0, STATUS, TOP)


def lines(now=NOW, before=BEFORE, width=80, height=24, **options):
    return ["".join(text for text, _ in line) for line in picture(now, before, width, height, **options)]


def test_the_picture_of_eighty_columns():
    shown = [line.rstrip() for line in lines()]
    assert shown[:6] == [
        "astguard 0.1.0, up 3h12m, enforce, link up, lag 2 ms, q quits",
        "events 5,006/s  attempts 3.5/s  bans 0/s  dropped packets 1,200/s  banned 1,212",
        "",
        "SOURCE                     TRIES    /MIN   ACCTS  BANNED BY               LEFT",
        "198.51.100.1              10,000   2,000       1  pjsip-enumeration, sip  9m53s",
        "198.51.100.2               5,000   1,000       2  -                       -",
    ]
    assert len(shown) == 24
    assert shown[14:] == [
        "",
        "ACCOUNT                    TRIES    /MIN  SOURCES",
        "100                          900     180        7",
        "101                          899     180        7",
        "102                          898     180        7",
        "103                          897     179        7",
        "",
        "RULE                        BANS  OBSERVED",
        "pjsip-guessing                40         0",
        "manual                         1         0",
    ]


def test_on_a_wide_terminal_the_tables_stand_side_by_side():
    shown = lines(width=200, height=50)
    assert shown[3].split() == [
        "SOURCE", "TRIES", "/MIN", "ACCTS", "BANNED", "BY", "LEFT", "ACCOUNT", "TRIES", "/MIN", "SOURCES",
    ]  # fmt: skip
    assert max(map(len, shown)) <= 200
    assert sum("198.51.100." in line for line in shown) == 46


@pytest.mark.parametrize("height", [1, 10, 24, 25, 60, 1_000])
@pytest.mark.parametrize("width", [1, 40, 79, 80, 149, 150, 200, 300])
def test_no_picture_is_larger_than_its_screen(width, height):
    shown = lines(width=width, height=height)
    assert max(map(len, shown)) <= max(width, SMALLEST[0])
    assert len(shown) <= max(height, SMALLEST[1])


def test_accounts_are_harmless_and_wide_signs_keep_the_columns():
    evil = "\x1b[2J\u202e\r\n1"
    top = TOP | {"accounts": [
        {"account": evil, "attempts": 2, "sources": 1}, {"account": "電話" * 9, "attempts": 1, "sources": 1},
        {"account": "e\u0301" * 12, "attempts": 1, "sources": 1}, {"account": "", "attempts": 1, "sources": 1},
    ]}  # fmt: skip
    shown = lines(Seen(12.0, LATER, top), height=40)
    assert not any(char in line for line in shown for char in "\x1b\u202e\r\n")
    assert any(line.startswith(r"\x1b[2J\u202e\r\n1 ") for line in shown)
    assert any(line.startswith("(none) ") for line in shown)
    begin = shown.index(next(line for line in shown if line.startswith("ACCOUNT ")))
    assert {_columns(line.rstrip()) for line in shown[begin + 1 : begin + 5]} == {_columns(shown[begin].rstrip())}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"paused": {"since": "x"}}, "PAUSED: nobody is kept out"),
        ({"mode": "observe"}, ", observe, "),
        ({"link": {"state": "lost", "lag_ms": 0}}, "link lost"),
        ({"warnings": [{"text": "a\x1bb", "remedy": ""}]}, r"warning a\x1bb"),
        ({"warnings": [{"text": "x"}, {"text": "y"}]}, "warning x (and 1 more, see 'astguard status')"),
        ({"link": None, "counts": None, "firewall": None, "bans": None, "uptime_seconds": None}, "link unknown"),
    ],
)
def test_what_is_wrong_is_seen(change, says):
    assert any(says in line for line in lines(Seen(12.0, LATER | change, TOP)))


def test_a_daemon_that_does_not_answer_is_said_and_the_last_picture_stays():
    shown = lines(NOW._replace(problem="astguard is not running: nobody answers"))
    assert "astguard is not running: nobody answers" in shown
    assert any("198.51.100.1 " in line for line in shown)


def test_rates_are_those_between_two_looks_and_unknown_after_a_restart():
    assert rates(NOW, BEFORE) == {"events": 5_006.0, "attempts": 3.5, "bans": 0.0, "dropped packets": 1_200.0}
    again = Seen(12.0, LATER | {"pid": 900}, TOP)
    assert set(rates(again, BEFORE).values()) == {None}
    assert "events ?/s" in lines(again)[1]
    assert set(rates(BEFORE, BEFORE).values()) == {None}


def test_where_nothing_happens_it_says_so():
    quiet = Seen(12.0, STATUS, {"seconds": 1, "sources": [], "accounts": [], "rules": []})
    shown = lines(quiet)
    assert {"nobody attacks", "no account is attacked", "no rule has banned since the start"} <= set(shown)


def test_large_numbers_stay_in_their_columns():
    top = TOP | {"sources": [{"source": "198.51.100.1/32", "attempts": 123_456_789, "accounts": 100_000, "ban": None}]}
    assert "  123M     24M    100k  -" in lines(Seen(12.0, LATER, top))[4]
