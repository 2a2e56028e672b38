"""One word for one thing, no unfinished business, no place that only one machine has."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from tests.arch.tree import Tree, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_OUR_WORD = {
    "whitelist": "allowlist",
    "blacklist": "ban",
    "blocklist": "ban",
    "ignoreip": "allow",
    "jail": "rule",
    "findtime": "window",
    "maxretry": "threshold",
    "bantime": "ban",
    "pardon": "unban",
}
"""Words of other tools, in any file; `(fail2ban: findtime)` in brackets is how a newcomer is helped."""

NOT_OUR_NAME = {
    **NOT_OUR_WORD,
    "verdict": "outcome",
    "decision": "outcome",
    "leakspeed": "window",
    "penalty": "weight",
    "hit": "offence",
    "hits": "offences",
}
"""Words that English needs, but no name in the code."""

MAY_SAY = {
    "tests/arch/*": "the list itself",
    "bench/*": "sets up the other tools in their own words",
    "docs/*fail2ban*": "maps fail2ban's words to ours",
    "docs/decisions/*": "says what others do and why we do not",
    "guard/host/fail2ban.py": "reads fail2ban's files, whose names these are",
    "CHANGELOG.md": "may tell a newcomer what changed for him",
    "guard/wire/nfnetlink.py": "netfilter's word for what a rule answers is verdict",
    "guard/firewall/*": "netfilter's word for what a rule answers is verdict",
    "tests/kernel/*": "netfilter's word for what a rule answers is verdict",
}
"""Where another tool's word is the right one, and why."""

UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")

HOSTS = ("py" + "pi.org", "python" + "hosted.org", "registry.npm" + "js.org", "deb.debian" + ".org", "crates" + ".io")
MACHINE = re.compile(
    r"(?<![\w.$}-])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me/\w+)/|\bsha" + r"red/(?:facts|lab|corpus)|\bfa" + r"cts/[A-Z]"
)
"""Folders of the machine a file was written on; a stranger has none of them."""

QUIET = ("tests/unit/", "tests/property/", "tests/replay/", "tests/arch/")
CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}


def words_of_others(tree: Tree) -> Iterator[str]:
    """Complain of another tool's word where ours exists: anywhere, and as part of a name in the code."""
    anywhere = re.compile("|".join(NOT_OUR_WORD), re.IGNORECASE)
    for file, text in tree.texts():
        if any(fnmatch(tree.name(file), pattern) for pattern in MAY_SAY):
            continue
        spoken = "" if tree.name(file).startswith("tests/") else text  # a test may say what a newcomer would write
        for number, line in enumerate(spoken.split("\n"), 1):
            for word in anywhere.findall(re.sub(r"\([^()]*fail2ban[^()]*\)", "", line)):
                yield f"{tree.name(file)}:{number}: {word!r} is not our word, use {NOT_OUR_WORD[word.lower()]!r}"
        if file.suffix == ".py":
            for line, name in _names(parse(file)):
                for part in set(re.findall(r"[a-z]+", re.sub(r"([A-Z])", r"_\1", name).lower())):
                    if part in NOT_OUR_NAME and part not in NOT_OUR_WORD:
                        yield f"{tree.name(file)}:{line}: {name}: say {NOT_OUR_NAME[part]!r}, not {part!r}"


def unfinished_business(tree: Tree) -> Iterator[str]:
    """Complain of notes to oneself; what is open is an issue, not a comment."""
    for file, text in tree.texts():
        for number, line in enumerate(text.split("\n"), 1):
            if UNFINISHED.search(line):
                yield f"{tree.name(file)}:{number}: finish it or file it: {line.strip()[:60]}"


def places_of_one_machine(tree: Tree) -> Iterator[str]:
    """Complain of registry hosts (packages are named, never their servers) and of folders nobody else has."""
    for file, text in tree.texts():
        for number, line in enumerate(text.split("\n"), 1):
            found = [host for host in HOSTS if host in line] + MACHINE.findall(line)
            if found:
                yield f"{tree.name(file)}:{number}: names {found[0]!r}, which is not for a stranger"


def sleeps_and_clocks(tree: Tree) -> Iterator[str]:
    """Complain of real time in the groups that have none: there, time is an argument."""
    for file in tree.python("tests/"):
        if not tree.name(file).startswith(QUIET):
            continue
        for node in ast.walk(parse(file)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            module, _, name = called.rpartition(".")
            if name == "sleep" or (module == "time" and name in CLOCKS) or called.endswith("datetime.now"):
                yield f"{tree.name(file)}:{node.lineno}: {called}() waits for or asks a real clock"


def _names(module: ast.Module) -> Iterator[tuple[int, str]]:
    """List the names a module gives: of classes, functions, arguments, variables and attributes."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
