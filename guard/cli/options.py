"""The options that many commands share, and a parser that answers a mistake with one line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from guard import __version__
from guard.errors import ConfigError, GuardError

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard.core.units import Duration
    from guard.settings.config import Config

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no other name for it

argparse._ = str  # type: ignore[attr-defined]

DEFAULT_CONFIG = Path("/etc/astguard/astguard.yaml")
DEFAULT_SOCKET = Path("/run/astguard/astguard.sock")
WIDTH = 79
OUTPUTS = "for people (table), for programs (json), for cut and awk (raw: tabs)"


_WRONG_CHOICE = re.compile(r"argument (COMMAND|VERB): invalid choice: (.*) \(choose from (.*)\)", re.DOTALL)


class UsageError(GuardError):
    """A command line that means nothing."""

    exit_code = 2


class Help(argparse.RawDescriptionHelpFormatter):
    """argparse's help. It makes one for each option; one that knows its width need not load shutil and lzma, 10 ms."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
        except (OSError, ValueError):
            columns = WIDTH + 1
        super().__init__(prog, width=columns - 2)


class Parser(argparse.ArgumentParser):
    """argparse, whose mistakes are ours: one line, exit code 2. `page` replaces the help it would write."""

    page: str = ""

    def __init__(
        self, *, prog: str, description: str | None = None, epilog: str | None = None, color: bool = False
    ) -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, formatter_class=Help, allow_abbrev=False)
        self.color = (
            color  # from Python 3.14 on it is handed down to the verbs, and on by default; a page is plain everywhere
        )

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        wrong = _WRONG_CHOICE.match(message)
        if wrong:
            message = f"{wrong[2]} is no {wrong[1].lower()}; known are {wrong[3].replace(chr(39), '')}"
        raise UsageError(f"{message}; see '{self.prog} --help'")

    def format_help(self) -> str:
        """Return the help page."""
        if self.page:
            return self.page
        from textwrap import fill

        self.description = fill(" ".join((self.description or "").split()), WIDTH)
        return super().format_help()


def add_command(
    commands: Commands, name: str, do: Callable[[argparse.Namespace], int], about: str, *examples: str
) -> argparse.ArgumentParser:
    """Add a command with the common options; `do` gets the parsed ones and returns the exit code."""
    parser = commands.add_parser(
        name,
        help=about.partition(". ")[0].removesuffix("."),
        description=about,
        epilog="\n".join(["examples:", *(f"  astguard {example}" for example in examples)]) if examples else None,
    )
    add_common(parser)
    parser.set_defaults(do=do)
    return parser


def add_noun(commands: Commands, name: str, about: str) -> Commands:
    """Add a noun and return where its verbs go."""
    parser = commands.add_parser(name, description=about)
    add_common(parser)
    return branch(parser, title="verbs", metavar="VERB", dest="verb")


def branch(parser: argparse.ArgumentParser, **about: str) -> Commands:
    """Return where the next words of a command line go. With `prog` argparse need not load shutil and lzma to ask."""
    commands: Commands = parser.add_subparsers(prog=parser.prog, required=True, parser_class=Parser, **about)
    return commands


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the common options. They have no default here, so that one given before the verb survives the verb."""
    common = parser.add_argument_group("common options", argument_default=argparse.SUPPRESS)
    common.add_argument("--config", type=Path, metavar="FILE", help=f"configuration file, usually {DEFAULT_CONFIG}")
    common.add_argument("--socket", type=Path, metavar="PATH", help="the daemon's control socket")
    common.add_argument("-o", "--output", choices=("table", "json", "raw"), help=OUTPUTS)
    common.add_argument("--no-header", dest="header", action="store_false", help="no titles above the columns")


def defaults() -> argparse.Namespace:
    """Return the options before any was read."""
    return argparse.Namespace(config=None, socket=None, output="table", header=True, version=__version__)


def agree(options: argparse.Namespace, question: str) -> None:
    """Ask on the terminal, unless `--yes` has answered; GuardError if the answer is no."""
    if not options.yes and not consents(question):
        raise GuardError("nothing was changed")


def consents(question: str) -> bool:
    """Ask on the terminal; UsageError if there is none."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on; say --yes, or --dry-run of what has that")
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def given_length(options: argparse.Namespace) -> Duration | None:
    """Read `--for`; None if it was not given."""
    from guard.core.units import parse_duration
    from guard.wire.control import check_length

    try:
        return None if options.length is None else check_length(parse_duration(options.length))
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None


def read_config(options: argparse.Namespace, *, needed: bool) -> Config:
    """Read the configuration file. Where it is not `needed` and none was named, a missing one means the defaults."""
    from guard.settings.config import Config, load_config

    path = options.config or DEFAULT_CONFIG
    try:
        if options.config is None and not needed and not DEFAULT_CONFIG.exists():
            return Config()
        return load_config(path)
    except OSError as error:  # the folder may not be entered
        raise ConfigError([f"{path}:1:1: cannot be read: {error.strerror}; run this as root"]) from None
