"""docs/security.md claims only what a test shows, and names it."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.arch.tree import Tree, parse, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = "docs/security.md"
FEWEST = 20
"""Different tests that the page names."""
LONGEST = 170
"""Lines of the page."""
UNSHOWN = "What remains"
"""The section of what nobody promises, which may name no test."""

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n?)*)", re.MULTILINE)
_CLAIM = re.compile(r"^- .*(?:\n  .*)*", re.MULTILINE)


def claims_without_test(tree: Tree) -> Iterator[str]:
    """Complain of a test that is not there, of a claim that names none, and of a page that names few or is long."""
    page = tree.root / PAGE
    text = read(page) if page.exists() else ""
    named = set(_TEST.findall(text))
    for file, test in sorted(named):
        if test not in _tests(tree.root / file):
            yield f"{PAGE}: names {file}::{test}, which is not there"
    if len(named) < FEWEST:
        yield f"{PAGE}: names {len(named)} tests, want {FEWEST} at least"
    if text.count("\n") > LONGEST:
        yield f"{PAGE}: {text.count(chr(10))} lines, at most {LONGEST}"
    for section, body in _SECTION.findall(text):
        for claim in _CLAIM.findall(body):
            if section != UNSHOWN and not _TEST.search(claim):
                yield f"{PAGE}: '{claim[2:60]}' names no test; name one, or put it under '{UNSHOWN}'"


def _tests(file: Path) -> set[str]:
    """Name the tests that pytest finds in a file."""
    body = parse(file).body if file.exists() else []
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
