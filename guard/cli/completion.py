"""`astguard completion`: what bash, zsh and fish need to complete its command line.

Words come from the parser itself. An address that could be let in again is asked of the daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.cli.commandline import Command, Option, commands, common, nouns
from guard.cli.options import add_command

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from guard.cli.options import Commands

SOURCES = "astguard bans list --no-header 2> /dev/null | cut -d ' ' -f 1"
"""Who is banned: what `bans show` and `bans remove` take."""
OF_BANNED = {("bans", "show"), ("bans", "remove"), ("explain",)}
OF_FILES = ("FILE", "DIR", "PATH")


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Print the completions of a shell; Debian's package has installed them already. bash reads them by 'source "
        "<(astguard completion bash)', fish by 'astguard completion fish | source', and zsh from a file _astguard in a "
        "folder of its fpath."
    )
    parser = add_command(commands, "completion", _completion, about, "completion bash")
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def _completion(options: Namespace) -> int:
    print({"bash": bash, "zsh": zsh, "fish": fish}[options.shell](), end="")
    return 0


def bash() -> str:
    """Write bash's: the first two words that are no options say which command it is."""
    lines = [
        "# completion of astguard, made from its command line", "", "_astguard() {",
        "    local cur prev words cword word noun='' verb=''", "    _init_completion || return",
        '    for word in "${words[@]:1:cword-1}"; do',
        '        case $word in -*) ;; *) if [ -z "$noun" ]; then noun=$word; else verb=${verb:-$word}; fi ;; esac',
        "    done",
        "    case $prev in",
        f"        {'|'.join(_taking_files())}) _filedir; return ;;",
        "        -o|--output) COMPREPLY=($(compgen -W 'table json raw' -- \"$cur\")); return ;;",
        "    esac",
        '    case "$noun $verb" in',
    ]  # fmt: skip
    first = f"{_words(nouns())} {_names(common())} --version"
    lines.append(f"        ' ') COMPREPLY=($(compgen -W '{first}' -- \"$cur\")) ;;")
    lines += [
        f"        '{noun} ') COMPREPLY=($(compgen -W '{_words(verbs)}' -- \"$cur\")) ;;"
        for noun, verbs in nouns().items()
        if verbs
    ]
    for command in commands():
        pattern = "'{} {}'".format(*command.words) if len(command.words) == 2 else f"'{command.words[0]} '*"
        lines.append(f"        {pattern})")
        lines.append(f"            COMPREPLY=($(compgen -W '{_names((*command.options, *common()))}' -- \"$cur\"))")
        if command.words in OF_BANNED:
            lines.append(f'            [[ $cur == -* ]] || COMPREPLY=($(compgen -W "$({SOURCES})" -- "$cur"))')
        elif any(name in command.usage for name in OF_FILES):
            lines.append("            [[ $cur == -* ]] || _filedir")
        lines.append("            ;;")
    return "\n".join([*lines, "    esac", "} &&", "    complete -F _astguard astguard", ""])


def zsh() -> str:
    """Write zsh's."""
    lines = [
        "#compdef astguard", "# completion of astguard, made from its command line", "", "_astguard() {",
        "    local -a seen; seen=(${(M)words[2,CURRENT-1]:#[^-]*})",
        '    case "$seen[1] $seen[2]" in',
    ]  # fmt: skip
    lines += ["        ' ') _alternative 'commands:command:(" + _words(nouns()) + ")' 'options:option:(--version)' ;;"]
    lines += [f"        '{noun} ') compadd -- {_words(verbs)} ;;" for noun, verbs in nouns().items() if verbs]
    for command in commands():
        pattern = "'{} {}'*".format(*command.words) if len(command.words) == 2 else f"'{command.words[0]} '*"
        files = any(name in command.usage for name in OF_FILES)
        then = f'compadd -- ${{(f)"$({SOURCES})"}}' if command.words in OF_BANNED else "_files" if files else ":"
        options = _names((*command.options, *common()))
        lines.append(f"        {pattern}) if [[ $PREFIX == -* ]]; then compadd -- {options}; else {then}; fi ;;")
    return "\n".join([*lines, "    esac", "}", "", '_astguard "$@"', ""])


def fish() -> str:
    """Write fish's: one line a word."""
    known = nouns()
    lines = ["# completion of astguard, made from its command line", "complete -c astguard -f"]
    lines += [f"complete -c astguard -n __fish_use_subcommand -a {noun} -d {_quoted(_about(noun))}" for noun in known]
    for noun, verbs in known.items():
        none_yet = f"__fish_seen_subcommand_from {noun}; and not __fish_seen_subcommand_from {_words(verbs)}"
        start = f"complete -c astguard -n {_quoted(none_yet)}"
        lines += [f"{start} -a {verb} -d {_quoted(_about(noun, verb))}" for verb in verbs]
    for command in commands():
        here = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.words)
        lines += [_fish_option(option, f"-n {_quoted(here)} ") for option in command.options]
        if command.words in OF_BANNED:
            lines.append(f"complete -c astguard -n {_quoted(here)} -a {_quoted(f'({SOURCES})')}")
        elif any(name in command.usage for name in OF_FILES):
            lines.append(f"complete -c astguard -n {_quoted(here)} -F")
    lines += [_fish_option(option, "") for option in common()]
    return "\n".join([*lines, ""])


def _fish_option(option: Option, condition: str) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    takes = f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else " -r" if option.value else ""
    return f"complete -c astguard {condition}{names}{takes} -d {_quoted(option.about)}"


def _about(*words: str) -> str:
    """Say what a command does, in its first sentence; of a noun with verbs there is no more to say than its name."""
    found: list[Command] = [command for command in commands() if command.words == words]
    return found[0].about.partition(". ")[0].removesuffix(".") if found else f"{words[0]}: list, change"


def _taking_files() -> list[str]:
    options = {option for command in commands() for option in command.options} | set(common())
    taking = [option for option in options if any(name in option.value for name in OF_FILES)]
    return sorted(name for option in taking for name in option.names)


def _names(options: Iterable[Option]) -> str:
    return " ".join(name for option in options for name in option.names if name != "--version")


def _words(words: Iterable[str]) -> str:
    return " ".join(words)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
