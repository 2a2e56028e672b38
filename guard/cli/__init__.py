"""The command line: one file per noun. Libraries are loaded by the commands that need them, never before."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import TYPE_CHECKING

from guard import __version__
from guard.cli.options import Parser, add_common, branch, defaults
from guard.cli.output import note
from guard.errors import GuardError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (
    "status", "top", "events", "bans", "explain", "history", "allow", "pause", "resume", "rules", "check", "replay",
    "setup", "doctor", "run", "reload", "flush", "completion",
)  # fmt: skip
_MODULES = {"resume": "pause"}
"""Commands that another's module has; each other command has its own."""
_TAKE_VALUES = {"--config", "--socket", "-o", "--output"}
INTERRUPTED = 130
PIPE_CLOSED = 141

PAGE = """\
astguard guards an Asterisk PBX: it bans the addresses that attack it.

usage: astguard COMMAND [OPTION...]

What is going on
  status                    is it up, does it hear Asterisk, what has it done
  top                       who attacks now, drawn anew every second
  events tail               what happens, while it happens: --kind ban,alarm
  bans list                 who is banned, by which rule, for how long
  bans show ADDRESS         everything about one ban
  explain ADDRESS           what it did, what that counts, what would follow
  history                   bans past and present: --since 1d, --address ...
  rules list                what counts as an attack, and what follows
  rules show NAME           one rule in full, with the cases that prove it

Somebody is locked out
  bans remove ADDRESS       let an address in again
  bans flush                let everybody in again
  allow add ADDRESS         ... and never ban it again: --for 2h
  allow test ADDRESS        is it allowed, and by which entry
  allow list                everybody who is never banned
  allow remove ADDRESS      take an address off that was added by command
  pause                     let everybody in now, and only observe: --for 30m
  resume                    end that: bans whose time is not over are back

Somebody must be kept out
  bans add ADDRESS          ban by hand: --for 1d, --reason TEXT

Something is wrong
  doctor                    every gap on this host, and what to do about it

Before you change something
  check                     read all, change nothing, name every mistake
  rules check [FILE...]     the same for rule files
  rules test [NAME...]      run the cases that prove the rules
  replay FILE...            what the rules would have done with a recording

A new host
  setup                     make AMI's user and the configuration; --undo

The daemon
  run                       guard Asterisk, in the foreground
  reload                    take changed configuration and rules, all or nothing
  flush                     take all that is astguard's out of the kernel
  completion SHELL          completions for bash, zsh or fish

Options for every command
  --config FILE             usually /etc/astguard/astguard.yaml
  --socket PATH             usually /run/astguard/astguard.sock
  -o, --output FORM         table for people; json, raw (tabs) for programs
  --no-header               no titles above the columns
  --version                 the version; with --verbose, all that runs
  -h, --help                this page; after a command, its own

ADDRESS is a host or a network: 198.51.100.7, 198.51.100.0/24, 2001:db8:5::/64.
Exit codes: 0 ok, 1 failed, 2 usage, 3 daemon unreachable, 4 not found,
78 configuration.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. What goes wrong is one line on stderr, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal in an old encoding is no reason to fail
    try:
        return _run(argv)
    except GuardError as error:
        for line in str(error).splitlines():
            note(line)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough. Python flushes stdout once more at its end: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return PIPE_CLOSED
    except OSError as error:
        note(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 1


def build(command: str = "") -> Parser:
    """Build the parser of the whole command line, or of one command: loading all takes longer than to answer."""
    parser = Parser(prog="astguard")
    parser.page = PAGE
    parser.add_argument("--version", action="version", version=f"astguard {__version__}")
    add_common(parser)
    commands = branch(parser, metavar="COMMAND", dest="command")
    for name in (
        [_MODULES.get(command, command)] if command else dict.fromkeys(_MODULES.get(name, name) for name in COMMANDS)
    ):
        importlib.import_module(f"guard.cli.{name}").add_to(commands)
    return parser


def named(words: Sequence[str]) -> str:
    """Return which command these words of a command line are about; nothing if that takes the whole parser to tell."""
    rest = iter(words)
    for word in rest:
        if word in _TAKE_VALUES:
            next(rest, None)
        elif not word.startswith("-"):
            return word if word in COMMANDS else ""
    return ""


def _run(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--version"]:
        from guard.cli import version

        told = version.asked(words)
        if told is not None:
            print(told)
            return 0
    try:
        options = build(named(words)).parse_args(words, defaults())
    except SystemExit as stop:  # argparse ends --help and --version so
        return int(stop.code or 0)
    code: int = options.do(options)
    sys.stdout.flush()
    return code
