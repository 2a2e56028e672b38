"""The command line without a daemon: what it takes, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guard import __version__
from guard.cli import PAGE, build, main, options, output
from guard.cli.options import UsageError, defaults
from guard.cli.version import commit
from guard.core.address import show
from guard.firewall.host import Host

TREE = Path(__file__).parents[3]
RULE = "events: [InvalidAccountID]\nthreshold: 3\nwindow: 5m\nban: [1h, 1d]\n"


@pytest.fixture(autouse=True)
def _no_config_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(options, "DEFAULT_CONFIG", tmp_path / "none.yaml")
    monkeypatch.setattr(options, "DEFAULT_SOCKET", tmp_path / "none.sock")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def rules(tmp_path):
    """Two folders: the local one replaces a stock rule, switches one off and adds one."""
    stock, local = tmp_path / "stock", tmp_path / "local"
    for name, text in (
        ("stock/one", RULE),
        ("stock/two", RULE),
        ("local/one", RULE),
        ("local/own", RULE),
        ("local/two", ""),
    ):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return stock, local


@pytest.fixture
def config(tmp_path, rules):
    secret = tmp_path / "secret"
    secret.write_text("pssst\n")
    secret.chmod(0o600)
    path = tmp_path / "astguard.yaml"
    path.write_text(
        "mode: observe\nami: {secret_file: secret}\nallow: [192.0.2.0/24]\nrules: [stock, local]\ncontrol: own.sock\n"
    )
    return path


def run(capsys, *words):
    code = main(list(map(str, words)))
    said = capsys.readouterr()
    return code, said.out, said.err


def process(*words, **kwargs):
    asked = [sys.executable, "-m", "guard", *words]
    return subprocess.run(asked, cwd=TREE, capture_output=True, text=True, check=False, **kwargs)


# Help and usage.


def test_the_help_page_names_every_command_and_no_other(capsys):
    assert run(capsys, "--help") == (0, PAGE, "")
    promised = {
        line[2:28].strip() for line in PAGE.splitlines() if line.startswith("  ") and not line.startswith("  -")
    }
    commands = {" ".join(word for word in line.split() if word.islower()) for line in promised}
    assert commands == {
        "status", "bans list", "bans show", "bans add", "bans remove", "allow list", "allow add", "allow remove",
        "allow test", "rules list", "rules check", "rules test", "check", "replay", "run", "setup", "doctor", "pause",
        "resume", "reload", "flush", "explain", "history", "rules show", "bans flush",
        "completion", "events tail", "top",
    }  # fmt: skip
    for command in commands:
        assert main([*command.split(), "--help"]) == 0
        assert f"usage: astguard {command} " in capsys.readouterr().out


def test_the_lines_of_the_help_fit_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for command in (
        "",
        "bans",
        "bans add",
        "allow",
        "rules list",
        "replay",
        "check",
        "run",
        "status",
        "setup",
        "doctor",
        "pause",
        "reload",
        "flush",
    ):
        main([*command.split(), "--help"])
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_help_of_a_noun_lists_its_verbs(capsys):
    for verb in ("list", "show", "remove", "add"):
        assert f"\n    {verb} " in run(capsys, "bans", "--help")[1]


def test_every_command_but_run_shows_an_example(capsys):
    for command in (
        "bans list",
        "bans add",
        "allow test",
        "rules check",
        "replay",
        "check",
        "status",
        "setup",
        "doctor",
        "pause",
        "resume",
        "reload",
        "flush",
    ):
        main([*command.split(), "--help"])
        assert f"  astguard {command}" in capsys.readouterr().out.partition("examples:")[2]


def test_the_version_in_full_names_commit_libraries_and_kernel(capsys):
    code, out, err = run(capsys, "--version", "--verbose")
    assert (code, err) == (0, "")
    first, commit_line, *rest = out.splitlines()
    assert (first, commit_line.split()[0]) == (f"astguard {__version__}", "commit")
    assert {line.split()[0] for line in rest} >= {
        "from",
        "Python",
        "pyroute2",
        "aiohttp",
        "PyYAML",
        "prometheus-client",
        "Linux",
    }


def test_the_commit_is_what_the_build_wrote_down_or_else_unknown(tmp_path):
    package = tmp_path / "guard"
    package.mkdir()
    assert commit(package) == "unknown"
    (package / "commit").write_text("0123abcd\n")
    assert commit(package) == "0123abcd"


def test_the_version_is_the_package_s(capsys):
    assert run(capsys, "--version") == (0, f"astguard {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "the following arguments are required: COMMAND; see 'astguard --help'"),
        (["bans"], "the following arguments are required: VERB; see 'astguard bans --help'"),
        (["ban"], "'ban' is no command; known are status, top, events, bans, explain, history, allow, pause, resume, rules, check, replay, setup, doctor, run, reload, flush, completion; see 'astguard --help'"),
        (["bans", "ls"], "'ls' is no verb; known are list, show, remove, flush, add; see 'astguard bans --help'"),
        (["bans", "add"], "the following arguments are required: ADDRESS; see 'astguard bans add --help'"),
        (["bans", "list", "--jsn"], "unrecognized arguments: --jsn; see 'astguard --help'"),
        (["bans", "list", "\x1b[2J"], r"unrecognized arguments: \x1b[2J; see 'astguard --help'"),
        (["bans", "list", "--head"], "unrecognized arguments: --head; see 'astguard --help'"),
        (["replay"], "the following arguments are required: FILE; see 'astguard replay --help'"),
        (
            ["bans", "add", "1.2.3"],
            "'1.2.3' is not an address or network; write it like 198.51.100.7, 198.51.100.0/24 or 2001:db8::/64",
        ),
        (
            ["allow", "add", "198.51.100.7/24"],
            "'198.51.100.7/24' has bits set behind its prefix; did you mean 198.51.100.0/24?",
        ),
        (
            ["bans", "add", "198.51.100.7", "--for", "1:30"],
            "--for: '1:30' is not a duration; write it like 90s, 5m, 1h30m or 2d",
        ),
        (["bans", "add", "198.51.100.7", "--for", "400d"], "400d is too long; at most 366d"),
        (
            ["bans", "add", "198.51.100.7", "--reason", "a\nb"],
            r"the reason 'a\nb' is not one line of at most 200 characters",
        ),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_answered_with_one_line_and_exit_code_2(capsys, words, says):
    assert run(capsys, *words) == (2, "", f"astguard: {says}\n")


def test_an_unknown_form_of_output_is_refused(capsys):
    code, out, err = run(capsys, "bans", "list", "-o", "xml")
    assert (code, out) == (2, "")
    assert err.startswith("astguard: argument -o/--output: invalid choice: 'xml'")


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "a.yaml", "-o", "json", "--no-header", "bans", "list"],
        ["bans", "--config", "a.yaml", "-o", "json", "--no-header", "list"],
        ["bans", "list", "--config", "a.yaml", "-o", "json", "--no-header"],
        ["--config", "b.yaml", "-o", "table", "bans", "list", "--config=a.yaml", "--output=json", "--no-header"],
    ],
)
def test_options_may_stand_before_and_behind_the_verb(words):
    found = build().parse_args(words, defaults())
    assert (found.config, found.output, found.header, found.socket) == (Path("a.yaml"), "json", False, None)


def test_options_have_defaults():
    found = build().parse_args(["status"], defaults())
    assert (found.config, found.output, found.header, found.socket) == (None, "table", True, None)


def test_the_parser_raises_instead_of_leaving():
    with pytest.raises(UsageError):
        build().parse_args(["bans"])


# Nobody there.


@pytest.mark.parametrize(
    "words",
    [
        ["status"], ["bans", "list"], ["bans", "show", "192.0.2.1"], ["bans", "remove", "192.0.2.1"],
        ["bans", "add", "203.0.113.99", "--force"], ["allow", "list"], ["allow", "add", "192.0.2.1"],
        ["allow", "remove", "192.0.2.1"], ["allow", "test", "192.0.2.1"], ["reload"], ["pause"], ["resume"],
    ],
)  # fmt: skip
def test_without_a_daemon_every_question_ends_with_3_and_the_remedy(capsys, tmp_path, words):
    path = tmp_path / "astguard.sock"
    says = f"astguard is not running: there is no {path}; start it with 'astguard run'"
    assert run(capsys, *words, "--socket", path) == (3, "", f"astguard: {says}\n")


def test_the_socket_s_path_comes_from_the_configuration(capsys, tmp_path, config):
    code, _, err = run(capsys, "bans", "list", "--config", config)
    assert (code, f"there is no {tmp_path / 'own.sock'};" in err) == (3, True)


def test_without_a_configuration_the_usual_socket_is_asked(capsys, tmp_path):
    code, _, err = run(capsys, "bans", "list")
    assert (code, f"there is no {tmp_path / 'none.sock'};" in err) == (3, True)


def test_a_broken_configuration_still_reaches_the_usual_socket(capsys, tmp_path):
    (tmp_path / "none.yaml").write_text("mood: good\n")
    code, _, err = run(capsys, "bans", "list")
    first, second = err.splitlines()
    assert code == 3
    assert first.startswith("astguard: the configuration has mistakes, run 'astguard check'; using ")
    assert "none.yaml:1:1: unknown key 'mood'" in first
    assert f"there is no {tmp_path / 'none.sock'};" in second


def test_a_named_configuration_that_is_broken_is_an_error(capsys, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("mood: good\nmode: maybe\n")
    code, _, err = run(capsys, "bans", "list", "--config", path)
    assert code == 78
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["astguard", "astguard"]
    assert f"{path}:1:1: unknown key 'mood'" in err
    assert f"{path}:2:7: 'maybe' is not a mode" in err


# Lifelines.


def test_the_caller_s_own_address_is_not_banned_by_mistake(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.5 50123 192.0.2.1 22")
    code, out, err = run(capsys, "bans", "add", "203.0.113.0/24", "--socket", tmp_path / "none")
    assert (code, out) == (1, "")
    assert err == (
        "astguard: a ban of 203.0.113.0/24 would cut off your own SSH address 203.0.113.5; nothing was changed, "
        "--force does it\n"
    )
    assert run(capsys, "bans", "add", "203.0.113.0/24", "--force", "--socket", tmp_path / "none")[0] == 3


# Files: rules and check.


def test_rules_are_listed_from_the_files_when_no_daemon_runs(capsys, config, rules):
    stock, local = rules
    code, out, err = run(capsys, "rules", "list", "--config", config)
    assert code == 0
    assert out == (
        "RULE  MODE     THRESHOLD  WINDOW  BAN    FILE\n"
        f"one   observe  3          5m      1h 1d  {local}/one.yaml (replaces {stock}/one.yaml)\n"
        f"own   observe  3          5m      1h 1d  {local}/own.yaml\n"
        f"two   off      -          -       -      {local}/two.yaml (replaces {stock}/two.yaml)\n"
    )
    assert err.endswith("; these are the rules of the files\n")


def test_rules_are_listed_as_json_too(capsys, config, rules):
    _, local = rules
    code, out, _ = run(capsys, "rules", "list", "--config", config, "-o", "json")
    assert code == 0
    assert json.loads(out)[1] == {
        "name": "own", "mode": "observe", "threshold": 3, "window": "5m", "ban": ["1h", "1d"], "about": "",
        "file": f"{local}/own.yaml", "replaces": [], "events": ["InvalidAccountID"], "services": [], "sensors": [],
        "accounts": [], "acls": [], "evidence": "any", "distinct": False, "scope": "all", "trusted": "slow",
        "across": None, "prefix": ["/32", "/64"], "forget": "30d",
    }  # fmt: skip


def test_the_rules_of_the_configuration_are_checked(capsys, config):
    assert run(capsys, "rules", "check", "--config", config) == (0, "2 rules, 1 switched off, no mistakes\n", "")


def test_rule_files_and_folders_are_checked_as_named(capsys, rules):
    stock, local = rules
    assert run(capsys, "rules", "check", local / "own.yaml", stock) == (0, "3 rules, no mistakes\n", "")
    code, out, _ = run(capsys, "rules", "check", local / "own.yaml", local / "two.yaml", "-o", "json")
    assert (code, json.loads(out)) == (0, {"rules": 1, "off": 1, "mistakes": []})


def test_all_mistakes_of_all_rule_files_are_named_at_once(capsys, rules):
    stock, local = rules
    (stock / "one.yaml").write_text(RULE.replace("threshold", "treshold"))
    (local / "own.yaml").write_text(RULE.replace("5m", "1:30") + "ban: 1h\n")
    code, out, err = run(capsys, "rules", "check", local / "own.yaml", stock, local / "gone.yaml")
    assert (code, out) == (78, "")
    said = err.splitlines()
    assert said[0] == f"astguard: {stock}/one.yaml:2:1: unknown key 'treshold'; did you mean 'threshold'?"
    assert any(f"{local}/own.yaml:3:9: '1:30' is not a duration" in line for line in said)
    assert any(f"{local}/own.yaml:5:1: 'ban' is given twice" in line for line in said)
    assert any("gone.yaml" in line for line in said)
    assert all(line.startswith("astguard: ") for line in said)


def test_mistakes_are_json_where_json_was_asked_for(capsys, rules):
    _, local = rules
    (local / "own.yaml").write_text("threshold: 0\n")
    code, out, err = run(capsys, "rules", "check", local / "own.yaml", "-o", "json")
    assert code == 78
    assert [f"astguard: {text}" for text in json.loads(out)["mistakes"]] == err.splitlines()


CASES = """\
cases:
  - sends: 3 InvalidAccountID every 1m
    then: sip
  - sends: 2 InvalidAccountID every 1m
    then: {}
"""


def test_the_cases_of_rules_are_run(capsys, rules):
    stock, local = rules
    (stock / "one.yaml").write_text(RULE.replace("service: AMI", "service: PJSIP") + CASES.format("nothing"))
    asked = ("rules", "test", "--rules", stock)
    said = "astguard: two has no cases; write them, so that others see what it does\n"
    assert run(capsys, *asked) == (0, (
        "RULE  CASE                         WANTED   RESULT\n"
        "one   3 InvalidAccountID every 1m  sip      ok\n"
        "one   2 InvalidAccountID every 1m  nothing  ok\n"
    ), said)  # fmt: skip
    (stock / "one.yaml").write_text(RULE.replace("service: AMI", "service: PJSIP") + CASES.format("ban"))
    code, out, err = run(capsys, *asked, "one")
    assert (code, out.splitlines()[-1], err) == (1, "one   2 InvalidAccountID every 1m  ban     FAILED: nothing", "")
    code, out, _ = run(capsys, "rules", "test", stock / "one.yaml", local / "own.yaml", "-o", "json")
    answer = json.loads(out)
    assert (code, answer["without"], [case["ok"] for case in answer["cases"]]) == (1, ["own"], [True, False])
    assert answer["cases"][0] == {
        "rule": "one", "case": "3 InvalidAccountID every 1m", "line": 6, "wanted": "sip",
        "followed": "sip for 10m after 3 events", "ok": True,
    }  # fmt: skip


def test_a_rule_that_is_not_there_has_no_cases(capsys, rules):
    stock, _ = rules
    said = "astguard: there is no rule 'none'; 'astguard rules list' has all, a file ends in .yaml\n"
    assert run(capsys, "rules", "test", "--rules", stock, "none") == (4, "", said)
    (stock / "one.yaml").write_text(RULE + "cases: {sends: none, then: ban}\n")
    code, _, err = run(capsys, "rules", "test", stock / "one.yaml")
    assert (code, "'none' is nothing to send" in err) == (78, True)


def test_check_says_what_was_read(capsys, config, monkeypatch):
    monkeypatch.setattr("guard.firewall.choice.look_at_host", lambda: Host(True, "", []))
    code, out, err = run(capsys, "check", "--config", config)
    assert (code, err) == (0, "")
    assert out == (
        f"configuration: {config}, no mistakes\n"
        "mode: observe (bans are said, not made)\n"
        "asterisk: astguard at 127.0.0.1 port 5038\n"
        "rules: 2 from 1 folder, 2 replaced, 1 switched off\n"
        "allow: 1, and this machine's own addresses\n"
        "firewall: nftables (auto: there is no command iptables here; no legacy table is in use)\n"
        "meters: not sent\n"
    )


def test_check_answers_in_json(capsys, config):
    code, out, _ = run(capsys, "check", "--config", config, "-o", "json")
    assert (code, json.loads(out)) == (
        0, {"config": str(config), "mode": "observe", "rules": 2, "off": 1, "allow": 1, "mistakes": []}
    )  # fmt: skip


def test_check_names_the_mistakes_of_rules_and_secret_together(capsys, config, rules, tmp_path):
    _, local = rules
    (local / "own.yaml").write_text("threshold: 0\n")
    (tmp_path / "secret").unlink()
    code, out, err = run(capsys, "check", "--config", config)
    assert (code, out) == (78, "")
    assert f"{local}/own.yaml:1:12: '0' is not a whole number" in err
    assert err.splitlines()[-1].startswith(
        f"astguard: {tmp_path / 'secret'}:1:1: no such file; put the AMI secret there"
    )


def test_check_reads_the_rules_of_a_configuration_with_mistakes_too(capsys, config, rules):
    _, local = rules
    (local / "own.yaml").write_text("threshold: 0\n")
    good = config.read_text()
    config.write_text(good.replace("observe", "obsrve"))
    code, _, err = run(capsys, "check", "--config", config)
    assert code == 78
    assert err.startswith(f"astguard: {config}:1:7: 'obsrve' is not a mode; did you mean 'observe'?\n")
    assert f"{local}/own.yaml:1:12: '0' is not a whole number" in err
    for unknown in (good.replace("[stock, local]", "{stock: local}"), "mode: [\n", good.replace("rules:", "rule:")):
        config.write_text(unknown)
        code, _, err = run(capsys, "check", "--config", config)
        assert (code, "own.yaml" in err) == (78, False)  # where the rules are is not known


def test_check_without_a_configuration_says_what_to_do(capsys, tmp_path):
    code, out, err = run(capsys, "check")
    assert (code, out) == (78, "")
    assert err.startswith(f"astguard: {tmp_path / 'none.yaml'}:1:1: no such file; ")


def test_run_says_what_a_package_would_have_made(capsys, config, tmp_path):
    config.write_text(config.read_text().replace("own.sock", "run/own.sock"))
    code, out, err = run(capsys, "run", "--config", config)
    assert (code, out) == (1, "")
    assert f"there is no {tmp_path / 'run'} for the control socket" in err
    assert f"install -d -m 750 {tmp_path / 'run'}" in err


def test_run_needs_a_configuration(capsys, tmp_path):
    code, _, err = run(capsys, "run")
    assert (code, err.startswith(f"astguard: {tmp_path / 'none.yaml'}:1:1: no such file; ")) == (78, True)


# Replay.


BAN = {
    "source": "198.51.100.130/32", "rule": "own", "at": "2026-05-01T12:02:11.000Z", "until": "2026-05-01T13:02:11.000Z",
    "scope": "all", "strike": 1, "offences": 3, "events": 4, "evidence": "proven", "by": "event",
}  # fmt: skip
REPORT = {
    "events": 1_234, "outcomes": {"counted": 3, "already_banned": 1_000, "special": 0}, "tampered": 2, "bans": [BAN],
    "alarms": [], "seconds": 0.25,
}  # fmt: skip


@pytest.fixture
def replayed(monkeypatch):
    """Stand in for the engine: note what replay was asked, give the report above."""
    asked = []

    class Report:
        def as_json(self):
            return REPORT

    def replay(files, rules, allow, progress, sip_ports, timezone, voters):
        asked.append((files, [rule.name for rule in rules], list(map(show, allow)), timezone))
        if progress:
            for done in range(0, 101, 10):
                progress(done * 1_000_000, 100_000_000)
        return Report()

    monkeypatch.setattr("guard.replay.replay", replay)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield asked
    monkeypatch.undo()
    time.tzset()


def test_a_replay_is_a_summary_and_a_table_of_bans(capsys, replayed, config):
    assert run(capsys, "replay", "--config", config, "a.ami", "b.log") == (0, (
        "1,234 events, 2 tampered, 1 ban, 0 alarms in 0.2 s\n"
        "3 counted, 1,000 already banned\n"
        "\n"
        "SOURCE          RULE  SCOPE  STRIKE  AT                   FOR\n"
        "198.51.100.130  own   all    1       2026-05-01 12:02:11  1h\n"
    ), "")  # fmt: skip
    assert replayed == [([Path("a.ami"), Path("b.log")], ["one", "own"], ["192.0.2.0/24"], None)]


def test_a_replay_says_which_names_it_does_not_look_up(capsys, replayed, tmp_path):
    path = tmp_path / "named.yaml"
    path.write_text("allow:\n  - sip.example\n")
    _, out, err = run(capsys, "replay", "-o", "json", "--config", str(path), "a.ami")
    assert json.loads(out) == REPORT
    assert (
        err == f"astguard: {path}:2:5: sip.example is not looked up in a replay; its addresses count as not allowed\n"
    )


def test_a_replay_as_json_keeps_the_contract(capsys, replayed, config):
    code, out, err = run(capsys, "replay", "-o", "json", "--config", config, "a.ami")
    assert (code, json.loads(out), err) == (0, REPORT, "")


def test_a_replay_without_bans_is_its_summary(capsys, replayed, monkeypatch):
    monkeypatch.setitem(REPORT, "bans", [])
    code, out, _ = run(capsys, "replay", "a.ami")
    assert (code, out.count("\n"), "0 bans" in out) == (0, 2, True)


def test_a_replay_needs_no_configuration_and_takes_its_own_rules(capsys, replayed, rules):
    stock, _ = rules
    assert run(capsys, "replay", "a.ami")[0] == 0
    assert run(capsys, "replay", "--rules", stock, "a.ami")[0] == 0
    assert "pjsip-scanning" in replayed[0][1]
    assert replayed[1] == ([Path("a.ami")], ["one", "two"], [], None)


def test_a_replay_says_which_alarms_there_were(capsys, replayed, monkeypatch):
    alarm = {"kind": "broken-phone", "at": "2026-05-01T12:00:00.000Z", "source": None, "account": "100", "rule": "own"}
    monkeypatch.setitem(REPORT, "alarms", [alarm | {"text": "the phone of 100 has an old password"}])
    assert run(capsys, "replay", "--no-header", "a.ami")[1].splitlines()[-1] == (
        "broken-phone  2026-05-01 12:00:00  the phone of 100 has an old password"
    )


def test_a_replay_without_events_says_so(capsys, replayed, monkeypatch):
    monkeypatch.setitem(REPORT, "events", 0)
    said = "astguard: there are no security events in these recordings, so there was nothing to judge\n"
    assert run(capsys, "replay", "a.ami")[2] == run(capsys, "replay", "-o", "json", "a.ami")[2] == said


def test_the_zone_of_log_lines_is_the_option_or_the_configuration(capsys, replayed, tmp_path):
    path = tmp_path / "zone.yaml"
    path.write_text("logs: {timezone: Europe/Berlin}\n")
    run(capsys, "replay", "--config", path, "a.log")
    run(capsys, "replay", "--config", path, "--timezone=-03:30", "a.log")
    assert [str(asked[3]) for asked in replayed] == ["Europe/Berlin", "UTC-03:30"]
    said = "astguard: argument --timezone: 'Mars' is no time zone; write it like Europe/Berlin, UTC or +01:00\n"
    assert run(capsys, "replay", "--timezone", "Mars", "a.log") == (2, "", said)


def test_rules_are_compared_or_named_not_both(capsys, tmp_path):
    code, _, err = run(capsys, "replay", "--rules", tmp_path, "--compare", tmp_path, tmp_path, "a.ami")
    assert (code, "argument --compare: not allowed with argument --rules" in err) == (2, True)
    code, _, err = run(capsys, "replay", "--compare", tmp_path, tmp_path / "gone", "a.ami")
    assert (code, f"the folder '{tmp_path}/gone' cannot be read" in err) == (78, True)


COMPARED = {
    "events": 9, "tampered": 0, "seconds": 0.1, "phones_forgotten": 0, "alarms": {"a": [], "b": [{}]},
    "sources": [
        {"source": "198.51.100.1/32", "a": BAN, "b": BAN, "accounts": [], "registered": None},
        {"source": "198.51.100.2/32", "a": BAN, "b": BAN | {"events": 7, "at": "2026-05-01T12:01:00.000Z"},
         "accounts": ["100", "101"], "registered": "later"},
        {"source": "198.51.100.3/32", "a": None, "b": BAN, "accounts": ["102"], "registered": "before"},
    ],
}  # fmt: skip


def test_a_comparison_is_two_lines_of_sums_and_a_line_for_each_ban(capsys, replayed, rules, monkeypatch):
    stock, local = rules
    asked = []

    class Comparison:
        def as_json(self):
            return COMPARED

    def compare(files, a, b, *_):
        asked.append((files, [rule.name for rule in a], [rule.name for rule in b]))
        return Comparison()

    monkeypatch.setattr("guard.replay.compare.compare", compare)
    words = ("replay", "--compare", stock, local / "own.yaml", "a.ami", "b.log")
    assert run(capsys, *words) == (0, (
        "9 events, 0 tampered in 0.1 s\n"
        f"A: 2 sources banned, 0 of them by it alone, 1 of them phones, 0 alarms ({stock})\n"
        f"B: 3 sources banned, 1 of them by it alone, 2 of them phones, 1 alarms ({local}/own.yaml)\n"
        "\n"
        "BY   SOURCE        RULE  SCOPE  AT                   EVENTS  PHONE\n"
        "A B  198.51.100.1  own   all    2026-05-01 12:02:11  4       -\n"
        "A    198.51.100.2  own   all    2026-05-01 12:02:11  4       100 101 (registered later)\n"
        "B    198.51.100.2  own   all    2026-05-01 12:01:00  7       100 101 (registered later)\n"
        "B    198.51.100.3  own   all    2026-05-01 12:02:11  4       102 (registered before)\n"
    ), "")  # fmt: skip
    assert asked == [([Path("a.ami"), Path("b.log")], ["one", "two"], ["own"])]
    assert json.loads(run(capsys, *words, "-o", "json")[1]) == COMPARED


def test_a_folder_of_rules_that_is_not_there_is_an_error(capsys, tmp_path):
    code, _, err = run(capsys, "replay", "--rules", tmp_path / "none", "a.ami")
    assert (code, f"the folder '{tmp_path}/none' cannot be read" in err) == (78, True)


def test_a_long_replay_says_on_a_terminal_how_far_it_is(capsys, replayed, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, _, err = run(capsys, "replay", "a.ami")
    assert code == 0
    assert err.startswith("\r  0% of 100 MB\r 10% of 100 MB")
    assert err.endswith("\r100% of 100 MB\r\x1b[K")


def test_a_recording_that_is_none_is_an_error_in_words(capsys, tmp_path):
    (tmp_path / "x").write_text("hello\n")
    code, out, err = run(capsys, "replay", tmp_path / "x", "-o", "json")
    assert (code, out) == (1, "")
    assert err.startswith(f"astguard: {tmp_path / 'x'}: neither an AMI capture")
    code, _, err = run(capsys, "replay", tmp_path / "gone")
    assert (code, err.startswith(f"astguard: {tmp_path / 'gone'}: cannot be read: No such file")) == (1, True)


# How a process ends.


def test_an_interrupt_ends_quietly_with_130(capsys, monkeypatch):
    def interrupted(_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("guard.cli.status._status", interrupted)
    assert run(capsys, "status") == (130, "", "")


def test_a_fault_of_the_system_is_one_line(capsys, monkeypatch):
    def full(_options):
        raise OSError(28, "No space left on device", "/var/tmp/x")

    monkeypatch.setattr("guard.cli.status._status", full)
    assert run(capsys, "status") == (1, "", "astguard: /var/tmp/x: No space left on device\n")


def test_a_reader_that_has_enough_is_no_error():
    shell = f"{sys.executable} -m guard rules list -o json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], cwd=TREE, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.stdout in {"141\n", "0\n"}  # 0 if the pipe was still open when the answer went in


def test_a_terminal_in_an_old_encoding_is_no_reason_to_fail(tmp_path):
    words = ("bans", "show", "192.0.2.1", "--socket", str(tmp_path / "täst"))
    done = process(*words, env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 3
    assert r"t\xe4st" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "bans list", "bans show 192.0.2.1", "bans remove 192.0.2.1", "allow list", "allow test 192.0.2.1", "status",
        "explain 192.0.2.1", "history", "pause", "resume", "reload",
    ],
)  # fmt: skip
def test_a_question_to_the_daemon_loads_nothing_heavy(tmp_path, words):
    ask = (
        "import sys; from guard.cli import main; code = main([*sys.argv[2:], '--socket', sys.argv[1]]);"
        "print(code, *{'aiohttp', 'asyncio', 'pyroute2', 'iptc', 'yaml', 'http.client', 'sqlite3', 'inspect', 'dataclasses',"
        "'importlib.metadata', 'secrets', 'subprocess', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask, str(tmp_path / "none"), *words.split()],
        cwd=TREE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "3\n", words


@pytest.mark.parametrize(
    ("terminal", "environment"), [(False, {}), (True, {"NO_COLOR": "1"}), (True, {"TERM": "dumb"})]
)
def test_colour_is_for_terminals_that_want_it(monkeypatch, terminal, environment):
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(output.sys.stdout, "isatty", lambda: terminal, raising=False)
    assert output.paint("up", output.GREEN) == "up"


def test_a_terminal_gets_colour(monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(output.sys.stdout, "isatty", lambda: True, raising=False)
    assert output.paint("up", output.GREEN) == "\x1b[32mup\x1b[0m"


def test_a_parser_takes_what_python_3_14_hands_down_to_its_verbs():
    """argparse gives `color` to the parsers of verbs there; no command began."""
    from guard.cli.options import Parser

    assert Parser(prog="astguard", color=True).format_help() == Parser(prog="astguard").format_help()
