"""`astguard rules`: which rules are in force, and whether rule files are right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guard.cli.client import ask_list
from guard.cli.options import add_command, add_noun, read_config
from guard.cli.output import Output, note
from guard.cli.table import Reader, as_text, text
from guard.errors import ConfigError, DaemonUnreachable, NotFound
from guard.wire.control import Call, Request
from guard.wire.describe import describe_rule

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from guard.cli.options import Commands
    from guard.core.rule import Rule
    from guard.settings.cases import Case
    from guard.settings.config import Config
    from guard.settings.rulefile import RuleSet

ABOUT_LIMIT = 1_000


def add_to(commands: Commands) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(commands, "rules", "What counts as an attack, and what follows.")
    about = (
        "List the rules of the running daemon. If none runs, those of the files, with what a local file replaces\n"
        "or switches off."
    )
    add_command(verbs, "list", _list, about, "rules list", "rules list -o json")
    about = (
        "Show one rule as it is in force: all its keys, its file, and the cases that prove it. If no daemon runs, as "
        "the files have it."
    )
    show = add_command(verbs, "show", _show, about, "rules show pjsip-guessing")
    show.add_argument("name", metavar="NAME")
    about = "Check rule files without touching anything: those named, or those of the configuration."
    check = add_command(verbs, "check", _check, about, "rules check", "rules check ./my-rule.yaml")
    check.add_argument("paths", nargs="*", type=Path, metavar="FILE", help="rule files, or folders of them")
    about = (
        "Run the cases in the rules: each says what a sender does and what must follow, and is run with this rule\n"
        "alone. Without names, all rules of the configuration. The exit code is 1 if a case comes to something else."
    )
    test = add_command(verbs, "test", _test, about, "rules test", "rules test pjsip-guessing ./my-rule.yaml")
    test.add_argument("names", nargs="*", metavar="NAME|FILE", help="rules by name, or rule files")
    test.add_argument("--rules", type=Path, metavar="DIR", help="the rules of this folder and no others")


def _list(options: Namespace) -> int:
    Output(options).list(LIST, _in_force(options), "there are no rules")
    return 0


def _in_force(options: Namespace) -> list[dict[str, object]]:
    """Return the rules of the daemon; of the files, if none runs."""
    try:
        return ask_list(options, Request(Call.RULES))
    except DaemonUnreachable as error:
        note(f"{error}; these are the rules of the files")
    config = read_config(options, needed=False)
    from guard.settings.rulefile import load_rules

    return describe(load_rules(config.rules), config)


def _show(options: Namespace) -> int:
    rule = next((rule for rule in _in_force(options) if rule.get("name") == options.name), None)
    if rule is None:
        raise NotFound(f"there is no rule {options.name!r}; 'astguard rules list' has all")
    cases = _cases_of(as_text(rule.get("file")))
    output = Output(options)
    if output.for_programs:
        output.data({**rule, "cases": cases})
        return 0
    output.one(tuple((title, read) for title, read in SHOW if read(rule)), rule)
    if cases:
        print()
        output.list(CASES, cases, "")
    return 0


def _cases_of(file: str) -> list[dict[str, object]]:
    """Read what proves a rule, from its file; said, if that cannot be read any more."""
    from guard.settings.rulefile import load_rule_file

    try:
        found = load_rule_file(Path(file))
    except ConfigError as error:
        note(f"its cases cannot be read: {error.mistakes[0]}")
        return []
    return [{"case": str(case), "then": case.then.value} for case in found[1]] if found else []


def describe(ruleset: RuleSet, config: Config) -> list[dict[str, object]]:
    """Return what the API tells of rules, and besides which files they replace; a rule switched off has mode `off`."""
    rules = [describe_rule(rule, config.mode, ruleset.sources[rule.name]) for rule in ruleset.rules]
    rules += [{"name": name, "mode": "off", "file": str(file)} for name, file in ruleset.off.items()]
    for rule in rules:
        rule["replaces"] = [str(file) for file in ruleset.replaced.get(str(rule["name"]), ())]
    return sorted(rules, key=lambda rule: str(rule["name"]))


def _check(options: Namespace) -> int:
    from guard.settings.mistakes import Place
    from guard.settings.rulefile import Folder, load_rule, load_rules

    mistakes: list[str] = []
    on = off = 0
    paths: list[Path] = options.paths
    folders = [Folder(path, Place(str(path))) for path in paths if path.is_dir()]
    for group in [[folder] for folder in folders] if paths else [read_config(options, needed=False).rules]:
        try:
            ruleset = load_rules(group)
        except ConfigError as error:
            mistakes += error.mistakes
        else:
            on, off = on + len(ruleset.rules), off + len(ruleset.off)
    for path in paths:
        try:
            rule = None if path.is_dir() else load_rule(path)
        except ConfigError as error:
            mistakes += error.mistakes
        else:
            on, off = on + (rule is not None), off + (rule is None and not path.is_dir())
    answer = {"rules": on, "off": off, "mistakes": mistakes}
    if mistakes and Output(options).for_programs:
        Output(options).data(answer)
    if mistakes:
        raise ConfigError(mistakes)
    Output(options).done(answer, f"{count(on, 'rule')}{f', {off} switched off' if off else ''}, no mistakes")
    return 0


def _test(options: Namespace) -> int:
    rules = _chosen(options)
    from guard.replay.prove import prove

    results: list[dict[str, object]] = [
        {
            "rule": rule.name, "case": str(case), "line": case.place.line, "wanted": case.then.value,
            "followed": (proof := prove(rule, case)).words, "ok": proof.ok,
        }
        for rule, cases in rules
        for case in cases
    ]  # fmt: skip
    without = [rule.name for rule, cases in rules if not cases]
    output = Output(options)
    if output.for_programs and not output.raw:
        output.data({"cases": results, "without": without})
    else:
        output.list(TESTED, results, "no rule has a case")
    for name in without:
        note(f"{name} has no cases; write them, so that others see what it does")
    return 0 if all(result["ok"] for result in results) else 1


def _chosen(options: Namespace) -> list[tuple[Rule, tuple[Case, ...]]]:
    """Return the rules that were asked for, each with its cases: a file if it looks like one, else a name."""
    from guard.settings.mistakes import Place
    from guard.settings.rulefile import Folder, load_rule_file, load_rules

    files = [name for name in options.names if "/" in name or name.endswith(".yaml")]
    found: list[tuple[Rule, tuple[Case, ...]]] = []
    if options.rules or len(files) < len(options.names) or not files:
        folders = [Folder(options.rules, Place(str(options.rules)))] if options.rules else None
        ruleset = load_rules(folders or read_config(options, needed=False).rules)
        rules = {rule.name: (rule, ruleset.cases[rule.name]) for rule in ruleset.rules}
        names = [name for name in options.names if name not in files]
        for name in names:
            if name not in rules:
                raise NotFound(f"there is no rule {name!r}; 'astguard rules list' has all, a file ends in .yaml")
        found += [rules[name] for name in names or (() if files else rules)]
    return found + [rule for rule in map(load_rule_file, map(Path, files)) if rule]


def count(number: int, noun: str) -> str:
    """Write a number and what is counted: `1 rule`, `6 rules`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _about(rule: Mapping[str, object]) -> str:
    replaces = rule.get("replaces")
    return as_text(rule.get("file")) + (f" (replaces {as_text(replaces)})" if replaces else "")


LIST = (
    ("RULE", text("name")), ("MODE", text("mode")), ("THRESHOLD", text("threshold")), ("WINDOW", text("window")),
    ("BAN", text("ban")), ("FILE", _about),
)  # fmt: skip

SHOW = (
    ("rule", text("name")), ("about", Reader("about", lambda value: as_text(value, ABOUT_LIMIT))),
    ("mode", text("mode")),
    ("file", _about), ("services", text("services")), ("events", text("events")), ("sensors", text("sensors")),
    ("accounts", text("accounts")), ("acls", text("acls")), ("evidence", text("evidence")),
    ("distinct", lambda item: "each account once" if item.get("distinct") else ""), ("threshold", text("threshold")),
    ("window", text("window")), ("across", text("across")), ("scope", text("scope")), ("trusted", text("trusted")),
    ("prefix", text("prefix")), ("ban", text("ban")), ("forget", text("forget")),
)  # fmt: skip
CASES = (("CASE", text("case")), ("THEN", text("then")))
TESTED = (
    ("RULE", text("rule")), ("CASE", text("case")), ("WANTED", text("wanted")),
    ("RESULT", lambda item: "ok" if item.get("ok") else f"FAILED: {as_text(item.get('followed'))}"),
)  # fmt: skip
