"""Rule files: one rule each, and the folders they come from. docs/rules.md is the language for the administrator.

A later folder goes over an earlier one, file name by file name: a file of the same name replaces the earlier one, and
an empty file switches it off. Nothing is merged, so what a rule does stands in one file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from guard.settings.language import read_rule
from guard.settings.mistakes import Mistakes, Place
from guard.settings.yamlfile import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guard.core.rule import Rule
    from guard.settings.cases import Case

MAX_RULES = 200  # the engine asks every rule of a kind for every event

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_RESERVED = {"manual"}  # what a ban by hand has for a rule


class Folder(NamedTuple):
    """A folder of rule files. `place` is where astguard.yaml names it; a default one has none and may be missing."""

    path: Path
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules in force, in the order of their names, and the files behind them.

    `sources` has the file of each rule in force, `off` the empty file of each rule that is switched off, `replaced`
    the files that stand behind either and are not read; `cases` what proves each rule.
    """

    rules: tuple[Rule, ...]
    sources: dict[str, Path]
    off: dict[str, Path]
    replaced: dict[str, tuple[Path, ...]]
    cases: dict[str, tuple[Case, ...]] = field(default_factory=dict)


def stock_rules_folder() -> Path:
    """Return the stock rules that belong to this code: in a wheel within it, in Debian's package and the tree beside.

    Never those of another astguard on the same host, whose rules may speak another language.
    """
    package = Path(__file__).parents[1]
    within = package / "rules"
    return within if within.is_dir() else package.parent / "rules"


def load_rules(folders: Iterable[Folder]) -> RuleSet:
    """Read the rules of all folders, later ones over earlier ones; ConfigError with the mistakes of all files."""
    mistakes = Mistakes()
    files: dict[str, list[Path]] = {}
    for folder in folders:
        for path in _files_of(folder, mistakes):
            files.setdefault(path.stem, []).append(path)
    if len(files) > MAX_RULES:
        mistakes.add(Place(str(max(files.values())[-1])), f"{len(files)} rules; at most {MAX_RULES} are read")
        mistakes.check()
    read = {name: _read_file(paths[-1], mistakes) for name, paths in sorted(files.items())}
    mistakes.check()
    on = {name: found for name, found in read.items() if found}
    return RuleSet(
        rules=tuple(rule for rule, _ in on.values()),
        sources={name: files[name][-1] for name in on},
        off={name: files[name][-1] for name in read if name not in on},
        replaced={name: tuple(paths[:-1]) for name, paths in sorted(files.items()) if len(paths) > 1},
        cases={name: cases for name, (_, cases) in on.items()},
    )


def load_rule_file(path: Path) -> tuple[Rule, tuple[Case, ...]] | None:
    """Read one rule file with the cases that prove it, None if it is empty; ConfigError with all its mistakes."""
    mistakes = Mistakes()
    found = _read_file(path, mistakes)
    mistakes.check()
    return found


def load_rule(path: Path) -> Rule | None:
    """Read the rule of one file, None if it is empty; ConfigError with all its mistakes."""
    found = load_rule_file(path)
    return found and found[0]


def _files_of(folder: Folder, mistakes: Mistakes) -> list[Path]:
    """List the rule files of a folder; what editors and dpkg leave beside them is passed over."""
    try:
        paths = sorted(path for path in folder.path.iterdir() if not path.name.startswith("."))
    except OSError as error:
        if folder.place is not None or not isinstance(error, FileNotFoundError):
            place = folder.place or Place(str(folder.path))
            mistakes.add(place, f"the folder {str(folder.path)!r} cannot be read: {error.strerror}")
        return []
    for path in paths:
        if path.suffix == ".yml":
            mistakes.add(Place(str(path)), f"a rule file ends in .yaml; rename it to {path.stem}.yaml")
    return [path for path in paths if path.suffix == ".yaml"]


def _read_file(path: Path, mistakes: Mistakes) -> tuple[Rule, tuple[Case, ...]] | None:
    if not _NAME.fullmatch(path.stem) or path.suffix != ".yaml":
        text = "a rule's file name is a to z, 0 to 9 and -, begins with a letter, has at most 40 characters, and .yaml"
        mistakes.add(Place(str(path)), text)
    if path.stem in _RESERVED:
        mistakes.add(Place(str(path)), f"{path.stem!r} means bans by command; choose another file name")
    node = read(path, mistakes)
    return None if node is None else read_rule(path.stem, node, mistakes)
