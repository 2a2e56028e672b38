"""Modules a person can hold in mind, and pages that say what is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.arch.tree import Tree, parse, read

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_MODULE = 300
"""Lines; a module that needs more is two modules."""

LONGEST_DECISION = 40
"""Lines of a record in docs/decisions."""

_BROKEN_IN_3_11_2 = re.compile(r"\)(?:[*+?]|\{\d*,?\d*\})\+")

_FENCE = re.compile(r"^ {0,3}```.*?^ {0,3}```[ \t]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(<?([^)\s>#]+)(?:#[^)\s]*)?>?\)|^\[[^\]]+\]:\s*([^\s#]+)", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|[\s`$(])(?:sudo )?astguard((?: [a-z][a-z-]*)+)")
_ROW = re.compile(r"^\| `(guard/(?:\w+/)?)` \|(.*)\|$", re.MULTILINE)
_SCRIPT = re.compile(r"(?<![\w/.-])((?:script|bench|\.ci)/[\w./-]*\w)")


def modules_too_long(tree: Tree) -> Iterator[str]:
    """Complain of a module that nobody reads at one sitting."""
    for file in tree.python("guard/"):
        lines = read(file).count("\n")
        if lines > LONGEST_MODULE:
            yield f"{tree.name(file)}: {lines} lines, at most {LONGEST_MODULE}; make it two modules"


def modules_without_docstring(tree: Tree) -> Iterator[str]:
    """Complain of a module that does not say what it is for."""
    for file in tree.python():
        if read(file).strip() and not ast.get_docstring(parse(file)):
            yield f"{tree.name(file)}: no docstring; the first line says what the file is about"


def patterns_that_debian_cannot_read(tree: Tree) -> Iterator[str]:
    """Complain of a possessive group such as `(ab)*+`: in Python 3.11.2, Debian 12's, it never matches.

    A possessive character (`a*+`) and an atomic group (`(?>(ab)*)`) are right there and mean the same.
    """
    for file in tree.python("guard/"):
        for node in ast.walk(parse(file)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _BROKEN_IN_3_11_2.search(node.value):
                yield f"{tree.name(file)}:{node.lineno}: a possessive group never matches in Python 3.11.2; use (?>...)"


def titles(tree: Tree) -> Iterator[str]:
    """Complain of a page with no title, or with two."""
    for file in tree.files:
        if file.suffix == ".md":
            found = re.findall(r"^# .+", _FENCE.sub("", read(file)), re.MULTILINE)
            if len(found) != 1:
                yield f"{tree.name(file)}: {len(found)} titles (`# ...`), want exactly one"


def dead_links(tree: Tree) -> Iterator[str]:
    """Complain of a link to a file that is not there."""
    for file in tree.files:
        if file.suffix != ".md":
            continue
        for found in _LINK.finditer(_FENCE.sub("", read(file))):
            target = found[1] or found[2]
            if not re.match(r"[a-z]+:", target) and not (file.parent / target).exists():
                yield f"{tree.name(file)}: links to {target}, which is not there"


def readme_promises(tree: Tree) -> Iterator[str]:
    """Complain of a README that is missing, or that names a script or a command there is not."""
    readme = tree.root / "README.md"
    if not readme.exists():
        yield "README.md: missing"
        return
    text = read(readme)
    for script in sorted(set(_SCRIPT.findall(text))):
        if not (tree.root / script).exists():
            yield f"README.md: names {script}, which is not there"
    for words in sorted({tuple(found.split()) for block in _code(text) for found in _COMMAND.findall(block)}):
        asked = [sys.executable, "-m", "guard", *words, "--help"]
        done = subprocess.run(asked, cwd=tree.root, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
            yield f"README.md: `astguard {' '.join(words)}` is no command: {said[0]}"


def architecture_table(tree: Tree) -> Iterator[str]:
    """Complain of a module that docs/ARCHITECTURE.md does not name in its room's row, and of one that is gone."""
    page = tree.root / "docs/ARCHITECTURE.md"
    rows = _ROW.findall(read(page)) if page.exists() else []
    named = {room + module for room, cells in rows for module in re.findall(r"`(\w+\.py)`", cells)}
    there = {tree.name(file) for file in tree.python("guard/") if file.name != "__init__.py"}
    for module in sorted(named - there):
        yield f"docs/ARCHITECTURE.md: names {module}, which is not there"
    for module in sorted(there - named):
        yield f"{module}: has no place in the table of docs/ARCHITECTURE.md"


def decisions_too_long(tree: Tree) -> Iterator[str]:
    """Complain of a record that is more than a record."""
    for file in tree.files:
        if re.fullmatch(r"docs/decisions/\d{4}-[a-z0-9-]+\.md", tree.name(file)):
            lines = read(file).count("\n")
            if lines >= LONGEST_DECISION:
                yield f"{tree.name(file)}: {lines} lines, want fewer than {LONGEST_DECISION}"


def _code(text: str) -> Iterator[str]:
    """Give what a page sets as code: fenced, indented or in backticks. Prose about astguard is no command."""
    yield from _FENCE.findall(text)
    rest = _FENCE.sub("", text)
    yield from re.findall(r"^ {4}.*", rest, re.MULTILINE)
    yield from re.findall(r"`[^`\n]+`", rest)
