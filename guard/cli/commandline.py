"""The command line as data, read from its own parser: manual pages and completions made of it stay true."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guard.cli import build

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Option:
    """One option of a command: its names, what stands for its value, the words it may be, and its help."""

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    about: str


@dataclass(frozen=True)
class Command:
    """A command as it is typed (`bans list`), what it does, its usage, its own options and its examples."""

    words: tuple[str, ...]
    about: str
    usage: str
    options: tuple[Option, ...]
    examples: tuple[str, ...]


def common() -> tuple[Option, ...]:
    """List the options that every command takes."""
    parser = build()
    return tuple(_option(action) for action in parser._actions if action.option_strings)  # noqa: SLF001


def nouns() -> dict[str, tuple[str, ...]]:
    """List the first words, each with the words that may follow it."""
    found: dict[str, list[str]] = {}
    for command in commands():
        noun, *verbs = command.words
        found.setdefault(noun, []).extend(verbs)
    return {noun: tuple(verbs) for noun, verbs in found.items()}


def commands() -> Iterator[Command]:
    """List all commands, in the parser's own order."""
    yield from _below(build(), ())


def _below(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> Iterator[Command]:
    shared = {name for option in common() for name in option.names}
    # argparse has no public way to ask for what was added to it
    branches = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    for branch in branches:
        for name, below in branch.choices.items():
            yield from _below(below, (*words, name))
    if not branches:
        own = [action for action in parser._actions if action.option_strings]  # noqa: SLF001
        yield Command(
            words,
            " ".join((parser.description or "").split()),
            _usage(parser, shared),
            tuple(_option(action) for action in own if not shared.intersection(action.option_strings)),
            tuple(line.strip() for line in (parser.epilog or "").splitlines()[1:]),
        )


def _usage(parser: argparse.ArgumentParser, shared: set[str]) -> str:
    """Give the usage line without what every command takes."""
    line = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return re.sub(r" \[(-[-\w]+)[^]]*\]", lambda found: "" if found[1] in shared else found[0], line)


def _option(action: argparse.Action) -> Option:
    takes = action.nargs != 0
    names = action.metavar if isinstance(action.metavar, tuple) else (action.metavar,)
    value = " ".join(name or action.dest.upper() for name in names) if takes else ""
    choices = tuple(map(str, action.choices or ()))
    return Option(tuple(action.option_strings), value if not choices else "|".join(choices), choices, action.help or "")
