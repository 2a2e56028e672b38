"""The source tree as the checks of this folder see it: its files, and the imports of its modules.

A check is a function from a Tree to complaints, sentences that name the place and the remedy. So it runs on the real
tree and, to show that it can fail, on a small wrong one.
"""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

REAL = Path(__file__).parents[2]


class Import(NamedTuple):
    """One imported name, and when it is imported."""

    line: int
    name: str  # guard.core.rule.Rule for `from guard.core.rule import Rule`
    at_load: bool  # not inside a function, not for the type checker alone


class Tree:
    """The files of a tree that are or could be committed; generated ones are not part of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = sorted(_listed(root) if (root / ".git").exists() else _walked(root))

    def python(self, folder: str = "") -> list[Path]:
        """List the Python files below a folder."""
        return [file for file in self.files if file.suffix == ".py" and self.name(file).startswith(folder)]

    def texts(self) -> list[tuple[Path, str]]:
        """Read all files that people write; recordings from the network are not among them."""
        recorded = {".ami", ".log", ".messages", ".xz", ".gz", ".png", ".svg", ".pcap", ".bin"}
        return [(file, read(file)) for file in self.files if file.suffix not in recorded]

    def name(self, file: Path) -> str:
        """Name a file as the complaints do."""
        return file.relative_to(self.root).as_posix()


@cache
def real() -> Tree:
    """Give the tree this file stands in."""
    return Tree(REAL)


@cache
def read(file: Path) -> str:
    """Read a text file once; what is no UTF-8 is no text of ours."""
    return file.read_text(encoding="utf-8", errors="replace")


def parse(file: Path) -> ast.Module:
    """Parse a module."""
    return ast.parse(read(file), filename=str(file))


def module_name(tree: Tree, file: Path) -> str:
    """Turn guard/core/rule.py into guard.core.rule, and a package's __init__.py into the package."""
    parts = list(file.relative_to(tree.root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> list[Import]:
    """List a module's imports; relative ones do not occur (ruff's TID252 sees to that)."""
    found: list[Import] = []

    def visit(node: ast.AST, *, at_load: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(node.lineno, alias.name, at_load) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found.extend(Import(node.lineno, name, at_load) for name in names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.iter_child_nodes(node):
            visit(child, at_load=at_load and not inside and not typing_only)

    visit(parse(file), at_load=True)
    return found


def _listed(root: Path) -> list[Path]:
    """Ask git, so that what is not committed yet is checked before it is."""
    # A clone that belongs to somebody else is no danger to `ls-files`.
    git = ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z"]
    done = subprocess.run(
        [*git, "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    paths = [root / name for name in set(done.stdout.split("\0")) if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def _walked(root: Path) -> list[Path]:
    """Walk a tree that is no clone."""
    return [file for file in root.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
