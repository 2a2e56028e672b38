"""The control socket for real: the aiohttp server before a desk of paper, and the command line as its client."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import socket
import stat
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.api import control as api
from guard.api.control import ControlServer, encode
from guard.api.stream import Stream
from guard.cli import client, main
from guard.cli.choose import SCOPES
from guard.cli.explain import following
from guard.core.address import covers, parse_source, show
from guard.core.rule import Mode, Scope
from guard.core.units import MINUTE, SECOND
from guard.errors import ConfigError, ControlError, NotFound
from guard.settings.rulefile import load_rule
from guard.wire.describe import describe_rule
from guard.wire.history import Wanted

TREE = Path(__file__).parents[2]
BANS = [
    {
        "source": "203.0.113.7/32", "rule": "pjsip-password-guessing", "scope": "all", "strike": 2,
        "since": "2026-05-01T14:02:11.000Z", "until": "2026-05-01T15:02:11.000Z", "left_seconds": 2892, "offences": 21,
        "events": 24, "evidence": "proven", "reason": "pjsip-password-guessing", "origin": "rule",
    },
    {
        "source": "2001:db8:5::/64", "rule": "manual", "scope": "sip", "strike": 1,
        "since": "2026-05-01T14:31:40.000Z", "until": "2026-05-01T14:50:40.000Z", "left_seconds": 1020, "offences": 0,
        "events": 0, "evidence": "proven", "reason": "\x1b[2Jowned\r\n\u202eevil", "origin": "manual",
    },
]  # fmt: skip
STATUS = {
    "version": "0.1.0", "pid": 812, "mode": "observe", "uptime_seconds": 11_520,
    "link": {"state": "up", "since": "2026-05-01T11:00:00Z", "lag_ms": 2, "asterisk": "Asterisk 22.10.1", "self_test": "passed"},
    "firewall": {"backend": "nftables", "dropped": 1_234_567}, "bans": 2, "allow": 1,
    "logs": {"read": ["/var/log/asterisk/messages"], "unread": ["/var/log/asterisk/security"]},
    "rates": {
        "lately": {"events": 42.5, "attempts": 3.1, "bans": 0.02}, "lately_seconds": 60,
        "since_start": {"events": 1.83, "attempts": 0.4, "bans": 0.0},
    },
    "counts": {"events": 21_055, "outcome.counted": 40, "foreign": 0},
    "warnings": [{"text": "manager.conf is bound to 0.0.0.0", "remedy": "set bindaddr = 127.0.0.1"}],
}  # fmt: skip
RULES = [
    {"name": "pjsip-scanning", "mode": "enforce", "threshold": 20, "window": "5m", "ban": ["1h", "6h"], "about": "Scans.",
     "file": "/usr/share/astguard/rules/pjsip-scanning.yaml"},
]  # fmt: skip
ALLOWED = [
    {"source": "192.0.2.0/24", "origin": "/etc/astguard/astguard.yaml:12", "until": None, "left_seconds": None},
    {"source": "2001:db8::7/128", "origin": "command", "until": "2026-05-01T16:02:11.000Z", "left_seconds": 7130},
]


UNKNOWN = {
    "known": False, "special": False, "allowed": None, "ban": None, "observed": None, "strikes": [], "events": 0,
    "held_seconds": [], "trust": 1.0, "trusted": [], "failing": [], "rules": [], "trail": [],
}  # fmt: skip
EXPLAINED = {
    **UNKNOWN, "source": "203.0.113.7/32", "known": True, "site": "203.0.113.7/32", "events": 27,
    "ban": {**BANS[0], "by": "event", "heard_to_kernel_ms": 3.21, "read_to_kernel_ms": 0.41},
    "strikes": [
        {"source": "203.0.113.7/32", "evidence": "proven", "strikes": 2, "until": "2026-05-01T15:02:11.000Z"},
    ],
    "held_seconds": [2],
    "trust": 3.97, "trusted": [{"account": "101", "ago_seconds": 120}],
    "failing": [{"account": "1001", "answers": 14, "sessions": 3, "a_minute": 12, "ago_seconds": 5}],
    "rules": [
        {
            "name": "pjsip-guessing", "mode": "enforce", "source": "203.0.113.7/32",
            "counts": ["ChallengeResponseFailed"], "offences": 2, "proven": 0, "threshold": 5, "needed": 20,
            "window_seconds": 300, "leaves_seconds": 192,
            "next": {
                "missing": 18, "evidence": "unproven", "scope": "sip", "alarm": None, "crowd": False, "strike": 1,
                "ban_seconds": 600,
            },
        },
    ],
    "trail": [
        {
            "at": "2026-05-01T14:02:10.000Z", "kind": "ChallengeResponseFailed", "service": "PJSIP", "account": "1001",
            "source": "203.0.113.7/32", "transport": "UDP", "port": 5060, "outcome": "counted",
        },
    ],
}  # fmt: skip
PASTS = [
    {
        "source": "203.0.113.7/32", "rule": "pjsip-guessing", "since": "2026-05-01T14:02:11.000Z",
        "until": "2026-05-01T14:12:11.000Z", "length_seconds": 600, "scope": "sip", "evidence": "unproven", "strike": 2,
        "offences": 5, "events": 9, "reason": "pjsip-guessing", "origin": "rule", "ended": None, "ended_at": None,
    },
    {
        "source": "203.0.113.7/32", "rule": "manual", "since": "2026-05-01T13:02:11.000Z",
        "until": "2026-05-01T14:02:11.000Z", "length_seconds": 3600, "scope": "all", "evidence": "proven", "strike": 1,
        "offences": 0, "events": 0, "reason": "", "origin": "manual", "ended": "unban",
        "ended_at": "2026-05-01T13:32:11.000Z",
    },
]  # fmt: skip


LIFTED = {4: ["198.51.100.7/32"], 6: [f"2001:db8:0:{number}::/64" for number in range(1, 8)]}


class Paper:
    """A desk that keeps what it is told in lists."""

    def __init__(self):
        self.asked = []
        self.lifted = []
        self.mistakes = []
        self.list = [dict(ban) for ban in BANS]

    async def ready(self):
        pass

    def status(self):
        return STATUS

    def bans(self):
        return self.list

    async def ban(self, source):
        for ban in self.list:
            if covers(parse_source(ban["source"]), source):
                return ban
        raise NotFound(f"{show(source)} is not banned")

    async def add_ban(self, source, length, reason):
        self.asked.append((show(source), length, reason))
        if covers(parse_source("192.0.2.0/24"), source):
            raise ControlError("192.0.2.9 is on the allowlist by 192.0.2.0/24 (/etc/astguard/astguard.yaml:12)")
        return {**BANS[0], "source": show(source), "rule": "manual", "reason": reason}

    async def remove_ban(self, source):
        ban = await self.ban(source)
        if ban["source"] != show(source):
            raise NotFound(f"{show(source)} has no ban of its own; the ban of {ban['source']} covers it")
        return ban

    def allowed(self):
        return ALLOWED

    async def add_allow(self, source, length):
        end = {"until": None, "left_seconds": None} if length is None else {
            "until": "2026-05-01T16:02:11.000Z", "left_seconds": length // SECOND,
        }  # fmt: skip
        return {"source": show(source), "origin": "command", **end, "lifted": self.lifted or LIFTED[source[0]]}

    async def remove_allow(self, source):
        if covers(parse_source("192.0.2.0/24"), source):
            raise ControlError("192.0.2.0/24 stands in /etc/astguard/astguard.yaml:12; take it out there")
        return {"source": show(source), "origin": "command"}

    def test_allow(self, source):
        if covers(parse_source("192.0.2.0/24"), source):
            return {"source": show(source), "allowed": True, "by": "192.0.2.0/24", "origin": ALLOWED[0]["origin"]}
        return {"source": show(source), "allowed": False, "by": None, "origin": None}

    def rules(self):
        return RULES

    async def flush_bans(self):
        lifted, self.list = len(self.list), []
        return {"bans": lifted, "stored": True}

    async def explain(self, source):
        return {**EXPLAINED, "source": show(source)} if show(source) == EXPLAINED["source"] else {
            **UNKNOWN, "source": show(source), "site": show(source),
        }  # fmt: skip

    async def history(self, wanted):
        self.asked.append(wanted)
        return PASTS[: wanted.limit]

    async def reload(self):
        if self.mistakes:
            raise ConfigError(self.mistakes)
        return {"changed": ["mode", "rules"], "restart": ["control"], "notes": ["2 bans stay"], "rules": 12}

    async def pause(self, length):
        self.asked.append(length)
        until = None if length is None else "2026-05-01T14:32:11.000Z"
        return {"since": "2026-05-01T14:02:11.000Z", "until": until, "left_seconds": length, "bans": 1_234}

    async def resume(self):
        if not self.asked:
            raise NotFound("astguard is not paused")
        return {"bans": 1}


@contextmanager
def serving(desk, path):
    """Serve in a thread of its own, as the daemon would in its process."""
    ready, done = threading.Event(), threading.Event()
    failed = []

    async def serve():
        server = ControlServer(desk, path, None, Stream(list))
        try:
            await server.start()
        finally:
            ready.set()
        await asyncio.to_thread(done.wait)
        await server.stop()

    def work():
        try:
            asyncio.run(serve())
        except Exception as error:  # noqa: BLE001 - the test raises it
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    try:
        yield path
    finally:
        done.set()
        thread.join(20)
        assert not thread.is_alive()
        if failed:
            raise failed[0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "astguard.sock"


@pytest.fixture
def desk(path):
    desk = Paper()
    with serving(desk, path):
        yield desk


@pytest.fixture
def astguard(desk, path, capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    def run(*words):
        code = main([*words, "--socket", str(path)])
        said = capsys.readouterr()
        return code, said.out, said.err

    yield run
    monkeypatch.undo()
    time.tzset()


def raw(path, data, *, end=False):
    """Send bytes and return all that comes back; `end` says that no more will come."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65_536):
                answer += chunk
        return answer


# What the commands print.


def test_bans_are_listed_in_columns(astguard):
    assert astguard("bans", "list") == (0, (
        "SOURCE           RULE                     SCOPE  STRIKE  SINCE             LEFT\n"
        "203.0.113.7      pjsip-password-guessing  all    2       2026-05-01 14:02  48m12s\n"
        "2001:db8:5::/64  manual                   sip    1       2026-05-01 14:31  17m\n"
    ), "")  # fmt: skip


def test_bans_are_listed_without_titles_for_scripts(astguard):
    code, out, _ = astguard("bans", "list", "--no-header")
    assert (code, out.splitlines()[0].split()[0]) == (0, "203.0.113.7")


def test_bans_as_json_keep_the_contract(astguard):
    code, out, err = astguard("bans", "list", "-o", "json")
    assert (code, json.loads(out), err) == (0, BANS, "")
    contract = {"source", "rule", "scope", "strike", "since", "until", "left_seconds", "offences"}
    assert all(contract <= set(ban) for ban in json.loads(out))
    assert len(out.splitlines()) == len(BANS) + 2


def test_bans_as_raw_lines_have_tabs_and_the_values_of_the_api(astguard):
    assert astguard("bans", "list", "-o", "raw") == (0, (
        "SOURCE\tRULE\tSCOPE\tSTRIKE\tSINCE\tLEFT\n"
        "203.0.113.7/32\tpjsip-password-guessing\tall\t2\t2026-05-01T14:02:11.000Z\t2892\n"
        "2001:db8:5::/64\tmanual\tsip\t1\t2026-05-01T14:31:40.000Z\t1020\n"
    ), "")  # fmt: skip
    assert astguard("bans", "list", "-o", "raw", "--no-header")[1].splitlines()[0].startswith("203.0.113.7/32\t")


def test_what_is_no_list_is_raw_with_a_name_and_a_value_a_line(astguard, desk):
    code, out, _ = astguard("bans", "show", "203.0.113.7", "-o", "raw")
    assert (code, "rule\tpjsip-password-guessing" in out.splitlines()) == (0, True)
    code, out, _ = astguard("bans", "remove", "203.0.113.7", "-o", "raw")
    assert (code, out.splitlines()[0]) == (0, "source\t203.0.113.7/32")
    assert "link.state\tup" in astguard("status", "-o", "raw")[1].splitlines()
    desk.list = []
    assert astguard("bans", "list", "-o", "raw", "--no-header") == (0, "", "astguard: nobody is banned\n")


def test_an_empty_list_says_so_on_stderr(astguard, desk):
    desk.list = []
    header = "SOURCE  RULE  SCOPE  STRIKE  SINCE  LEFT\n"
    assert astguard("bans", "list") == (0, header, "astguard: nobody is banned\n")
    assert astguard("bans", "list", "--no-header") == (0, "", "astguard: nobody is banned\n")
    assert astguard("bans", "list", "-o", "json") == (0, "[]\n", "astguard: nobody is banned\n")


def test_a_ban_is_shown_with_all_it_has(astguard):
    assert astguard("bans", "show", "203.0.113.7") == (0, (
        "source    203.0.113.7\n"
        "rule      pjsip-password-guessing\n"
        "reason    pjsip-password-guessing\n"
        "scope     all\n"
        "strike    2\n"
        "offences  21\n"
        "events    24\n"
        "evidence  proven\n"
        "since     2026-05-01 14:02:11\n"
        "until     2026-05-01 15:02:11\n"
        "left      48m12s\n"
    ), "")  # fmt: skip


def test_text_of_strangers_is_harmless_on_the_terminal(astguard):
    code, out, err = astguard("bans", "show", "2001:db8:5::/64")
    assert (code, err) == (0, "")
    assert r"reason    \x1b[2Jowned\r\n\u202eevil" in out.splitlines()
    code, out, _ = astguard("bans", "show", "2001:db8:5::/64", "-o", "json")
    assert out.strip().isprintable()
    assert json.loads(out) == BANS[1]


def test_a_covering_ban_is_shown_and_named(astguard):
    code, out, err = astguard("bans", "show", "2001:db8:5::77")
    assert (code, out.splitlines()[0]) == (0, "source    2001:db8:5::/64")
    assert err == "astguard: 2001:db8:5::77 has no ban of its own; the ban of 2001:db8:5::/64 covers it\n"


@pytest.mark.parametrize(
    ("options", "sources"),
    [
        (["--rule", "manual"], ["2001:db8:5::/64"]),
        (["--scope", "all"], ["203.0.113.7/32"]),
        (["--address", "203.0.113.0/24"], ["203.0.113.7/32"]),
        (["--address", "2001:db8:5::7"], ["2001:db8:5::/64"]),
        (["--address", "198.51.100.1"], []),
        (["--since", "2026-05-01 14:30"], ["2001:db8:5::/64"]),
        (["--since", "2026-05-01T14:02:11+00:00", "--rule", "pjsip-password-guessing"], ["203.0.113.7/32"]),
        (["--since", "1m"], []),
    ],
)
def test_bans_are_chosen_by_rule_scope_address_and_time(astguard, options, sources):
    code, out, err = astguard("bans", "list", *options, "-o", "raw", "--no-header")
    assert (code, [line.partition("\t")[0] for line in out.splitlines()]) == (0, sources)
    assert err == ("" if sources else "astguard: no ban is like that\n")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--since", "yesterday"], "--since: 'yesterday' is no time; expected a time back (2h, 1d) or a local time"),
        (["--rule", "a b"], "--rule: 'a b' is no name of a rule"),
        (["--scope", "none"], "argument --scope: invalid choice"),
        (["--address", "nobody"], "'nobody' is not an address or network"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(astguard, options, says):
    code, out, err = astguard("bans", "list", *options)
    assert (code, out) == (2, "")
    assert err.startswith(f"astguard: {says}")


def test_scopes_that_can_be_chosen_are_those_there_are():
    assert set(SCOPES) == {str(scope) for scope in Scope}


def test_all_bans_are_lifted_after_a_question(astguard, monkeypatch):
    assert astguard("bans", "flush")[0] == 2  # there is no terminal to ask on
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert astguard("bans", "flush") == (1, "Lift all 2 bans? [y/N] ", "astguard: nothing was changed\n")
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    assert astguard("bans", "flush") == (0, "Lift all 2 bans? [y/N] lifted 2 bans\n", "")
    assert astguard("bans", "flush", "--yes") == (0, "nobody was banned\n", "")
    assert astguard("bans", "flush", "--yes", "-o", "json")[1] == '{"bans": 0, "stored": true}\n'


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_an_address_is_explained(astguard):
    assert astguard("explain", "203.0.113.7") == (0, EXPLAINED_PAGE, "")
    assert json.loads(astguard("explain", "203.0.113.7", "-o", "json")[1]) == EXPLAINED
    assert "rules.0.next.missing\t18" in astguard("explain", "203.0.113.7", "-o", "raw")[1].splitlines()


EXPLAINED_PAGE = """\
source         203.0.113.7
allowed        no
banned         203.0.113.7 by pjsip-password-guessing, everything closed, until
               2026-05-01 15:02:11, 48m12s left, strike 2
               21 offences, evidence proven
to the kernel  0.41 ms after the event was read, 3.21 ms after it happened
events         27 read; 1 attempt is held and counts within 3s
authenticated  101 (2m ago)
trust          thresholds are 3.97 times as high here
failing at     1001 (14 in 3 sessions, 12 a minute, last 5s ago)
strikes        2 on proven evidence, the last until 2026-05-01 15:02:11
               (203.0.113.7)

RULE            OFFENCES  PROVEN  WINDOW  OLDEST LEAVES
pjsip-guessing  2 of 20   0       5m      in 3m12s

AT                EVENT                    ACCOUNT  BY   PORT  CAME TO
2026-05-01 14:02  ChallengeResponseFailed  1001     UDP  5060  counted

next           18 more wrong passwords within 3m12s: ban for 10m, SIP ports
               closed (strike 1, evidence unproven) by pjsip-guessing
"""


def test_of_an_address_that_nobody_knows_it_is_said_and_that_is_no_failure(astguard):
    assert astguard("explain", "192.0.2.1") == (0, (
        "source         192.0.2.1\n"
        "allowed        no\n"
        "banned         no\n"
        "events         none: nothing is known of it, and nothing counts against it\n"
    ), "")  # fmt: skip


@pytest.mark.parametrize(
    ("coming", "says"),
    [
        ({"missing": 1}, "1 more wrong password within 3m12s: ban for 10m, SIP ports closed"),
        ({"scope": None, "alarm": "broken-phone", "ban_seconds": None}, "within 3m12s: an alarm, no ban by pjsip"),
        ({"scope": "slow", "alarm": "trusted-source"}, "ban for 10m and an alarm, SIP ports slowed (strike 1"),
        ({"crowd": True}, "; many sources guess at the same account, so fewer are enough"),
    ],
)
def test_what_would_follow_is_said_in_words(coming, says):
    (rule,) = EXPLAINED["rules"]
    said = " ".join(" ".join(following({"rules": [{**rule, "next": {**rule["next"], **coming}}]})).split())
    assert says in said


def test_whoever_is_allowed_hears_that_nothing_would_follow(astguard, desk, monkeypatch):
    async def explain(source):
        return {
            **UNKNOWN,
            "source": show(source),
            "site": show(source),
            "allowed": {"by": "192.0.2.0/24", "origin": "x:1"},
        }

    monkeypatch.setattr(desk, "explain", explain)
    out = astguard("explain", "192.0.2.1")[1]
    assert "allowed        never banned: on the allowlist by 192.0.2.0/24 (x:1)\n" in out
    assert out.endswith("next           nothing, whatever it does: it is never banned\n")


def test_the_past_is_listed_and_chosen_from(astguard, desk):
    assert astguard("history") == (0, (
        "SINCE             SOURCE       RULE            SCOPE  STRIKE  FOR  ENDED\n"
        "2026-05-01 14:02  203.0.113.7  pjsip-guessing  sip    2       10m  in force\n"
        "2026-05-01 13:02  203.0.113.7  manual          all    1       1h   lifted 13:32\n"
    ), "")  # fmt: skip
    assert json.loads(astguard("history", "-o", "json")[1]) == PASTS
    code, out, err = astguard(
        "history", "--limit", "1", "--rule", "pjsip-guessing", "--address", "203.0.113.0/24",
        "--since", "2026-05-01", "--until", "2026-05-02 12:00",
    )  # fmt: skip
    assert (code, len(out.splitlines())) == (0, 2)
    assert err == "astguard: these are the newest 1; --limit N or --until gives more\n"
    day = 1_777_593_600 * SECOND
    network = parse_source("203.0.113.0/24")
    assert desk.asked[-1] == Wanted(network, "pjsip-guessing", day, day + 36 * 60 * MINUTE, 1)
    assert astguard("history", "--limit", "0") == (2, "", "astguard: --limit: 0 is not from 1 to 10000\n")


def test_a_rule_is_shown_with_what_proves_it(astguard, monkeypatch):
    file = TREE / "rules/pjsip-guessing.yaml"
    rule = describe_rule(load_rule(file), Mode.ENFORCE, file)
    monkeypatch.setattr(Paper, "rules", lambda _: [rule])
    code, out, err = astguard("rules", "show", "pjsip-guessing")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    for line in (
        "rule       pjsip-guessing", "mode       enforce", "services   PJSIP", "events     ChallengeResponseFailed",
        "threshold  5", "window     5m", "across     10 sources: 2", "ban        10m 1h 6h 1d", "trusted    slow",
        "CASE                                         THEN",
    ):  # fmt: skip
        assert any(shown.startswith(line.split("   ")[0]) for shown in lines), line
    assert sum(line.endswith("  nothing") for line in lines) == 2
    shown = json.loads(astguard("rules", "show", "pjsip-guessing", "-o", "json")[1])
    assert (shown["threshold"], len(shown["cases"])) == (5, 9)
    assert astguard("rules", "show", "nobody")[0] == 4


def test_a_ban_that_is_not_there_ends_with_4(astguard):
    assert astguard("bans", "show", "198.51.100.1") == (4, "", "astguard: 198.51.100.1/32 is not banned\n")
    assert astguard("bans", "remove", "2001:db8:5::77")[0] == 4


def test_a_ban_by_hand_says_until_when(astguard, desk):
    assert astguard("bans", "add", "198.51.100.0/24", "--for", "1h30m", "--reason", "toll fraud", "--force") == (
        0, "banned 198.51.100.0/24 for 1h30m, until 2026-05-01 15:02:11\n", "",
    )  # fmt: skip
    code, out, _ = astguard("-o", "json", "bans", "add", "198.51.100.9", "--force")
    assert (code, json.loads(out)["source"]) == (0, "198.51.100.9/32")
    assert desk.asked == [("198.51.100.0/24", 90 * MINUTE, "toll fraud"), ("198.51.100.9/32", 3600 * SECOND, "")]


def test_what_the_daemon_refuses_is_said_and_ends_with_1(astguard):
    assert astguard("bans", "add", "192.0.2.9", "--force") == (
        1, "", "astguard: 192.0.2.9 is on the allowlist by 192.0.2.0/24 (/etc/astguard/astguard.yaml:12)\n",
    )  # fmt: skip


def test_without_force_the_daemon_is_not_even_asked_to_cut_the_caller_off(astguard, desk, monkeypatch):
    monkeypatch.setenv("SSH_CONNECTION", "198.51.100.5 50123 192.0.2.1 22")
    code, _, err = astguard("bans", "add", "198.51.100.5")
    assert (code, desk.asked) == (1, [])
    assert "your own SSH address 198.51.100.5" in err


def test_an_unban_says_how_early_it_is(astguard):
    assert astguard("bans", "remove", "203.0.113.7") == (0, "unbanned 203.0.113.7, 48m12s before its time\n", "")
    code, out, _ = astguard("bans", "remove", "203.0.113.7", "-o", "json")
    assert (code, json.loads(out)) == (0, BANS[0])


def test_the_allowlist_is_listed_with_its_origins(astguard):
    assert astguard("allow", "list") == (0, (
        "SOURCE        LEFT   ORIGIN\n"
        "192.0.2.0/24  -      /etc/astguard/astguard.yaml:12\n"
        "2001:db8::7   1h58m  command\n"
    ), "")  # fmt: skip
    assert json.loads(astguard("allow", "list", "-o", "json")[1]) == ALLOWED


KEEP = "until 'astguard allow remove' takes it off"


def test_allowing_says_how_long_and_whose_bans_it_lifted(astguard):
    allowed = f"198.51.100.7 is allowed {KEEP}; lifted the ban of 198.51.100.7\n"
    assert astguard("allow", "add", "198.51.100.7") == (0, allowed, "")
    many = ", ".join(f"2001:db8:0:{number}::/64" for number in range(1, 6))
    assert astguard("allow", "add", "2001:db8::/48")[1] == (
        f"2001:db8::/48 is allowed {KEEP}; lifted the bans of {many} and 2 more\n"
    )
    assert json.loads(astguard("allow", "add", "198.51.100.7", "-o", "json")[1])["lifted"] == ["198.51.100.7/32"]


def test_allowing_for_a_time_says_until_when(astguard):
    assert astguard("allow", "add", "198.51.100.7", "--for", "2h")[:2] == (
        0, "198.51.100.7 is allowed for 2h, until 2026-05-01 16:02:11; lifted the ban of 198.51.100.7\n",
    )  # fmt: skip
    assert astguard("allow", "add", "198.51.100.7", "--for", "soon") == (
        2, "", "astguard: --for: 'soon' is not a duration; write it like 90s, 5m, 1h30m or 2d\n",
    )  # fmt: skip


def test_allowing_one_of_a_banned_network_says_that_all_of_it_is_let_in(astguard, desk):
    desk.lifted = ["198.51.100.0/24", "198.51.100.7/32", "198.51.0.0/16", "of another version"]
    assert astguard("allow", "add", "198.51.100.7")[1] == (
        f"198.51.100.7 is allowed {KEEP}; lifted the bans of 198.51.100.0/24, 198.51.100.7, 198.51.0.0/16, of another "
        "version, which lets in all of 198.51.100.0/24, 198.51.0.0/16\n"
    )


def test_a_reload_names_what_changed_and_what_waits_for_a_restart(astguard, desk):
    assert astguard("reload") == (0, "reloaded: mode, rules changed\n", (
        "astguard: control has changed too, and holds from the next start on; bans outlive a restart\n"
        "astguard: 2 bans stay\n"
    ))  # fmt: skip
    assert json.loads(astguard("reload", "-o", "json")[1])["restart"] == ["control"]


def test_a_reload_with_mistakes_prints_every_one_and_ends_with_78(astguard, desk):
    desk.mistakes = ["/etc/astguard/astguard.yaml:3:1: unknown key 'mood'", "/etc/astguard/rules/own.yaml:1:2: no"]
    assert astguard("reload") == (78, "", (
        "astguard: /etc/astguard/astguard.yaml:3:1: unknown key 'mood'\nastguard: /etc/astguard/rules/own.yaml:1:2: no\n"
    ))  # fmt: skip


def test_a_pause_says_until_when_and_resume_what_is_back(astguard, desk):
    assert astguard("resume") == (4, "", "astguard: astguard is not paused\n")
    assert astguard("pause", "--for", "30m") == (
        0, "paused until 2026-05-01 14:32:11: 1,234 bans are lifted, new ones are only said\n", "",
    )  # fmt: skip
    assert astguard("pause")[1] == "paused until 'astguard resume': 1,234 bans are lifted, new ones are only said\n"
    assert desk.asked == [30 * MINUTE, None]
    assert astguard("resume") == (0, "resumed: 1 ban is going back into the kernel\n", "")
    assert json.loads(astguard("resume", "-o", "json")[1]) == {"bans": 1}


@pytest.mark.parametrize(
    ("pause", "says"),
    [
        ({"left_seconds": 1440}, "PAUSED: nobody is kept out, for 24m more"),
        ({"left_seconds": None}, "PAUSED: nobody is kept out, until 'astguard resume'"),
        ({}, "PAUSED: nobody is kept out, until 'astguard resume'"),
    ],
)
def test_the_status_shows_a_pause_loudly(astguard, desk, pause, says):
    desk.status = lambda: {**STATUS, "mode": "observe", "paused": {"since": "2026-05-01T14:02:11.000Z", **pause}}
    assert astguard("status")[1].splitlines()[1] == f"mode      {says}"


def test_what_the_configuration_allows_is_taken_off_there(astguard):
    assert astguard("allow", "remove", "2001:db8::7") == (0, "2001:db8::7 is no longer on the allowlist\n", "")
    assert astguard("allow", "remove", "192.0.2.0/24") == (
        1, "", "astguard: 192.0.2.0/24 stands in /etc/astguard/astguard.yaml:12; take it out there\n",
    )  # fmt: skip


def test_the_allowlist_can_be_asked(astguard):
    assert astguard("allow", "test", "192.0.2.9") == (
        0, "192.0.2.9 is allowed by 192.0.2.0/24 (/etc/astguard/astguard.yaml:12)\n", "",
    )  # fmt: skip
    assert astguard("allow", "test", "198.51.100.7") == (0, "198.51.100.7 is not allowed\n", "")
    assert json.loads(astguard("allow", "test", "198.51.100.7", "-o", "json")[1])["allowed"] is False


def test_the_rules_of_the_daemon_are_listed(astguard):
    assert astguard("rules", "list") == (0, (
        "RULE            MODE     THRESHOLD  WINDOW  BAN    FILE\n"
        "pjsip-scanning  enforce  20         5m      1h 6h  /usr/share/astguard/rules/pjsip-scanning.yaml\n"
    ), "")  # fmt: skip
    assert json.loads(astguard("rules", "list", "-o", "json")[1]) == RULES


def test_the_status_says_what_runs_and_what_is_wrong(astguard):
    assert astguard("status") == (0, (
        "astguard  0.1.0, up 3h12m, process 812\n"
        "mode      observe: bans are said, not made\n"
        "asterisk  up, Asterisk 22.10.1, since 2026-05-01 11:00:00\n"
        "          lag 2 ms, self-test passed\n"
        "logs      /var/log/asterisk/messages, /var/log/asterisk/security (not read)\n"
        "firewall  nftables, 1,234,567 packets dropped\n"
        "bans      2\n"
        "allow     1\n"
        "a second  42.5 events, 3.1 attempts, 0.02 bans in the last 1m\n"
        "          1.83 events, 0.4 attempts, 0.0 bans since the start\n"
        "\n"
        "events           21,055\n"
        "outcome.counted      40\n"
        "\n"
        "warning  manager.conf is bound to 0.0.0.0\n"
        "         set bindaddr = 127.0.0.1\n"
    ), "")  # fmt: skip
    assert json.loads(astguard("status", "-o", "json")[1]) == STATUS


def test_a_long_warning_is_broken_into_lines_and_not_cut(astguard, desk):
    words = "link: Asterisk refused the login of AMI user 'astguard': 'Authentication failed'; compare username and "
    words += "secret with manager.conf, and its deny and permit with this host's address"
    desk.status = lambda: {"warnings": [{"text": words, "remedy": "\x1b[2J" + "x" * 100}]}
    _, out, _ = astguard("status")
    shown = out.partition("\nwarning  ")[2].splitlines()
    assert all(line.startswith(" " * 9) for line in shown[1:])
    assert " ".join(line.strip() for line in shown).replace("x x", "xx") == words + r" \x1b[2J" + "x" * 100
    assert max(map(len, shown)) <= 80


@pytest.mark.parametrize(
    "status", [{}, {"link": None, "warnings": [], "counts": []}, {"warnings": [{}], "link": {"lag_ms": 0}}]
)
def test_a_status_with_holes_is_shown_all_the_same(astguard, desk, status):
    desk.status = lambda: status
    code, out, err = astguard("status")
    assert (code, err) == (0, "")
    assert out.startswith("astguard  ")


@pytest.mark.parametrize("answer", [7, "x", {"a": 1}, [1], [[]]])
def test_an_answer_of_another_version_is_an_error_in_words(astguard, desk, answer):
    desk.bans = lambda: answer
    says = "astguard: the daemon gave an answer of another version; restart it\n"
    assert astguard("bans", "list") == (1, "", says)


def test_a_fault_of_the_daemon_is_one_line_for_the_client(astguard, desk, caplog):
    desk.bans = lambda: 1 // 0
    code, out, err = astguard("bans", "list")
    assert (code, out) == (1, "")
    assert err.startswith("astguard: the daemon failed with HTTP 500: ")
    assert "ZeroDivisionError" in caplog.text


def test_a_client_that_speaks_no_http_leaves_no_traceback_in_the_log(desk, path, caplog):
    assert raw(path, b"\x16\x03\x01\x00\xa5\r\n\r\n", end=True)[9:10] in {b"", b"4"}
    assert raw(path, b"GET  HTTP/1.1\r\n\r\n", end=True)[9:10] in {b"", b"4"}
    assert caplog.text == ""


def test_a_daemon_that_is_silent_is_not_waited_for(capsys, path, monkeypatch):
    monkeypatch.setattr(client, "SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen(1)
        assert main(["bans", "list", "--socket", str(path)]) == 3
    assert "gives no answer on" in capsys.readouterr().err


# The server.


def test_a_long_list_is_the_same_json_as_a_short_one():
    for count in (0, 1, api.PIECE, api.PIECE + 1, 3 * api.PIECE):
        items = [{"n": number} for number in range(count)]
        assert json.loads(asyncio.run(encode(items))) == items


def test_the_socket_is_for_owner_and_group(desk, path):
    found = path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o660


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_the_umask_does_not_matter(path, umask):
    before = os.umask(umask)
    try:
        with serving(Paper(), path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(before)


def test_the_socket_is_taken_away_at_the_end(path):
    with serving(Paper(), path):
        assert path.exists()
    assert list(path.parent.iterdir()) == []


def test_the_socket_of_a_dead_daemon_is_replaced(path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.listen(1)
    dead.close()
    with serving(Paper(), path):
        assert raw(path, b"GET /v1/bans HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 OK")


def test_a_living_daemon_is_left_alone(desk, path):
    with pytest.raises(ControlError, match=f"another astguard answers on {path}; stop it first"):
        asyncio.run(ControlServer(Paper(), path, None, Stream(list)).start())
    assert raw(path, b"GET /v1/bans HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 OK")


def test_a_socket_that_another_daemon_made_meanwhile_is_left_alone(path):
    with serving(Paper(), path):
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (
            "none/astguard.sock",
            "the folder {folder}/none of the control socket is missing; make it, or change 'control'",
        ),
        ("file", "{folder}/file is there and is no socket; move it away, or change 'control'"),
        ("file/astguard.sock", "cannot make the control socket {folder}/file/astguard.sock: Not a directory"),
        ("x" * 120, "cannot make the control socket {folder}/" + "x" * 120 + ": AF_UNIX path too long"),
    ],
)
def test_a_path_that_cannot_be_had_is_named_with_the_remedy(tmp_path, where, says):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ControlError) as caught:
        asyncio.run(ControlServer(Paper(), tmp_path / where, None, Stream(list)).start())
    assert str(caught.value).startswith(says.format(folder=tmp_path))
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_only_root_may_write_names_root(tmp_path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ControlError, match=r"astguard.sock: Permission denied; run this as root, or change 'control'"):
        asyncio.run(ControlServer(Paper(), tmp_path / "astguard.sock", None, Stream(list)).start())


def test_a_stopped_server_can_be_stopped_again_and_started_anew(path):
    async def story():
        server = ControlServer(Paper(), path, None, Stream(list))
        await server.stop()
        for _ in range(2):
            await server.start()
            assert path.exists()
            await server.stop()
            await server.stop()
            assert not path.exists()

    asyncio.run(story())


DAWDLERS = {
    "says nothing": b"",
    "stops in the head": b"GET /v1/ba",
    "stops in the body": b"POST /v1/bans HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
    "does not read": b"GET /v1/bans HTTP/1.1\r\nHost: x\r\n\r\n",
    "keeps the connection": b"GET /v1/bans/203.0.113.7 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("data", DAWDLERS.values(), ids=DAWDLERS)
def test_a_client_that_dawdles_does_not_hold_up_the_stop(path, monkeypatch, data):
    monkeypatch.setattr(api, "STOP_SECONDS", 0.1)
    desk = Paper()
    desk.list = BANS * 5_000
    with socket.socket(socket.AF_UNIX) as dawdler:
        with serving(desk, path):
            dawdler.connect(str(path))
            dawdler.sendall(data)
            raw(path, b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            started = time.monotonic()
        assert time.monotonic() - started < 3
    gc.collect()  # what was not closed would warn now


@pytest.mark.parametrize("data", DAWDLERS.values(), ids=DAWDLERS)
def test_a_client_that_goes_away_leaves_nothing_in_the_log(path, caplog, data):
    desk = Paper()
    desk.list = BANS * 5_000
    with serving(desk, path):
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as gone:
                gone.connect(str(path))
                gone.sendall(data)
                raw(path, b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        raw(path, b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert caplog.text == ""


def test_a_body_that_never_comes_is_given_up(path, monkeypatch):
    monkeypatch.setattr(api, "BODY_SECONDS", 0.05)
    with serving(Paper(), path), socket.socket(socket.AF_UNIX) as slow:
        slow.settimeout(10)
        slow.connect(str(path))
        slow.sendall(b"POST /v1/bans HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        assert slow.recv(65_536).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_is_too_large_is_refused(desk, path):
    body = b" " * (64 * 1024 + 1)
    head = f"POST /v1/bans HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = raw(path, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"error": "the body is larger than 65536 bytes", "exit_code": 2}' in answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /v1/status", 200),
        ("GET /v1/bans/203.0.113.7%2F32", 200),
        ("GET /v1/bans/203.0.113.0%2F33", 400),
        ("GET /v1/bans/203.0.113.8", 404),
        ("GET /v1/allow/192.0.2.1", 200),
        ("GET /v1/bans/..%2F..%2Fetc", 400),
        ("GET http://x/v1/status", 404),
        ("GET /v1/%0a", 404),
        ("PATCH /v1/bans", 405),
        ("DELETE /v1/allow/192.0.2.0%2F24", 409),
    ],
)
def test_curl_gets_a_status_and_json(desk, path, request_, status):
    answer = raw(path, f"{request_} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    if b"application/json" in answer:
        value = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (status == 200) or set(value) == {"error", "exit_code"}
    else:
        assert status == 404


bodies = st.binary(max_size=200) | st.sampled_from(
    [b'{"source": "203.0.113.9"}', b'{"source": "\\u0000"}', b"[", b"{}"]
)
targets = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60) | st.sampled_from(
    ["/v1/bans", "/v1/allow", "/v1/bans/203.0.113.7", "/v1/allow/%00", "*", "/v1/../v1/status"]
)


@given(method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS"]), target=targets, body=bodies)
@settings(max_examples=60)
def test_any_request_gets_an_answer_or_a_4xx(shop, method, target, body):
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = raw(shop, head.encode() + body)
    assert answer[:9] == b"HTTP/1.1 " or answer[:9] == b"HTTP/1.0 "
    assert answer[9:12] == b"200" or answer[9:10] == b"4"


@given(st.binary(max_size=300) | st.binary(max_size=50).map(b"GET /v1/bans HTTP/1.1\r\n".__add__))
@settings(max_examples=60)
def test_any_bytes_get_no_more_than_a_4xx(shop, data):
    answer = raw(shop, data, end=True)
    assert not answer or answer[9:12] == b"200" or answer[9:10] == b"4"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with serving(Paper(), tmp_path_factory.mktemp("api") / "astguard.sock") as path:
        yield path
        assert raw(path, b"GET /v1/status HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 OK")
