"""`astguard replay`: what the rules would have done with a recording."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.cli.options import add_command, read_config
from guard.cli.output import Output, note
from guard.cli.rules import count
from guard.cli.table import as_text, source, span, text, time

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from guard.cli.options import Commands

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


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Tell which bans the rules would have made of recorded events: AMI captures and security logs, plain, .gz or\n"
        ".xz. Nothing is written, no firewall is touched, and no configuration is needed."
    )
    parser = add_command(
        commands, "replay", _replay, about,
        "replay /var/log/asterisk/security*", "replay --rules ./my-rules -o json capture.ami",
    )  # fmt: skip
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings; they are merged by time")
    parser.add_argument("--rules", type=Path, metavar="DIR", help="the rules of this folder and no others")


def _replay(options: Namespace) -> int:
    from guard.settings.mistakes import Place
    from guard.settings.rulefile import Folder, load_rules

    config = read_config(options, needed=False)
    folders = [Folder(options.rules, Place(str(options.rules)))] if options.rules else config.rules
    ruleset = load_rules(folders)
    from guard.replay import replay

    for name, place in config.allow_names:
        note(f"{place}: {name} is not looked up in a replay; its addresses count as not allowed")
    progress = _Progress() if sys.stderr.isatty() else None
    allow, ports = [entry.source for entry in config.allow], config.firewall.sip_ports
    try:
        report: dict[str, Any] = replay(options.files, ruleset.rules, allow, progress, ports).as_json()
    finally:
        if progress is not None:
            progress.clear()
    output = Output(options)
    if output.as_json:
        output.json(report)
        return 0
    print(summary(report))
    if report["bans"]:
        print()
        output.list(LIST, report["bans"], "")
    return 0


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
