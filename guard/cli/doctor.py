"""`astguard doctor`: every gap on this host, how bad it is, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from guard.cli.client import ask, ask_list
from guard.cli.options import WIDTH, add_command, read_config
from guard.cli.output import GREEN, RED, YELLOW, Output, note, paint
from guard.cli.table import text
from guard.core.address import parse_source
from guard.core.text import printable
from guard.errors import ConfigError, GuardError
from guard.wire.control import Call, Request

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from guard.cli.options import Commands
    from guard.core.address import Source
    from guard.doctor.finding import Finding

COLOURS = {"serious": RED, "warning": YELLOW, "note": "0", "ok": GREEN}
TEXT_LIMIT = 1_000
RAW = (("SEVERITY", text("severity")), ("CHECK", text("check")), ("TEXT", text("text")), ("REMEDY", text("remedy")))


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Look at Asterisk, the daemon and this host for what lets attackers by or would hurt friends. It changes "
        "nothing. Each gap is a line with its severity (note, warning, serious) and a remedy; if one is serious, the "
        "exit code is 1. Run it as root: it reads what others may not."
    )
    parser = add_command(
        commands, "doctor", _doctor, about, "doctor", "doctor -o json | jq '.[] | select(.severity!=\"ok\")'"
    )
    parser.add_argument(
        "--asterisk-conf", type=Path, metavar="FILE", help="Asterisk's asterisk.conf, if it is not found"
    )


def _doctor(options: Namespace) -> int:
    from guard.doctor import examine
    from guard.doctor.facts import gather
    from guard.host import access
    from guard.settings.config import Config

    if not access.is_root():
        note("not root, so much of this host cannot be looked at")
    config, problem = Config(), ""
    try:
        config = read_config(options, needed=True)
    except ConfigError as error:
        problem = str(error.mistakes[0]) + (f" (and {len(error.mistakes) - 1} more)" if len(error.mistakes) > 1 else "")
    status, no_status, allowed = _ask(options)
    findings = examine(gather(config, problem, status, no_status, allowed, options.asterisk_conf))
    output = Output(options)
    if output.for_programs:
        output.list(RAW, [finding._asdict() for finding in findings], "")
    else:
        print("\n".join(page(findings)))
    return 1 if any(finding.severity == "serious" for finding in findings) else 0


def page(findings: Sequence[Finding]) -> Iterator[str]:
    """Write the report for people: the worst first, what is well in one paragraph, and a sum."""
    width = len("serious")
    for finding in findings:
        if finding.severity != "ok":
            head = paint(finding.severity.ljust(width), COLOURS[finding.severity])
            for said in (finding.text, finding.remedy):
                for line in wrap(printable(said, TEXT_LIMIT), WIDTH - width - 2, break_on_hyphens=False):
                    yield f"{head}  {line}"
                    head = " " * width
            yield ""
    fine = [finding.text for finding in findings if finding.severity == "ok"]
    head = paint("ok".ljust(width), GREEN)
    for line in wrap("; ".join(fine), WIDTH - width - 2, break_on_hyphens=False):
        yield f"{head}  {line}"
        head = " " * width
    counts = {word: sum(finding.severity == word for finding in findings) for word in COLOURS}
    yield ""
    many = f"{_many(counts['warning'], 'warning')}, {_many(counts['note'], 'note')}"
    yield f"{counts['serious']} serious, {many}, {counts['ok']} ok"


def _ask(options: Namespace) -> tuple[dict[str, Any] | None, str, list[Source] | None]:
    """Ask the daemon, if there is one, how it goes and whom it allows."""
    try:
        status = ask(options, Request(Call.STATUS))
        allowed = [parse_source(str(item.get("source"))) for item in ask_list(options, Request(Call.ALLOWED))]
    except GuardError as error:
        return None, str(error), None
    return status, "", allowed


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
