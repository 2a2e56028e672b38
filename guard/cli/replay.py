"""`astguard replay`: what the rules would have done with a recording."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.cli.compare import show_comparison
from guard.cli.options import UsageError, add_command, read_config
from guard.cli.output import Output, note
from guard.cli.rules import count
from guard.cli.table import as_text, source, span, text, time

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping
    from datetime import tzinfo

    from guard.cli.options import Commands
    from guard.core.rule import Rule
    from guard.settings.config import Config

LONG = 8 * 1024 * 1024
"""Bytes from which on a replay says how far it is: about a second."""


def _length(ban: Mapping[str, object]) -> str:
    try:
        at, until = (datetime.fromisoformat(as_text(ban.get(key))) for key in ("at", "until"))
        return span((until - at).total_seconds())
    except (TypeError, ValueError):
        return ""


LIST = (
    ("SOURCE", source()), ("RULE", text("rule")), ("SCOPE", text("scope")), ("STRIKE", text("strike")),
    ("AT", time("at")), ("FOR", _length),
)  # fmt: skip
"""What fits 80 columns; the JSON has all."""

ALARMS = (("ALARM", text("kind")), ("AT", time("at")), ("TEXT", text("text")))


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Tell which bans the rules would have made of recorded events: AMI captures and logs of Asterisk, plain, .gz\n"
        "or .xz. Nothing is written, no firewall is touched, and no configuration is needed."
    )
    parser = add_command(
        commands, "replay", _replay, about,
        "replay /var/log/asterisk/security*", "replay --rules ./my-rules -o json capture.ami",
        "replay --compare /usr/share/astguard/rules ./my-rules capture.ami",
    )  # fmt: skip
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings; they are merged by time")
    parser.add_argument("--timezone", metavar="ZONE", help="of log lines that name none: Europe/Berlin, +01:00")
    rules = parser.add_mutually_exclusive_group()
    rules.add_argument("--rules", type=Path, metavar="DIR", help="the rules of this folder and no others")
    rules.add_argument(
        "--compare", type=Path, nargs=2, metavar=("RULES_A", "RULES_B"),
        help="whom each of two folders or files of rules bans, and who of them is a phone",
    )  # fmt: skip


def _replay(options: Namespace) -> int:
    config = read_config(options, needed=False)
    zone = _zone(options, config)
    rule_sets = [_rules(path, config) for path in options.compare or [options.rules]]
    for name, place in config.allow_names:
        note(f"{place}: {name} is not looked up in a replay; its addresses count as not allowed")
    progress = _Progress() if sys.stderr.isatty() else None
    allow, ports = [entry.source for entry in config.allow], config.firewall.sip_ports
    try:
        if options.compare:
            from guard.replay.compare import compare

            a, b = rule_sets
            report = compare(options.files, a, b, allow, progress, ports, zone).as_json()
        else:
            from guard.replay import replay

            report = replay(options.files, rule_sets[0], allow, progress, ports, zone, _voters(config)).as_json()
    finally:
        if progress is not None:
            progress.clear()
    if not report["events"]:
        note("there are no security events in these recordings, so there was nothing to judge")
    output = Output(options)
    if output.for_programs:
        output.data(report)
    elif options.compare:
        show_comparison(output, report, options.compare)
    else:
        show(output, report)
    return 0


def _zone(options: Namespace, config: Config) -> tzinfo | None:
    from guard.settings.logs import zone

    try:
        named = options.timezone or config.logs.timezone
        return zone(named) if named else None
    except ValueError as error:
        raise UsageError(f"argument --timezone: {error}") from None


def _voters(config: Config) -> list[tuple[str, object]]:
    """Make the supplements that are asked before a ban."""
    if not any(one.before_ban for one in config.supplements):
        return []
    from guard.supplements.catalogue import voters

    return voters(one.read_secrets() for one in config.supplements if one.before_ban)


def _rules(path: Path | None, config: Config) -> tuple[Rule, ...]:
    """Read the rules of a folder or a file; of the configuration if none is named."""
    from guard.settings.mistakes import Place
    from guard.settings.rulefile import Folder, load_rule, load_rules

    if path is not None and path.suffix == ".yaml" and not path.is_dir():
        rule = load_rule(path)
        return (rule,) if rule else ()
    return load_rules(config.rules if path is None else [Folder(path, Place(str(path)))]).rules


def show(output: Output, report: dict[str, Any]) -> None:
    """Print what a replay found: sums, bans, alarms."""
    print(summary(report))
    for columns, items in ((LIST, report["bans"]), (ALARMS, report["alarms"])):
        if items:
            print()
            output.list(columns, items, "")


def summary(report: dict[str, Any]) -> str:
    """Say what a replay found: one line of sums, one of outcomes."""
    parts = [
        count(report["events"], "event"),
        f"{report['tampered']:,} tampered",
        count(len(report["bans"]), "ban"),
        count(len(report["alarms"]), "alarm"),
    ]
    outcomes = ", ".join(
        f"{number:,} {name.replace('_', ' ')}" for name, number in report["outcomes"].items() if number
    )
    return f"{', '.join(parts)} in {report['seconds']:.1f} s" + (f"\n{outcomes}" if outcomes else "")


class _Progress:
    """A line on the terminal that says how far a long replay is."""

    def __init__(self) -> None:
        self._shown = -1

    def __call__(self, done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if total >= LONG and percent != self._shown:
            self._shown = percent
            print(f"\r{percent:3d}% of {total // 1_000_000:,} MB", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown >= 0:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
